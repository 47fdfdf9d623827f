"""Make text from anywhere such that every reader of ours can take it; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

LONGEST_ID: Final = 255  # bytes: as properties of an AMQP message ids are short strings
LONGEST_TEXT: Final = 1000  # characters of a reason, an error or a provider's id
PAYMENT_METHOD: Final = r"^pm_[A-Za-z0-9_]{1,64}$"


def plain(text: str) -> str:
    """The text in at most `LONGEST_TEXT` characters, with a question mark for each that can't be stored.

    PostgreSQL takes no U+0000, and UTF-8 has no half of a surrogate pair, which JSON can escape.
    """
    if len(text) > LONGEST_TEXT:
        text = text[: LONGEST_TEXT - 1] + "…"
    return text.encode(errors="replace").decode().replace("\0", "?")


def is_id(text: str) -> bool:
    """Whether every reader can take this as an event's or a correlation id: 1 … 255 bytes, none zero."""
    try:
        return 0 < len(text.encode()) <= LONGEST_ID and "\0" not in text
    except UnicodeEncodeError:
        return False


def as_id(text: str | None, stand_in: str) -> str:
    """The id as every reader can take it, shortened if need be; `stand_in` if there is none."""
    if text is None or is_id(text):
        return text or stand_in
    return plain(text).encode()[:LONGEST_ID].decode(errors="ignore") or stand_in


def correlation_of(told: str | None, in_property: object, event_id: str) -> str:
    """What a message is traced by: the correlation id that its body tells, else its property, else its event id."""
    if told is not None:
        return told
    return in_property if isinstance(in_property, str) and is_id(in_property) else event_id


def is_payment_method(text: str) -> bool:
    """Whether this is the name of a payment method: `pm_` and 1 … 64 ASCII letters, digits and underscores."""
    return re.fullmatch(PAYMENT_METHOD, text) is not None


def readable(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The payload of a message, without a payment method that its reader would refuse."""
    method = payload.get("paymentMethod")
    if method is None or (isinstance(method, str) and is_payment_method(method)):
        return payload
    return {name: value for name, value in payload.items() if name != "paymentMethod"}
