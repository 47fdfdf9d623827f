"""Messages as they are handed to the broker, and how publishing one may fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from choreography.headers import FURTHER_ROUTING_KEYS, TRACEPARENT
from choreography.topology import LATE_EVENTS, readers
from models.late_events import LateEvents
from models.messages import Envelope, encode

_LATE_KEYS: Final = {route.exchange: route.routing_key for route in LATE_EVENTS}


class BrokerUnavailable(Exception):
    """RabbitMQ did not confirm the message, which may or may not have arrived. Publishing it again is safe."""


class NotStored(BrokerUnavailable):
    """RabbitMQ has certainly not stored the message, so it will have no effect."""


class NotTaken(BrokerUnavailable):
    """RabbitMQ is connected. It has refused the message, or has not confirmed it in time."""


class Unroutable(NotStored):
    """RabbitMQ has no queue for the message."""


class Unread(BrokerUnavailable):
    """The mirrors' queue has the message, but the service that it is for has no queue. It must be published again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutgoingMessage:
    """A message to publish. A `mandatory` one must reach at least one queue. `expiration` is in seconds."""

    body: bytes
    exchange: str
    routing_key: str
    message_id: str
    correlation_id: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    mandatory: bool = True
    expiration: float | None = None


def as_message(envelope: Envelope, *, mandatory: bool = False, late: LateEvents | None = None) -> OutgoingMessage:
    """The message that carries an envelope to its exchange. Raises ValueError if the envelope's type has no route.

    If the event is one of `late`, the message also takes their route to the mirrors.
    """
    if envelope.route is None:
        raise ValueError(f"{envelope.event_type} has no route; only a version that knows this type can publish it")
    headers: dict[str, Any] = {TRACEPARENT: envelope.traceparent} if envelope.traceparent else {}
    if late is not None and envelope in late:
        headers[FURTHER_ROUTING_KEYS] = [_LATE_KEYS[envelope.route.exchange]]
    return OutgoingMessage(
        body=encode(envelope),
        exchange=envelope.route.exchange,
        routing_key=envelope.route.routing_key,
        message_id=str(envelope.event_id),
        correlation_id=envelope.correlation_id,
        headers=headers,
        # A message that a service waits for must not count as published if no queue takes it.
        mandatory=mandatory or bool(readers(envelope.route.routing_key)),
    )
