"""Read and write envelopes and their payloads in the form that the original services use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final
from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec

from models.message_types import MESSAGE_TYPES, ROUTES, MessageType, Route, UnknownType, known_type, type_of
from models.saga import Coordinator, CreateOrderRequested, Message, OrderCancelled, OrderCreated
from models.texts import LONGEST_ID, as_id, correlation_of, is_id, is_payment_method, readable

SCHEMA_VERSION: Final = 1
_DEEPEST: Final = 100  # levels of nesting; a parser, a log or a database fails only far beyond this


class MalformedMessage(ValueError):
    """The bytes that arrived are not a valid message. A retry cannot help."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """A message as it travels; `payload` is in wire form (camelCase keys, JSON values)."""

    event_type: MessageType | UnknownType
    event_id: UUID
    occurred_at: datetime  # aware, UTC
    correlation_id: str
    payload: Mapping[str, Any]
    causation_id: UUID | None = None  # the eventId this one answers
    schema_version: int = SCHEMA_VERSION
    coordinator: Coordinator = Coordinator.CHOREOGRAPHY
    # The W3C trace context of what the message follows from. It travels beside the body, and `encode` leaves it out.
    traceparent: str | None = None

    @property
    def route(self) -> Route | None:
        """Where the message is published; None if this version does not know its type."""
        known = known_type(self.event_type)
        return ROUTES[known] if known else None

    @property
    def order_id(self) -> str | None:
        """The order that the message is about, as its payload names it; None if the payload has no usable id."""
        order_id = self.payload.get("orderId")
        return str(order_id) if isinstance(order_id, str | UUID) else None


class _Wire(msgspec.Struct, rename="camel", kw_only=True):
    event_type: str
    event_id: str
    occurred_at: datetime
    payload: dict[str, Any]
    correlation_id: str | None = None
    # Our own fields: null means the same as leaving them out.
    causation_id: str | None = None
    schema_version: int | None = None
    coordinator: Coordinator | None = None


_decoder = msgspec.json.Decoder(_Wire)
_encoder = msgspec.json.Encoder()


def decode(body: bytes, *, correlation_id: object = None) -> Envelope:
    """The envelope in `body`. Unknown fields are ignored, and our own may be missing. Raises MalformedMessage.

    `correlation_id` is the property of the AMQP message. It is used if the body has no correlation id: an original
    gateway sends none there. If the property is not usable either, the event id is used.
    """
    try:
        wire = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedMessage(f"not an envelope: {error}") from error
    except RecursionError as error:
        raise MalformedMessage("not an envelope: its payload is nested too deeply") from error
    check_depth(body, wire.payload)
    event_type = known_type(wire.event_type)
    if event_type is None:
        raise MalformedMessage(f"eventType {wire.event_type[:100]!r} is not one of {', '.join(MESSAGE_TYPES)}")
    check_id("eventId", wire.event_id)
    traced_by = correlation_of(wire.correlation_id, correlation_id, wire.event_id)
    check_id("correlationId", traced_by)
    try:
        occurred_at = wire.occurred_at.replace(tzinfo=wire.occurred_at.tzinfo or UTC).astimezone(UTC)
    except OverflowError as error:
        raise MalformedMessage(f"occurredAt is out of range: {error}") from error
    return Envelope(
        event_type=event_type,
        event_id=_as_uuid(wire.event_id),
        occurred_at=occurred_at,
        correlation_id=traced_by,
        payload=wire.payload,
        causation_id=_as_uuid(wire.causation_id) if wire.causation_id else None,
        schema_version=SCHEMA_VERSION if wire.schema_version is None else wire.schema_version,
        coordinator=wire.coordinator or Coordinator.CHOREOGRAPHY,
    )


def read_wire(wire: object) -> tuple[Envelope, bytes]:
    """The envelope in a JSON value, and the value as bytes. Raises MalformedMessage if the value is no envelope."""
    try:
        body = msgspec.json.encode(wire)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise MalformedMessage(f"not an envelope: {error}") from error
    return decode(body), body


def check_id(name: str, value: str) -> None:
    """Raise MalformedMessage, which names the id, unless every reader can take this id."""
    if not is_id(value):
        raise MalformedMessage(f"{name} must have 1 … {LONGEST_ID} bytes, none of them zero")


def check_depth(body: bytes, decoded: dict[str, Any]) -> None:
    """Raise MalformedMessage if the value decoded from `body` is nested so deeply that encoding it might fail."""
    if body.count(b"[") + body.count(b"{") <= _DEEPEST:
        return  # nearly every message ends here
    level: list[Any] = [decoded]
    for _ in range(_DEEPEST):
        inner = [each.values() if isinstance(each, dict) else each for each in level]
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
    if level:
        raise MalformedMessage(f"nested deeper than {_DEEPEST} levels")


def encode(envelope: Envelope) -> bytes:
    """The envelope as JSON, with the fields of the original services first."""
    return _encoder.encode(
        {
            "eventType": envelope.event_type,
            "eventId": envelope.event_id,
            "occurredAt": envelope.occurred_at,
            "correlationId": envelope.correlation_id,
            "payload": envelope.payload,
            "causationId": envelope.causation_id,
            "schemaVersion": envelope.schema_version,
            "coordinator": envelope.coordinator,
        }
    )


def wire_form(envelope: Envelope) -> dict[str, Any]:
    """The envelope as a plain JSON value."""
    wire: dict[str, Any] = msgspec.json.decode(encode(envelope))
    return wire


def parse(envelope: Envelope) -> Message:
    """The message in an envelope, checked against its type. Raises MalformedMessage."""
    event_type = known_type(envelope.event_type)
    if event_type is None:
        raise MalformedMessage(f"eventType {envelope.event_type!r} is not known to this version")
    kind = MESSAGE_TYPES[event_type]
    payload = envelope.payload
    values = {snake: payload[camel] for snake, camel in _WIRE_NAMES[kind].items() if payload.get(camel) is not None}
    total = values.get("total")
    if isinstance(total, float) and total.is_integer():
        values["total"] = int(total)  # the original services send JavaScript numbers
    if kind is CreateOrderRequested and "order_id" not in values:
        # An original gateway mints no order id. Derive one, so that a redelivery names the same order.
        values["order_id"] = uuid5(envelope.event_id, "order")
    try:
        message: Message = msgspec.convert(values, kind)
        _check_payment_method(message)
    except (msgspec.ValidationError, ValueError) as error:
        raise MalformedMessage(f"payload of {envelope.event_type}: {_in_wire_names(str(error))}") from error
    if any("\0" in value for value in values.values() if isinstance(value, str)):
        raise MalformedMessage(f"payload of {envelope.event_type}: text must not contain the character U+0000")
    return message


def envelope_of(
    message: Message,
    *,
    event_id: UUID,
    occurred_at: datetime,
    correlation_id: str,
    causation_id: UUID | None = None,
    coordinator: Coordinator = Coordinator.CHOREOGRAPHY,
    traceparent: str | None = None,
) -> Envelope:
    """The envelope in which `message` is sent. `decode` and `parse` can read it, whatever the correlation id is."""
    event_type = type_of(message)
    payload: dict[str, Any] = {
        camel: value
        for snake, camel in _WIRE_NAMES[type(message)].items()
        if (value := getattr(message, snake)) is not None
    }
    if isinstance(message, OrderCancelled):
        payload["cancelledAt"] = occurred_at
    return Envelope(
        event_type=event_type,
        event_id=event_id,
        occurred_at=occurred_at,
        correlation_id=as_id(correlation_id, str(event_id)),
        payload=readable(payload),
        causation_id=causation_id,
        coordinator=coordinator,
        traceparent=traceparent,
    )


def camel(name: str) -> str:
    """A name as it is written on the wire."""
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def _check_payment_method(message: Message) -> None:
    match message:
        case CreateOrderRequested(payment_method=str(name)) | OrderCreated(payment_method=str(name)):
            if not is_payment_method(name):
                rule = "it must be pm_ and 1 … 64 ASCII letters, digits and underscores"
                raise ValueError(f"payment_method is {name[:40]!r}; {rule}")


def _in_wire_names(error: str) -> str:
    return re.sub(r"\b[a-z]+(?:_[a-z]+)+\b", lambda name: camel(name.group()), error)


def _as_uuid(text: str) -> UUID:
    """The id as a UUID. Other services' ids may be any text; the same text always becomes the same UUID."""
    try:
        return UUID(text)
    except ValueError:
        return uuid5(NAMESPACE_OID, text)


_WIRE_NAMES: Final = {kind: {f.name: camel(f.name) for f in fields(kind)} for kind in MESSAGE_TYPES.values()}
