"""Read events back from an event log, as they were first published."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any, Final

from models.message_types import UnknownType, known_type
from models.messages import Envelope
from models.saga import Coordinator
from models.texts import as_id, readable

# Of `event_log e`: what an envelope is made of.
EVENT_COLUMNS: Final = (
    "e.event_type, e.event_id, e.occurred_at, e.correlation_id, e.causation_id, e.coordinator, e.payload"
)


def logged_envelope(row: Mapping[str, Any]) -> Envelope:
    """The envelope of a row of the event log; without a route if a newer version has logged a type of its own.

    Versions before this one wrote what no reader takes: correlation ids without bound, and foreign payment methods of
    any form. The envelope is what this version would have written, so that such a saga goes on.
    """
    return Envelope(
        event_type=known_type(row["event_type"]) or UnknownType(row["event_type"]),
        event_id=row["event_id"],
        occurred_at=row["occurred_at"].astimezone(UTC),
        correlation_id=as_id(row["correlation_id"], str(row["event_id"])),
        causation_id=row["causation_id"],
        coordinator=Coordinator(row["coordinator"]),
        payload=readable(row["payload"]),
    )
