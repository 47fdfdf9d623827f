"""Tell which events mirrors need if quick sagas get none (SAGA_MIRROR_AFTER)."""

from __future__ import annotations

import time
from typing import Final
from uuid import UUID

from models.ids import minted_at
from models.lifecycle import compensates
from models.message_types import EventType
from models.messages import Envelope
from models.saga import Coordinator

_SKEW: Final = 15.0  # seconds; an order id from further in the future tells no time (our own mint may be 10 s ahead)


class LateEvents:
    """The events of choreographed sagas older than `after` seconds, and all events of a compensation.

    A saga is as old as its order id. If the id tells no time, every event of the saga is late.
    """

    def __init__(self, after: float) -> None:
        self.after = after

    def __contains__(self, event: Envelope) -> bool:
        if not isinstance(event.event_type, EventType) or event.coordinator is Coordinator.ORCHESTRATION:
            return False
        return not self.is_young(event.order_id) or compensates(event.event_type, event.payload.get("reason"))

    def is_young(self, order_id: str | None, *, since: float = float("-inf")) -> bool:
        """Whether the saga began after `since` (s since the epoch), and may still be over in time: without a mirror."""
        try:
            began = minted_at(UUID(order_id or ""))
        except ValueError:
            return False
        if began is None or began.timestamp() < since:
            return False
        return -_SKEW <= time.time() - began.timestamp() < self.after
