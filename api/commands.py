"""Accept commands: check them, hand them to their coordinator, and promise nothing that isn't confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec

from api.idempotency import digest_of, digests_of
from api.order_ids import OrderIds
from api.ports import Clock, CommandPort, OrchestrationPort, OrchestratorUnavailable, Settings
from api.problems import Kind, Problem, unavailable
from api.queries import Queries, unknown_order
from api.schemas import CreateOrder
from api.service import Lane, ServiceAway
from choreography.message import BrokerUnavailable
from models.ids import is_marked
from models.messages import Envelope, envelope_of
from models.order import OrderStatus
from models.saga import (
    Coordinator,
    CreateOrderRequested,
    OrderCancelRequested,
    OrderId,
    UserId,
    cancel_id,
    create_id,
)

_SCOPE: Final = "public"  # whose Idempotency-Keys these are
_NOT_CANCELLABLE: Final = frozenset({OrderStatus.CANCELLED, OrderStatus.FAILED})


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """What an order is placed as; an Idempotency-Key stands for both, for good."""

    order_id: OrderId
    coordinator: Coordinator


class Commands:
    """The gateway's side of every command."""

    def __init__(
        self,
        *,
        port: CommandPort,
        orchestration: OrchestrationPort,
        queries: Queries,
        ids: OrderIds,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._port = port
        self._orchestration = orchestration
        self._queries = queries
        self._ids = ids
        self._clock = clock
        self._limits = settings.limits
        self._default = settings.default_coordinator

    async def placement(self, body: CreateOrder, key: str | None, correlation_id: str) -> Placement:
        """A new order; with an Idempotency-Key the one that the key stands for, with the coordinator it had at first.

        Raises Problem: the key came with another body before, or the order service, which keeps them, is away.
        """
        # An order that names none was given the default, but maybe another one than today's.
        possible = (body.coordinator,) if body.coordinator else (self._default, *Coordinator)
        # The id tells who coordinates: whoever cancels the order before it is stored has nobody to ask.
        minted = self._ids.mint(self._clock(), orchestrated=possible[0] is Coordinator.ORCHESTRATION)
        if key is None:
            return Placement(order_id=OrderId(minted), coordinator=possible[0])
        wanted = {"scope": _SCOPE, "key": key, "digest": digest_of(body, possible[0]), "orderId": minted}
        try:
            answer = await self._queries.orders.put(
                "/idempotency-keys",
                msgspec.json.encode(wanted),
                correlation_id=correlation_id,
                timeout=self._limits.query,
            )
        except ServiceAway as away:
            raise unavailable(f"{away}, and it keeps the Idempotency-Keys; try again with the same key") from away
        kept = msgspec.json.decode(answer, type=_Kept)
        for coordinator in possible:
            if kept.digest in digests_of(body, coordinator, self._default):
                return Placement(order_id=OrderId(kept.order_id), coordinator=coordinator)
        raise key_taken(kept.order_id)

    async def create(self, placement: Placement, body: CreateOrder, correlation_id: str) -> None:
        """Publish the command, or start the saga, confirmed on return. Raises Problem.

        Once more for the same order changes nothing.
        """
        command = CreateOrderRequested(
            order_id=placement.order_id,
            user_id=UserId(body.user_id),
            total=body.total,
            currency=body.currency,
            payment_method=body.payment_method,
        )
        if placement.coordinator is Coordinator.ORCHESTRATION:
            event_id = _event_id(command)
            await self._confirmed(self._orchestration.start(command, event_id=event_id, correlation_id=correlation_id))
        else:
            await self._publish(command, correlation_id)

    async def cancel(self, order_id: UUID, correlation_id: str) -> None:
        """Tell the order's coordinator, confirmed on return. Raises Problem: unknown order, or one beyond cancelling.

        With the order service away, or the order not stored yet, the command is accepted unseen: that service, or the
        order's workflow, will decide.
        """
        async with in_time(self._limits.answer):
            await self._cancel(order_id, correlation_id)

    async def _cancel(self, order_id: UUID, correlation_id: str) -> None:
        found, answered = None, True
        try:
            found = await self._queries.orders.get(
                f"/orders/{order_id}",
                correlation_id=correlation_id,
                timeout=self._limits.cancel_query,
                lane=Lane.COMMAND,
            )
        except ServiceAway:
            answered = False
        coordinator = _cancellable(order_id, found) if found is not None else None
        if coordinator is None and await self._orchestrates(order_id):
            coordinator = Coordinator.ORCHESTRATION
        if coordinator is Coordinator.ORCHESTRATION:
            await self._confirmed(self._orchestration.cancel(order_id, correlation_id=correlation_id))
        elif answered and found is None and not self._queries.recent.is_new(order_id, seconds=self._limits.unstored):
            raise unknown_order(order_id)
        else:
            await self._publish(OrderCancelRequested(order_id=OrderId(order_id)), correlation_id)

    async def _orchestrates(self, order_id: UUID) -> bool:
        """Whether an order that can't be looked up has an orchestrated saga. Raises Problem if only Temporal knows."""
        if not is_marked(order_id):
            return False
        try:
            async with asyncio.timeout(self._limits.cancel_query):
                return await self._orchestration.orchestrates(order_id)
        except (OrchestratorUnavailable, TimeoutError) as error:
            raise unavailable("Temporal, which may coordinate this order, does not answer; try again") from error

    async def _confirmed(self, request: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._limits.command):
                await request
        except (OrchestratorUnavailable, TimeoutError) as error:
            # As with the broker, it may have arrived or not; trying again is as safe.
            raise unavailable("Temporal did not confirm the request; try again") from error

    async def _publish(self, command: CreateOrderRequested | OrderCancelRequested, correlation_id: str) -> None:
        try:
            async with asyncio.timeout(self._limits.command):
                await self._port.publish(self._envelope(command, correlation_id))
        except (BrokerUnavailable, TimeoutError) as error:
            # Without an answer the command may have arrived or not; with an Idempotency-Key, trying again is safe.
            raise unavailable("The message broker did not confirm the command; try again") from error

    def _envelope(self, command: CreateOrderRequested | OrderCancelRequested, correlation_id: str) -> Envelope:
        return envelope_of(
            command,
            event_id=_event_id(command),
            occurred_at=self._clock(),
            correlation_id=correlation_id,
        )


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """Raise Problem when a command takes longer, all that is asked for it together."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise unavailable(f"The command was not confirmed within {seconds:g} s; try again") from error


def _cancellable(order_id: UUID, found: bytes) -> Coordinator:
    """Who coordinates the order. Raises Problem if it is at its end."""
    order = msgspec.json.decode(found, type=FoundOrder)
    if order.status in _NOT_CANCELLABLE:
        raise beyond_cancelling(order_id, order.status)
    return order.coordinator


def key_taken(order_id: UUID) -> Problem:
    detail = f"This Idempotency-Key came with another body before, for order {order_id}; use a new key"
    return Problem(Kind.CONFLICT, detail)


def beyond_cancelling(order_id: UUID, status: str) -> Problem:
    return Problem(Kind.CONFLICT, f"Order {order_id} is {status}; it cannot be cancelled any more")


class _Kept(msgspec.Struct, rename="camel"):
    order_id: UUID
    digest: str


class FoundOrder(msgspec.Struct):
    """What a command needs to know of an order that the order service has found."""

    status: str
    coordinator: Coordinator = Coordinator.CHOREOGRAPHY  # an original order service names none


def _event_id(command: CreateOrderRequested | OrderCancelRequested) -> UUID:
    if isinstance(command, OrderCancelRequested):
        return cancel_id(command.order_id, command.reason)
    return create_id(command.order_id)
