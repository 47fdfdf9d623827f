"""What is handed to the broker, and how it may fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class BrokerUnavailable(Exception):
    """RabbitMQ did not confirm: the message may or may not have arrived. Publishing it again is safe."""


class NotStored(BrokerUnavailable):
    """RabbitMQ has certainly not stored the message: nothing will come of it."""


class Unroutable(NotStored):
    """RabbitMQ has no queue for the message."""


class Unread(BrokerUnavailable):
    """Mirrors have the message, but the service that it is for has no queue: it must be published again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """A message to publish; `mandatory` says that it must reach at least one queue; `expiration` is in seconds."""

    body: bytes
    exchange: str
    routing_key: str
    message_id: str
    correlation_id: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    mandatory: bool = True
    expiration: float | None = None
