"""Ask the two services, and wait a moment for orders that were accepted a moment ago."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
import structlog

from api.gateway.dependencies import Limits
from api.gateway.downstream import Lane, ReadApi, ServiceAway
from api.gateway.original_services import no_such_order_id
from api.gateway.recent_orders import RecentOrders
from api.problems import Problem, ProblemType, unavailable
from models.messages import Envelope, MalformedMessage, decode
from models.originals import NO_ORIGINALS, Originals, ServiceName
from workflows.timeline import causes_known

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class Logged:
    """A saga's events in the event logs that could be read, and the problem if one could not."""

    events: list[Envelope] = field(default_factory=list)
    problem: Problem | None = None

    def all(self) -> list[Envelope]:
        """The events of both logs. Raises Problem unless both were read."""
        if self.problem is not None:
            raise self.problem
        return self.events


class Queries:
    """Queries of the services' read APIs."""

    def __init__(
        self,
        *,
        orders: ReadApi,
        payments: ReadApi,
        recent: RecentOrders,
        limits: Limits,
        originals: Originals = NO_ORIGINALS,
    ) -> None:
        self.orders = orders
        self.payments = payments
        self.recent = recent
        self.originals = originals
        self._limits = limits

    @property
    def ids_hold(self) -> bool:
        """Whether an order is stored under the id that it was accepted with; an original service gives its own."""
        return ServiceName.ORDER not in self.originals

    async def ask(
        self,
        service: ReadApi,
        path: str,
        correlation_id: str,
        params: Mapping[str, Any] | None = None,
        lane: Lane = Lane.QUERY,
    ) -> bytes | None:
        """The JSON at this path; None if there is none. Raises Problem if the service is away or overloaded."""
        try:
            return await service.get(
                path, correlation_id=correlation_id, params=params, timeout=self._limits.query, lane=lane
            )
        except ServiceAway as away:
            raise unavailable(f"{away}; try again") from away

    async def ask_with(self, service: ReadApi, path: str, content: bytes, correlation_id: str) -> bytes:
        """The JSON that is answered to this JSON. Raises Problem when the service is away, or asked too much."""
        try:
            return await service.post(path, content, correlation_id=correlation_id, timeout=self._limits.query)
        except ServiceAway as away:
            raise unavailable(f"{away}; try again") from away

    async def order(self, order_id: UUID, correlation_id: str, lane: Lane = Lane.QUERY) -> bytes:
        """The order. An order that was accepted a moment ago is waited for.

        Raises Problem if it is unknown, or accepted and still not stored, or if the service is away.
        """
        found = await self._waited_for(order_id, self.orders, f"/orders/{order_id}", correlation_id, lane)
        if found is not None:
            return found
        if self.recent.is_accepted(order_id):
            raise unavailable(f"Order {order_id} is accepted, but not stored yet; try again")
        raise unknown_order(order_id)

    async def payment_of(self, order_id: UUID, correlation_id: str) -> bytes:
        """The order's payment. If the order was accepted a moment ago, it is waited for. Raises as `order`."""
        found = await self._waited_for(order_id, self.payments, f"/payments/order/{order_id}", correlation_id)
        if found is not None:
            return found
        if self.recent.is_accepted(order_id):
            raise unavailable(f"Order {order_id} is accepted, but its payment is not stored yet; try again")
        raise no_payment_of(order_id)

    async def is_stored(self, order_id: UUID, correlation_id: str) -> bool:
        """Whether the order is stored. An accepted order isn't waited for. Raises Problem if the order is unknown."""
        if not self.recent.is_accepted(order_id) or not self.ids_hold:
            await self.order(order_id, correlation_id)
            return True
        return await self.ask(self.orders, f"/orders/{order_id}", correlation_id, lane=Lane.FOLLOW) is not None

    async def _waited_for(
        self, order_id: UUID, service: ReadApi, path: str, correlation_id: str, lane: Lane = Lane.QUERY
    ) -> bytes | None:
        async def ask() -> bytes | None:
            return await self.ask(service, path, correlation_id, lane=lane)

        found = await ask()
        if found is None and not self.ids_hold:
            if self.recent.is_minted_here(order_id):
                raise no_such_order_id(order_id)
            return None  # nothing tells of such an id when it was given
        return found if found is not None else await self.recent.wait_for(order_id, ask)

    async def events(self, order_id: UUID, correlation_id: str) -> list[Envelope]:
        """The saga's events in both event logs, with every event's cause. Raises Problem if a service is away."""
        return (await self._logged(order_id, correlation_id)).all()

    async def logged_of_new(self, order_id: UUID, correlation_id: str) -> Logged:
        """The saga's events as far as they can be read. An order that was accepted a moment ago is waited for."""
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
        # One log was read just before the other one grew. A second reading finds the causes of all these events.
        again = await self._read_logs(order_id, correlation_id)
        return Logged(events=logged.events + again.events, problem=again.problem)

    async def _read_logs(self, order_id: UUID, correlation_id: str) -> Logged:
        events: list[Envelope] = []
        problem: Problem | None = None
        for answer in await asyncio.gather(
            self.ask(self.orders, f"/orders/{order_id}/events", correlation_id, lane=Lane.FOLLOW),
            self.ask(self.payments, f"/payments/order/{order_id}/events", correlation_id, lane=Lane.FOLLOW),
            return_exceptions=True,
        ):
            if isinstance(answer, Problem):
                problem = problem or answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                events += _envelopes(answer)
        return Logged(events=events, problem=problem)


def unknown_order(order_id: UUID) -> Problem:
    return Problem(ProblemType.NOT_FOUND, f"Order {order_id} is not known; check the id, or list orders at /api/orders")


def no_payment_of(order_id: UUID) -> Problem:
    return Problem(ProblemType.NOT_FOUND, f"There is no payment for order {order_id} (yet); check the id, or try again")


def events_removed(order_id: UUID) -> Problem:
    """The problem for an order that is stored but has no logged events: they were removed."""
    return Problem(
        ProblemType.NOT_FOUND,
        f"The events of order {order_id} are kept no longer; the order itself is at /api/orders/{order_id}",
    )


def _envelopes(body: bytes | None) -> list[Envelope]:
    if body is None:
        return []
    found = []
    for raw in msgspec.json.decode(body, type=_EventLogBody).data:
        try:
            found.append(decode(bytes(raw)))
        except MalformedMessage as error:
            # A newer service may log events that this gateway can't read. The others are still true.
            log.warning("event_not_understood", error=str(error))
    return found


class _EventLogBody(msgspec.Struct):
    data: list[msgspec.Raw]
