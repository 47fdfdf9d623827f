"""Name the headers of our own, and read them as ones that a stranger may have written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

OURS: Final = "x-saga-"
# Brokers count attempts differently, and republishing loses their counts: these are our own.
ATTEMPT: Final = "x-saga-attempt"
FIRST_EXCHANGE: Final = "x-saga-exchange"
FIRST_ROUTING_KEY: Final = "x-saga-routing-key"
FIRST_FAILED_AT: Final = "x-saga-first-failed-at"
FAILED_AT: Final = "x-saga-failed-at"
ERROR: Final = "x-saga-error"
REASON: Final = "x-saga-reason"
QUEUE: Final = "x-saga-queue"
DEAD_LETTER_ID: Final = "x-saga-dead-letter-id"
MESSAGE_ID: Final = "x-saga-message-id"
# It was delivered more than once, so an earlier delivery may have been set aside, too.
REDELIVERED: Final = "x-saga-redelivered"
REPLAYED: Final = "x-saga-replayed"  # it was published before
# The properties of a message that can't be decoded, as they came.
PROPERTIES: Final = "x-saga-undecodable-properties"

DELIVERY_COUNT: Final = "x-delivery-count"  # RabbitMQ's: how often it took a delivery back, for whatever reason

_LONGEST: Final = 255  # bytes of a name or an id
_HIGHEST_COUNT: Final = 1_000_000


def text_in(headers: Mapping[str, Any], name: str, default: str, *, longest: int = _LONGEST) -> str:
    """The header's text; `default` if it is missing, of another type, or longer than `longest` bytes."""
    value = headers.get(name)
    return value if isinstance(value, str) and len(value.encode()) <= longest else default


def count_in(headers: Mapping[str, Any], name: str, default: int) -> int:
    """The header's positive number, if it is one; never so high that it can't be counted up."""
    value = headers.get(name)
    return min(value, _HIGHEST_COUNT) if isinstance(value, int) and value > 0 else default


def time_in(headers: Mapping[str, Any], name: str) -> str | None:
    """The header's time as ISO 8601 text, as we write it; None if it is anything else."""
    value = text_in(headers, name, "")
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return None
    return value
