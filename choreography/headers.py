"""Name our own headers, and read them with care, because a stranger may have written them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

OURS: Final = "x-saga-"
# Brokers count attempts in different ways, and republishing loses their counts. So we count in a header of our own.
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
# The message was delivered more than once, so an earlier delivery may have been set aside, too.
REDELIVERED: Final = "x-saga-redelivered"
REDRIVES: Final = "x-saga-redrives"  # how often the message was redriven …
REDRIVEN_AT: Final = "x-saga-redriven-at"  # … the last time then, by OPERATOR
OPERATOR: Final = "x-saga-operator"  # the name of who had the message redriven or replayed
REPLAYED: Final = "x-saga-replayed"  # the message was published before
# The original properties of a message, if they can't be decoded.
PROPERTIES: Final = "x-saga-undecodable-properties"

FURTHER_ROUTING_KEYS: Final = "BCC"  # RabbitMQ's: it routes the message by these, too, and takes the header out

TRACEPARENT: Final = "traceparent"  # W3C Trace Context: what the message follows from

DELIVERY_COUNT: Final = "x-delivery-count"  # RabbitMQ's count of returned deliveries, whatever the reason

_LONGEST: Final = 255  # bytes of a name or an id
_HIGHEST_COUNT: Final = 1_000_000


def text_in(headers: Mapping[str, Any], name: str, default: str, *, longest: int = _LONGEST) -> str:
    """The text in the header; `default` if it is missing, of another type, or longer than `longest` bytes."""
    value = headers.get(name)
    return value if isinstance(value, str) and len(value.encode()) <= longest else default


def redrives_in(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers that tell how often, when and by whom the message was redriven; none if it never was."""
    count = count_in(headers, REDRIVES, 0)
    told = {REDRIVEN_AT: time_in(headers, REDRIVEN_AT), OPERATOR: text_in(headers, OPERATOR, "")}
    return {REDRIVES: count, **{name: text for name, text in told.items() if text}} if count else {}


def count_in(headers: Mapping[str, Any], name: str, default: int) -> int:
    """The positive number in the header, else `default`. It is bounded, so that one can be added to it."""
    value = headers.get(name)
    return min(value, _HIGHEST_COUNT) if isinstance(value, int) and value > 0 else default


def time_in(headers: Mapping[str, Any], name: str) -> str | None:
    """The time in the header, as ISO 8601 text; None if the header holds anything else."""
    value = text_in(headers, name, "")
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return None
    return value
