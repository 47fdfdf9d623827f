"""Place orders, and wait for the end of their sagas if a client prefers that."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Final
from uuid import UUID

import msgspec

from api.gateway.command_deadline import PLACED, in_time
from api.gateway.commands import Commands, FoundOrder, Placement
from api.gateway.dependencies import EventFeed, Limits
from api.gateway.follow import Follower
from api.gateway.queries import Queries
from api.gateway.schemas import CreateOrder
from api.problems import Problem, unavailable
from choreography.outgoing_message import BrokerUnavailable
from models.lifecycle import OrderStatus
from models.saga import Coordinator, OrderId

_PAUSE: Final = 0.5  # seconds


class Placing:
    """Accepts orders from checked bodies."""

    def __init__(self, *, commands: Commands, queries: Queries, feed: EventFeed, limits: Limits) -> None:
        self._commands = commands
        self._queries = queries
        self._feed = feed
        self._limits = limits

    @property
    def can_be_found(self) -> bool:
        """Whether an order that is placed can be followed, and looked up, by the id that it was accepted with."""
        return self._queries.ids_hold

    async def place(
        self, body: CreateOrder, key: str | None, correlation_id: str, *, asked_by: str | None = None
    ) -> OrderId:
        """Place an order. Returns its id; the order is accepted then. Raises Problem."""
        async with in_time(self._limits.answer) as pending:
            placement = await self._commands.placement(body, key, correlation_id, asked_by=asked_by)
            pending.begin(placement.order_id, may_be=PLACED)
            await self._accept(placement, body, key, correlation_id)
        return placement.order_id

    async def place_and_wait(
        self, body: CreateOrder, key: str | None, correlation_id: str, *, seconds: int, asked_by: str | None = None
    ) -> tuple[OrderId, bytes | None]:
        """Place an order and wait for its saga. Returns its id, and the order as JSON; None if the saga takes longer.

        Raises Problem.
        """
        async with AsyncExitStack() as stack:
            async with in_time(self._limits.answer) as pending:
                placement = await self._commands.placement(body, key, correlation_id, asked_by=asked_by)
                order_id = placement.order_id
                try:
                    # Subscribe before the command, so that no event of a quick saga is missed.
                    live = await stack.enter_async_context(self._feed.subscribe(order_id))
                except BrokerUnavailable as error:
                    if placement.coordinator is Coordinator.CHOREOGRAPHY:
                        raise unavailable("The message broker does not answer; try again") from error
                    live = None  # Temporal alone accepts the order, and its saga needs no broker
                pending.begin(order_id, may_be=PLACED)
                await self._accept(placement, body, key, correlation_id)
            if live is None:
                return order_id, None
            follower = Follower(live, lambda: self._queries.events(order_id, correlation_id))
            if key is None:
                follower.begins_now()
            repeated = key is not None  # it may be a repetition
            order = await self._order_when_over(follower, order_id, seconds, correlation_id, repeated=repeated)
            return order_id, order

    async def _accept(self, placement: Placement, body: CreateOrder, key: str | None, correlation_id: str) -> None:
        await self._commands.create(placement, body, correlation_id)
        self._queries.recent.note_placed(placement.order_id, body.user_id)
        if key is not None:
            self._queries.recent.note_accepted(placement.order_id)

    async def _order_when_over(
        self, follower: Follower, order_id: UUID, seconds: int, correlation_id: str, *, repeated: bool
    ) -> bytes | None:
        try:
            async with asyncio.timeout(seconds):
                over = await self._until_over(follower, order_id, correlation_id, repeated=repeated)
            if isinstance(over, bytes):
                return over
            return await self._queries.order(order_id, correlation_id) if over else None
        except (Problem, TimeoutError):
            return None  # the order is accepted all the same

    async def _until_over(
        self, follower: Follower, order_id: UUID, correlation_id: str, *, repeated: bool
    ) -> bytes | bool:
        """Wait for the end, also while a service is away. Returns the order if it is known; False if none can come."""
        while True:
            try:
                order = await self._order_without_events(follower, order_id, correlation_id) if repeated else None
                return order or await follower.wait_until_over()
            except Problem:  # a service is away, and may come back in time
                await asyncio.sleep(_PAUSE)

    async def _order_without_events(self, follower: Follower, order_id: UUID, correlation_id: str) -> bytes | None:
        """The order that a repeated key stands for, if its saga ended so long ago that its events are removed.

        No event of it can come any more. A new order has no events either, but it is not stored yet, or it is pending.
        Raises Problem if a service is away.
        """
        await follower.read_logs()
        if follower.timeline.entries:
            return None
        found = await self._queries.ask(self._queries.orders, f"/orders/{order_id}", correlation_id)
        if found is None or msgspec.json.decode(found, type=FoundOrder).status == OrderStatus.PENDING_PAYMENT:
            return None
        return found
