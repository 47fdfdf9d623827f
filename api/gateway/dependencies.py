"""Define what the gateway needs from the other packages, and how long it waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeAlias
from uuid import UUID

from api.crowd import Network
from api.gateway.keys import ApiKey
from models.messages import Envelope
from models.originals import NO_ORIGINALS, Originals
from models.saga import Coordinator, CreateOrderRequested
from workflows.timeline_queries import WorkflowFacts

Clock: TypeAlias = Callable[[], datetime]  # aware, UTC


class CommandSender(Protocol):
    async def publish(self, envelope: Envelope) -> None:
        """Publish a command by its route; on return it is confirmed.

        Raises BrokerUnavailable of choreography, at once if there is no connection.
        """


class SagaStarter(Protocol):
    """Starts and cancels orchestrated sagas; every method may raise workflows.temporal_errors.TemporalUnavailable."""

    async def start(self, command: CreateOrderRequested, *, event_id: UUID, correlation_id: str) -> None:
        """Start the saga; on return the start is durable. Repeating this for the same order changes nothing."""

    async def cancel(self, order_id: UUID, *, correlation_id: str) -> None:
        """Ask the order's saga to cancel it; on return the request is durable. If the saga has ended, start another."""

    async def orchestrates(self, order_id: UUID) -> bool:
        """Whether this order has an orchestrated saga."""


class TimelineSource(Protocol):
    async def timeline(self, order_id: UUID) -> Mapping[str, Any] | None:
        """The timeline of the order's workflow, in wire form; None if it has none. It may lack the latest events.

        Raises workflows.temporal_errors.TemporalUnavailable, within about a second.
        """

    async def facts(self, order_id: UUID) -> WorkflowFacts | None:
        """What Temporal tells of the order's workflow; None if it has none. Raises as `timeline`, within 2 s."""


class Listener(Protocol):
    """Is told of every order's events, in the order of their arrival; see choreography.feed."""

    def heard(self, event: Envelope) -> None: ...
    def missed(self) -> None: ...
    def closed(self) -> None: ...


class EventFeed(Protocol):
    def subscribe(self, order_id: UUID) -> AbstractAsyncContextManager[AsyncIterator[Envelope | None]]:
        """An order's events as they are published. Every event that is published inside the context arrives.

        None says that events may have been missed: read the event logs again. Giving up the wait for the next event
        loses nothing. The iterator ends when the feed is closed. Entering raises BrokerUnavailable of choreography.
        """

    def listen(self, listener: Listener) -> AbstractAsyncContextManager[None]:
        """Tell this listener of every order's events. Entering raises BrokerUnavailable of choreography."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceRequest:
    """A request to a service."""

    method: str
    path: str
    params: Mapping[str, Any] | None = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class ServiceResponse(NamedTuple):
    """A service's answer."""

    status_code: int
    content: bytes


class QueryClient(Protocol):
    """Sends requests to one service. It knows the service's address and token."""

    async def request(self, question: ServiceRequest) -> ServiceResponse:
        """The answer, with any status. Only idempotent requests are repeated. Raises OSError if there is no answer."""


class Breaker(Protocol):
    """The supervisor of the processes around us, which can break them; see embedded.control."""

    @property
    def is_there(self) -> bool: ...

    def processes(self) -> Sequence[Mapping[str, Any]]:
        """Each with its name, state, pid and restarts, and whether it is cuttable."""

    async def kill(self, name: str) -> None:
        """Kill a process. Raises LookupError if it does not run, OSError if the supervisor does not answer."""

    async def freeze(self, name: str, seconds: float) -> None:
        """Have a process stand still for so long. Raises as `kill`."""

    async def cut(self, name: str, seconds: float) -> None:
        """Let nothing through to a process, or from it, for so long. Raises as `kill`."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long the gateway waits for others, in seconds, and how many clients may wait at once."""

    answer: float = 1.9  # the longest time to answer a command …
    command: float = 1.5  # … and to have it confirmed
    query: float = 2.0
    cancel_query: float = 0.5
    workflow: float = 1.0  # for a workflow's timeline; then it is told from the event logs
    moment: float = 2.0  # an order that was accepted less than this ago may not be stored yet …
    grace: float = 1.0  # … and is waited for this long …
    patience: float = 3.0  # … or this long, if its id shows that one of our gateways has accepted it
    waits: int = 512  # such waits at once …
    waits_for_strangers: int = 64  # … and those for ids that only look new
    unstored: float = 3600.0  # with a long backlog, an order may be stored as late as this after it was accepted
    heartbeat: float = 15.0
    longest_wait: int = 30
    streams: int = 2000  # open at once, of one client half of them
    preferred_waits: int = 1000  # POSTs that wait for the end of their saga, likewise
    viewers: int = 200  # streams of the console, likewise
    longest_view: float = 3600.0  # … each open for at most so long


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """The settings of the gateway itself."""

    default_coordinator: Coordinator = Coordinator.CHOREOGRAPHY
    limits: Limits = Limits()
    originals: Originals = NO_ORIGINALS
    secret: bytes = field(default=b"", repr=False)  # all gateways of a system have the same: it seals order ids
    rate: float | None = None  # requests a second of each client; None: any number
    longest_wait: float = 60.0  # seconds; while a new order would wait longer, orders are refused
    keys: tuple[ApiKey, ...] = ()  # none: whoever reaches the gateway may do everything
    proxies: tuple[Network, ...] = ()  # their X-Forwarded-For tells which client asks
    temporal_ui: str | None = None  # where people reach Temporal's pages, if that is known
