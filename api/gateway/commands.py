"""Accept commands: check them, hand them to their coordinator, and answer only when that is confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, assert_never
from uuid import UUID

import msgspec
import structlog

from api.gateway.command_deadline import CANCELLED, PLACED, in_time
from api.gateway.dependencies import (
    Clock,
    CommandSender,
    GatewaySettings,
    SagaStarter,
)
from api.gateway.downstream import Lane, ServiceAway
from api.gateway.idempotency import digest_of, digests_of, key_taken
from api.gateway.order_ids import OrderIds
from api.gateway.original_services import check_kept, no_such_order_id, orchestration_needs_ours
from api.gateway.overload import Overload
from api.gateway.queries import Queries, unknown_order
from api.gateway.schemas import CreateOrder
from api.problems import Problem, ProblemType, not_taken, unavailable, undecided
from choreography.outgoing_message import BrokerUnavailable, NotStored, Unroutable
from models.ids import is_marked
from models.lifecycle import BEYOND_CANCELLING
from models.messages import Envelope, envelope_of
from models.saga import (
    Command,
    Coordinator,
    CreateOrderRequested,
    OrderCancelRequested,
    OrderId,
    UserId,
    cancel_id,
    create_id,
)
from workflows.temporal_errors import RequestNotTaken, TemporalUnavailable

log = structlog.get_logger()

_SCOPE: Final = "public"  # whose Idempotency-Keys these are while there are no API keys …
_SCOPE_OF_KEY: Final = "key:"  # … and before the name of one
_NEVER_RAN: Final = 5  # seconds after which a service that is being started may have its queue


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """The id and the coordinator of an order to place. An Idempotency-Key stands for both, for good."""

    order_id: OrderId
    coordinator: Coordinator


class Commands:
    """Accepts the commands of clients."""

    def __init__(
        self,
        *,
        sender: CommandSender,
        orchestration: SagaStarter,
        queries: Queries,
        overload: Overload,
        ids: OrderIds,
        clock: Clock,
        settings: GatewaySettings,
    ) -> None:
        self._sender = sender
        self._orchestration = orchestration
        self._queries = queries
        self._overload = overload
        self._ids = ids
        self._clock = clock
        self._limits = settings.limits
        self._default = settings.default_coordinator

    async def placement(
        self, body: CreateOrder, key: str | None, correlation_id: str, *, asked_by: str | None = None
    ) -> Placement:
        """The placement of a new order; or, with an Idempotency-Key, of the order that the key stands for.

        Each API key, whose name is `asked_by`, has its own Idempotency-Keys. Raises Problem if the Idempotency-Key came
        with another body before, if the order service, which keeps these keys, is away, or if too many orders wait.
        """
        # An order that named no coordinator got the default of its time, which may not be today's.
        possible = (body.coordinator,) if body.coordinator else (self._default, *Coordinator)
        self._check_possible(possible[0])
        self._overload.check(possible[0])
        check_kept(body.currency, body.payment_method, self._queries.originals)
        # The id tells who coordinates, because a cancellation may come before the order is stored.
        minted = self._ids.mint(self._clock(), orchestrated=possible[0] is Coordinator.ORCHESTRATION)
        if key is None:
            return Placement(order_id=OrderId(minted), coordinator=possible[0])
        scope = _SCOPE if asked_by is None else _SCOPE_OF_KEY + asked_by
        wanted = {"scope": scope, "key": key, "digest": digest_of(body, possible[0]), "orderId": minted}
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
        """Publish the command, or start the saga; on return this is confirmed. Raises Problem.

        Repeating this for the same order changes nothing.
        """
        self._check_possible(placement.coordinator)
        command = CreateOrderRequested(
            order_id=placement.order_id,
            user_id=UserId(body.user_id),
            total=body.total,
            currency=body.currency,
            payment_method=body.payment_method,
        )
        if placement.coordinator is Coordinator.ORCHESTRATION:
            started = self._orchestration.start(command, event_id=_event_id(command), correlation_id=correlation_id)
            await self._confirmed(started, "Temporal", placement.order_id, may_be=PLACED)
        else:
            await self._publish(command, correlation_id, may_be=PLACED)
        log.info("order_accepted", order_id=str(placement.order_id), coordinator=placement.coordinator)

    async def cancel(self, order_id: UUID, correlation_id: str) -> None:
        """Send the cancellation to the order's coordinator; on return this is confirmed.

        If the order service is away, or the order is not stored yet, the command is accepted without a check: the
        service or the order's workflow decides later. Raises Problem if the order is unknown or can't be cancelled.
        """
        async with in_time(self._limits.answer) as pending:
            pending.begin(order_id, may_be=CANCELLED)
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
        if found is None and not self._queries.ids_hold and self._queries.recent.is_minted_here(order_id):
            if answered:
                raise no_such_order_id(order_id)
            raise unavailable("The order service does not answer, and it alone knows whether it has this order")
        recent = self._queries.recent
        # In an id that no gateway of ours has minted, the mark means nothing.
        may_be_marked = coordinator is None and (not answered or recent.is_minted_here(order_id))
        if may_be_marked and await self._orchestrates(order_id):
            coordinator = Coordinator.ORCHESTRATION
        if coordinator is Coordinator.ORCHESTRATION:
            self._check_possible(coordinator)
            told = self._orchestration.cancel(order_id, correlation_id=correlation_id)
            await self._confirmed(told, "Temporal", order_id, may_be=CANCELLED)
        elif answered and found is None and not recent.is_accepted(order_id):
            raise unknown_order(order_id)
        else:
            await self._publish(OrderCancelRequested(order_id=OrderId(order_id)), correlation_id, may_be=CANCELLED)
        log.info("cancellation_accepted", order_id=str(order_id))

    def _check_possible(self, coordinator: Coordinator) -> None:
        """Raises Problem for an orchestrated saga beside an original service, which would take none of its steps."""
        if coordinator is Coordinator.ORCHESTRATION and self._queries.originals:
            raise orchestration_needs_ours(self._queries.originals)

    async def _orchestrates(self, order_id: UUID) -> bool:
        """Whether an order that can't be looked up has an orchestrated saga. Raises Problem if Temporal must tell."""
        if not is_marked(order_id):
            return False
        try:
            async with asyncio.timeout(self._limits.cancel_query):
                return await self._orchestration.orchestrates(order_id)
        except (TemporalUnavailable, TimeoutError) as error:
            raise unavailable("Temporal, which may coordinate this order, does not answer; try again") from error

    async def _publish(self, command: Command, correlation_id: str, *, may_be: str) -> None:
        published = self._sender.publish(self._envelope(command, correlation_id))
        await self._confirmed(published, "The message broker", command.order_id, may_be=may_be)

    async def _confirmed(self, request: Awaitable[None], by: str, order_id: UUID, *, may_be: str) -> None:
        """Wait for a confirmation. Raises Problem, which says whether the request may have an effect all the same."""
        try:
            async with asyncio.timeout(self._limits.command):
                await request
        except Unroutable as error:
            detail = "The order service has never run at this broker, so that nothing would keep the command"
            raise unavailable(f"{detail}; start it, then try again", retry_after=_NEVER_RAN) from error
        except (NotStored, RequestNotTaken) as error:
            raise not_taken(by) from error
        except (BrokerUnavailable, TemporalUnavailable, TimeoutError) as error:
            raise undecided(by, order_id, may_be=may_be, within=self._limits.command) from error

    def _envelope(self, command: Command, correlation_id: str) -> Envelope:
        return envelope_of(
            command,
            event_id=_event_id(command),
            occurred_at=self._clock(),
            correlation_id=correlation_id,
        )


def _cancellable(order_id: UUID, found: bytes) -> Coordinator:
    """The order's coordinator. Raises Problem if the order can't be cancelled any more."""
    order = msgspec.json.decode(found, type=FoundOrder)
    if order.status in BEYOND_CANCELLING:
        raise beyond_cancelling(order_id, order.status)
    return order.coordinator


def beyond_cancelling(order_id: UUID, status: str) -> Problem:
    return Problem(ProblemType.CONFLICT, f"Order {order_id} is {status}; it cannot be cancelled any more")


class _Kept(msgspec.Struct, rename="camel"):
    order_id: UUID
    digest: str


class FoundOrder(msgspec.Struct):
    """The fields of a found order that a command needs."""

    status: str
    coordinator: Coordinator = Coordinator.CHOREOGRAPHY  # an original order service names none


def _event_id(command: Command) -> UUID:
    match command:
        case CreateOrderRequested():
            return create_id(command.order_id)
        case OrderCancelRequested():
            return cancel_id(command.order_id, command.reason)
        case _ as never:
            assert_never(never)
