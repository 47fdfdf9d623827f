"""Write events to an event log, and read them back as they were first published."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any, Final
from uuid import UUID

from models.columns import columns_of
from models.message_types import UnknownType, known_type
from models.messages import Envelope
from models.saga import Coordinator
from models.tables import OrderEventRow
from models.texts import as_id, readable

# The PostgreSQL types of all columns but `seq`, which the database numbers. `logged_row` gives the values in the same
# order. Both services' event logs have the same columns.
LOGGED: Final = columns_of(OrderEventRow, but=("seq",))
# The columns of `event_log e` that an envelope is made of.
ENVELOPE_COLUMNS: Final = tuple(name for name in LOGGED if name not in ("order_id", "attempt"))
EVENT_COLUMNS: Final = ", ".join(f"e.{name}" for name in ENVELOPE_COLUMNS)


def logged_row(event: Envelope, order_id: UUID, attempt: int | None = None) -> tuple[Any, ...]:
    """The values of an event's row, in the order of `LOGGED`. The event followed from a message at this `attempt`."""
    beside = {"order_id": order_id, "attempt": attempt}
    return tuple(beside[name] if name in beside else getattr(event, name) for name in LOGGED)


def logged_envelope(row: Mapping[str, Any]) -> Envelope:
    """The envelope in a row of the event log. It has no route if only a newer version knows its type.

    Earlier versions logged values that no reader accepts: correlation ids of any length, and payment methods of any
    form. The envelope has the values that this version would have logged, so that such a saga can go on.
    """
    return Envelope(
        event_type=known_type(row["event_type"]) or UnknownType(row["event_type"]),
        event_id=row["event_id"],
        occurred_at=row["occurred_at"].astimezone(UTC),
        correlation_id=as_id(row["correlation_id"], str(row["event_id"])),
        causation_id=row["causation_id"],
        coordinator=Coordinator(row["coordinator"]),
        payload=readable(row["payload"]),
        traceparent=row["traceparent"],
    )
