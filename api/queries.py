"""Ask the two services: pass on what they know, and wait a moment for what was accepted a moment ago."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import httpx
import msgspec
import structlog

from api.ports import Clock, FeedPort, Limits, QueryClient
from api.problems import Kind, Problem, unavailable
from choreography.message import BrokerUnavailable
from models.ids import minted_at
from models.messages import Envelope, MalformedMessage, decode
from workflows.timeline import causes_known

log = structlog.get_logger()

# Clocks of two gateways differ a little, and ids run ahead of one that was set back: such an id is a new one, too.
_CLOCK_SKEW: Final = timedelta(seconds=10)
_ASK_EVERY: Final = 0.1  # seconds, while no event tells when to
_MOST_ACCEPTED_AGAIN: Final = 1000


class ServiceAway(Exception):
    """A service gave no usable answer in time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Logged:
    """What the event logs within reach have of a saga, and why that may not be all of it."""

    events: list[Envelope] = field(default_factory=list)
    problem: Problem | None = None

    def all(self) -> list[Envelope]:
        """The events of both logs. Raises Problem unless both were read."""
        if self.problem is not None:
            raise self.problem
        return self.events


class Service:
    """A service's read API."""

    def __init__(self, name: str, client: QueryClient) -> None:
        self.name = name
        self._client = client

    async def get(
        self, path: str, *, correlation_id: str, timeout: float, params: Mapping[str, Any] | None = None
    ) -> bytes | None:
        """The JSON at this path, None if there is none. Raises ServiceAway after `timeout` seconds."""
        status, content = await self.request("GET", path, correlation_id, timeout, params=params)
        if status == 404:
            return None
        if status == 200:
            return content
        raise self._misunderstood(status)

    async def put(self, path: str, content: bytes, *, correlation_id: str, timeout: float) -> bytes:
        """The JSON that a PUT answers with. Raises ServiceAway after `timeout` seconds."""
        status, answer = await self.request("PUT", path, correlation_id, timeout, content=content)
        if status == 200:
            return answer
        raise self._misunderstood(status)

    async def request(
        self,
        method: str,
        path: str,
        correlation_id: str,
        timeout: float,
        *,
        params: Mapping[str, Any] | None = None,
        content: bytes | None = None,
    ) -> tuple[int, bytes]:
        """Status and body. Raises ServiceAway after `timeout` seconds, whatever it is that takes so long."""
        headers = {"X-Correlation-Id": correlation_id}
        if content is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with asyncio.timeout(timeout):
                answer = await self._client.request(
                    method, path, params=params, content=content, headers=headers, timeout=timeout
                )
        except (httpx.TransportError, OSError, TimeoutError) as error:
            log.warning("service_away", service=self.name, path=path, error=f"{type(error).__name__}: {error}")
            raise ServiceAway(f"The {self.name} does not answer") from error
        return answer.status_code, answer.content

    def _misunderstood(self, status: int) -> ServiceAway:
        if status < 500:
            # The gateway has checked what it asks: the two disagree about the token, or about their API.
            log.error("service_refused_query", service=self.name, status=status)
        return ServiceAway(f"The {self.name} cannot answer now (it said {status})")


