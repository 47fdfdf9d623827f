"""What the gateway needs from the rest of the house, and how long it waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeAlias
from uuid import UUID

from api.gateway.keys import ApiKey
from models.messages import Envelope
from models.originals import NO_ORIGINALS, Originals
from models.saga import Coordinator, CreateOrderRequested

Clock: TypeAlias = Callable[[], datetime]  # aware, UTC


class CommandSender(Protocol):
    async def publish(self, envelope: Envelope) -> None:
        """Publish a command to where its route says; confirmed on return.

        Raises choreography.outgoing_message.BrokerUnavailable: at once when there is no connection.
        """


class SagaStarter(Protocol):
    """Starts and cancels orchestrated sagas; every method may raise workflows.temporal_errors.TemporalUnavailable."""

    async def start(self, command: CreateOrderRequested, *, event_id: UUID, correlation_id: str) -> None:
        """Start the saga, durable on return; once more for the same order changes nothing."""

    async def cancel(self, order_id: UUID, *, correlation_id: str) -> None:
        """Have the order's saga cancel it, durable on return; a saga that has ended already begins its compensation."""

    async def orchestrates(self, order_id: UUID) -> bool:
        """Whether this order has a saga here."""


class TimelineSource(Protocol):
    async def timeline(self, order_id: UUID) -> Mapping[str, Any] | None:
        """What the order's workflow tells, in wire form; None if it has no workflow. May lack the latest events.

        Raises workflows.temporal_errors.TemporalUnavailable, within about a second.
        """


class EventFeed(Protocol):
    def subscribe(self, order_id: UUID) -> AbstractAsyncContextManager[AsyncIterator[Envelope | None]]:
        """An order's events as they are published; once entered, every later one arrives.

        None says that events may have been missed: read the event logs again. Giving up the wait for the next event
        loses nothing. The iterator ends when the feed is closed. Entering raises BrokerUnavailable of choreography.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceRequest:
    """What a service is asked."""

    method: str
    path: str
    params: Mapping[str, Any] | None = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class ServiceResponse(NamedTuple):
    """What a service answered."""

    status_code: int
    content: bytes


class QueryClient(Protocol):
    """Reaches one service; where that is, and the token that opens it, are known to whoever made it."""

    async def request(self, question: ServiceRequest) -> ServiceResponse:
        """The answer, whatever its status; nothing is repeated that isn't idempotent. Raises OSError without one."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long the gateway waits for others, in seconds, and how many of its clients may wait with it."""

    answer: float = 1.9  # to a command, whatever has to be asked for it …
    command: float = 1.5  # … and for the one that confirms it
    query: float = 2.0
    cancel_query: float = 0.5
    workflow: float = 1.0  # a timeline is then told from the event logs
    moment: float = 2.0  # an order accepted less than this ago may still be on its way to be stored …
    grace: float = 1.0  # … and is waited for, this long …
    patience: float = 3.0  # … or this long, when a gateway of ours is known to have accepted it
    waits: int = 512  # such waits at once …
    waits_for_strangers: int = 64  # … and those for ids that only look new
    unstored: float = 3600.0  # an order accepted less than this ago may be stored yet, after a long backlog
    heartbeat: float = 15.0
    longest_wait: int = 30


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """What the gateway is told about itself."""

    default_coordinator: Coordinator = Coordinator.CHOREOGRAPHY
    limits: Limits = Limits()
    originals: Originals = NO_ORIGINALS
    secret: bytes = field(default=b"", repr=False)  # all gateways of a system have the same: it seals order ids
    keys: tuple[ApiKey, ...] = ()  # none: whoever reaches the gateway may do everything
