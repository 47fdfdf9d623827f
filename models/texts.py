"""Turn text from anywhere into text that every reader of ours can take; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

LONGEST_ID: Final = 255  # bytes: as properties of an AMQP message ids are short strings
LONGEST_TEXT: Final = 1000  # characters of a reason, an error or a provider's id
IDEMPOTENCY_KEY: Final = r"[ -~]{1,255}"
PAYMENT_METHOD: Final = r"^pm_[A-Za-z0-9_]{1,64}$"


def plain(text: str) -> str:
    """The text in at most `LONGEST_TEXT` characters, with a question mark for each one that can't be stored.

    PostgreSQL can't store U+0000. UTF-8 can't encode half a surrogate pair, although JSON can escape one.
    """
    if len(text) > LONGEST_TEXT:
        text = text[: LONGEST_TEXT - 1] + "…"
    return text.encode(errors="replace").decode().replace("\0", "?")


def is_id(text: str) -> bool:
    """Whether every reader can take this as an event id or a correlation id: 1 … 255 bytes, none of them zero."""
    try:
        return 0 < len(text.encode()) <= LONGEST_ID and "\0" not in text
    except UnicodeEncodeError:
        return False


def as_id(text: str | None, stand_in: str) -> str:
    """The id, shortened if it must be so that every reader can take it; `stand_in` if there is none."""
    if text is None or is_id(text):
        return text or stand_in
    return plain(text).encode()[:LONGEST_ID].decode(errors="ignore") or stand_in


def correlation_of(told: str | None, in_property: object, event_id: str) -> str:
    """The correlation id of a message: the one in its body, else the one in its property, else its event id."""
    if told is not None:
        return told
    return in_property if isinstance(in_property, str) and is_id(in_property) else event_id


def is_idempotency_key(text: str) -> bool:
    """Whether a client may name this as its Idempotency-Key: 1 … 255 printable ASCII characters."""
    return re.fullmatch(IDEMPOTENCY_KEY, text) is not None


def is_payment_method(text: str) -> bool:
    """Whether this is the name of a payment method: `pm_` and 1 … 64 ASCII letters, digits and underscores."""
    return re.fullmatch(PAYMENT_METHOD, text) is not None


def readable(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The payload of a message, without its payment method if a reader would refuse that."""
    method = payload.get("paymentMethod")
    if method is None or (isinstance(method, str) and is_payment_method(method)):
        return payload
    return {name: value for name, value in payload.items() if name != "paymentMethod"}