class Queries:
    """What the gateway finds out from the services' databases, by way of their read APIs."""

    def __init__(self, *, orders: Service, payments: Service, feed: FeedPort, clock: Clock, limits: Limits) -> None:
        self.orders = orders
        self.payments = payments
        self._feed = feed
        self._clock = clock
        self._limits = limits
        self._accepted_again: dict[UUID, datetime] = {}  # the latest last

    def is_new(self, order_id: UUID, *, seconds: float) -> bool:
        """Whether the order was accepted less than `seconds` ago, as its id tells, or as this gateway remembers."""
        accepted = self._accepted_again.get(order_id) or minted_at(order_id)
        return accepted is not None and -_CLOCK_SKEW <= self._clock() - accepted < timedelta(seconds=seconds)

    def note_accepted(self, order_id: UUID) -> None:
        """Remember an order that is accepted now under an id that an Idempotency-Key has kept from an earlier try."""
        if self.is_new(order_id, seconds=self._limits.grace):
            return  # its id tells
        self._accepted_again.pop(order_id, None)
        self._accepted_again[order_id] = self._clock()
        if len(self._accepted_again) > _MOST_ACCEPTED_AGAIN:
            del self._accepted_again[next(iter(self._accepted_again))]

    async def ask(
        self, service: Service, path: str, correlation_id: str, params: Mapping[str, Any] | None = None
    ) -> bytes | None:
        """The JSON at this path, None if there is none. Raises Problem when the service is away."""
        try:
            return await service.get(path, correlation_id=correlation_id, params=params, timeout=self._limits.query)
        except ServiceAway as away:
            raise unavailable(f"{away}; try again") from away

    async def order(self, order_id: UUID, correlation_id: str) -> bytes:
        """The order; one accepted a moment ago is waited for. Raises Problem: unknown, or the service is away."""
        path = f"/orders/{order_id}"
        found = await self.ask(self.orders, path, correlation_id)
        if found is None and self.is_new(order_id, seconds=self._limits.moment):
            found = await self._wait_for(order_id, path, correlation_id)
        if found is None:
            raise unknown_order(order_id)
        return found

    async def events(self, order_id: UUID, correlation_id: str) -> list[Envelope]:
        """What both event logs have of this saga, no effect without its cause. Raises Problem when one is away."""
        return (await self._logged(order_id, correlation_id)).all()

    async def events_of_new(self, order_id: UUID, correlation_id: str) -> list[Envelope]:
        """The same; an order accepted a moment ago is waited for. Raises Problem for an unknown one."""
        return (await self.logged_of_new(order_id, correlation_id)).all()

    async def logged_of_new(self, order_id: UUID, correlation_id: str) -> Logged:
        """The same, with what is missing told beside what is there; raises nothing."""
        logged = await self._logged(order_id, correlation_id)
        if logged.events or logged.problem is not None:
            return logged
        try:
            await self.order(order_id, correlation_id)
        except Problem as problem:
            return Logged(problem=problem)
        return await self._logged(order_id, correlation_id)

    async def _logged(self, order_id: UUID, correlation_id: str) -> Logged:
        logged = await self._read_logs(order_id, correlation_id)
        seen = {event.event_id for event in logged.events}
        if logged.problem is not None or all(causes_known(event, seen) for event in logged.events):
            return logged
        # One log was read just before the other grew; by now the causes of all that was found can be read, too.
        again = await self._read_logs(order_id, correlation_id)
        return Logged(events=logged.events + again.events, problem=again.problem)

    async def _read_logs(self, order_id: UUID, correlation_id: str) -> Logged:
        events: list[Envelope] = []
        problem: Problem | None = None
        for answer in await asyncio.gather(
            self.ask(self.orders, f"/orders/{order_id}/events", correlation_id),
            self.ask(self.payments, f"/payments/order/{order_id}/events", correlation_id),
            return_exceptions=True,
        ):
            if isinstance(answer, Problem):
                problem = problem or answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                events += _envelopes(answer)
        return Logged(events=events, problem=problem)

    async def _wait_for(self, order_id: UUID, path: str, correlation_id: str) -> bytes | None:
        try:
            async with asyncio.timeout(self._limits.grace):
                if (found := await self._when_told(order_id, path, correlation_id)) is not None:
                    return found
                while (found := await self.ask(self.orders, path, correlation_id)) is None:  # noqa: ASYNC110 - no feed
                    await asyncio.sleep(_ASK_EVERY)
                return found
        except TimeoutError:
            # It may be there, though its event is late.
            return await self.ask(self.orders, path, correlation_id)

    async def _when_told(self, order_id: UUID, path: str, correlation_id: str) -> bytes | None:
        """The order when the feed tells of it; None when there is no feed."""
        try:
            async with self._feed.subscribe(order_id) as events:
                # It may have been stored between the first question and the subscription.
                found = await self.ask(self.orders, path, correlation_id)
                return found if found is not None else await self._after_next(events, path, correlation_id)
        except BrokerUnavailable:
            return None

    async def _after_next(self, events: AsyncIterator[Envelope | None], path: str, correlation_id: str) -> bytes | None:
        async for _ in events:
            found = await self.ask(self.orders, path, correlation_id)
            if found is not None:
                return found
        return None


def unknown_order(order_id: UUID) -> Problem:
    return Problem(Kind.NOT_FOUND, f"Order {order_id} is not known; check the id, or list orders at /api/orders")


def events_removed(order_id: UUID) -> Problem:
    """Said of an order that is known: whatever is stored is logged with it."""
    return Problem(
        Kind.NOT_FOUND,
        f"The events of order {order_id} are kept no longer; the order itself is at /api/orders/{order_id}",
    )


def _envelopes(body: bytes | None) -> list[Envelope]:
    if body is None:
        return []
    found = []
    for raw in msgspec.json.decode(body, type=_EventLog).data:
        try:
            found.append(decode(bytes(raw)))
        except MalformedMessage as error:
            # A newer service may log what this gateway can't read yet; the rest of the story is still true.
            log.warning("event_not_understood", error=str(error))
    return found


class _EventLog(msgspec.Struct):
    data: list[msgspec.Raw]
