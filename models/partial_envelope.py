"""Read the part of an envelope that says what it is about, also when this version does not know its type."""

from __future__ import annotations

from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from models.messages import MalformedMessage, check_depth
from models.saga import Coordinator


class _Payload(msgspec.Struct, rename="camel"):
    order_id: UUID


class PartialEnvelope(msgspec.Struct, rename="camel"):
    """The fields that an event of any type has."""

    event_id: str
    event_type: str
    payload: _Payload
    correlation_id: str | None = None
    coordinator: Coordinator | None = None


_envelopes: Final = msgspec.json.Decoder(PartialEnvelope)
_values: Final = msgspec.json.Decoder(dict[str, Any])

Decoded = TypeVar("Decoded")


def read_partially(body: bytes) -> PartialEnvelope:
    """The part that every envelope has. Raises MalformedMessage if the body is not an event about an order."""
    return _decode(_envelopes, body)


def read_json(body: bytes) -> dict[str, Any]:
    """The whole envelope as a JSON value. Raises MalformedMessage, also if the value is nested too deeply."""
    value = _decode(_values, body)
    check_depth(body, value)
    return value


def _decode(decoder: msgspec.json.Decoder[Decoded], body: bytes) -> Decoded:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(str(error)) from error
