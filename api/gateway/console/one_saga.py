"""Tell all there is to know of one saga: how it stands, what it waits for, its workflow, and what it has cost."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, assert_never
from uuid import UUID

import msgspec

from api.gateway.dependencies import Limits, TimelineSource
from api.gateway.downstream import Lane, ReadApi
from api.gateway.queries import Queries
from api.gateway.timelines import Timelines
from api.problems import Problem, ProblemType
from models.lifecycle import Due, OrderStatus, PaymentStatus, over
from models.message_types import CommandType
from models.saga import CancelReason, Coordinator
from workflows.temporal_errors import TemporalUnavailable
from workflows.timeline_queries import WorkflowFacts

_SERVICES: Final = {"order-service": "order", "payment-service": "payment"}  # by a timeline's actors


class _Costs(msgspec.Struct):
    transactions: int | None
    rows: int
    unpublished: list[UUID]
    attempts: dict[UUID, int] = {}
    due: Due | None = None


class OneSaga:
    """Asks the services and Temporal at once. What one of them does not answer is null, and the rest is told.

    `away` names the services that did not answer: "order", "payment".
    """

    def __init__(
        self,
        *,
        queries: Queries,
        timelines: Timelines,
        workflows: TimelineSource,
        temporal_ui: str | None,
        limits: Limits,
    ) -> None:
        self._queries = queries
        self._timelines = timelines
        self._workflows = workflows
        self._temporal_ui = temporal_ui
        self._limits = limits

    async def read(self, order_id: UUID, correlation_id: str) -> dict[str, Any]:
        """The saga in wire form. An order that was accepted a moment ago is waited for. Raises Problem if unknown."""
        order = await self._order(order_id, correlation_id)
        away: set[str] = set()
        payment, (timeline, workflow), order_costs, payment_costs = await asyncio.gather(
            self._ask("payment", f"/payments/order/{order_id}", correlation_id, away),
            self._story(order_id, correlation_id),
            self._costs("order", f"/orders/{order_id}/costs", correlation_id, away),
            self._costs("payment", f"/payments/order/{order_id}/costs", correlation_id, away),
        )
        costs = (order_costs, payment_costs)
        unpublished = {str(event_id) for each in costs if each for event_id in each.unpublished}
        attempts = {str(event_id): number for each in costs if each for event_id, number in each.attempts.items()}
        return {
            "order": order,
            "payment": payment,
            "events": [_event(entry, unpublished, attempts, known=all(costs)) for entry in timeline.get("entries", ())],
            "waitsFor": _waits_for(order, payment, payment_costs, workflow, away),
            "away": sorted(away),
            "workflow": self._as_json(workflow) if workflow else None,
            "cost": {
                "durationMs": max((entry["elapsedMs"] for entry in timeline.get("entries", ())), default=None),
                "messages": messages(timeline, order),
                "rows": {
                    "orders": order_costs.rows if order_costs else None,
                    "payments": payment_costs.rows if payment_costs else None,
                },
                "transactions": _sum([each.transactions if each else None for each in costs]),
                "historyEvents": _history(timeline, workflow),
            },
        }

    async def _order(self, order_id: UUID, correlation_id: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = msgspec.json.decode(await self._queries.order(order_id, correlation_id))
        except Problem as problem:
            if problem.kind is not ProblemType.UNAVAILABLE:
                raise
            return None
        return found

    async def _story(self, order_id: UUID, correlation_id: str) -> tuple[dict[str, Any], WorkflowFacts | None]:
        """The timeline, and then the workflow: what is told of its runs is no older than the timeline."""
        timeline = await self._timeline(order_id, correlation_id)
        return timeline, await self._workflow(order_id)

    async def _timeline(self, order_id: UUID, correlation_id: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = msgspec.json.decode(await self._timelines.read(order_id, correlation_id))
        except Problem:  # a service is away, or the events were removed
            return {}
        return found

    async def _ask(self, service: str, path: str, correlation_id: str, away: set[str]) -> dict[str, Any] | None:
        asked: ReadApi = self._queries.orders if service == "order" else self._queries.payments
        try:
            body = await self._queries.ask(asked, path, correlation_id, lane=Lane.FOLLOW)
        except Problem:
            away.add(service)
            return None
        return msgspec.json.decode(body) if body is not None else None

    async def _costs(self, service: str, path: str, correlation_id: str, away: set[str]) -> _Costs | None:
        found = await self._ask(service, path, correlation_id, away)
        return msgspec.convert(found, _Costs) if found is not None else None

    async def _workflow(self, order_id: UUID) -> WorkflowFacts | None:
        try:
            async with asyncio.timeout(2 * self._limits.workflow):
                return await self._workflows.facts(order_id)
        except (TemporalUnavailable, TimeoutError):
            return None

    def _as_json(self, workflow: WorkflowFacts) -> dict[str, Any]:
        page = f"namespaces/{workflow.namespace}/workflows/{workflow.id}/{workflow.run_id}/history"
        return {
            "id": workflow.id,
            "runId": workflow.run_id,
            "type": workflow.type,
            "status": workflow.status,
            "historyEvents": workflow.history_events,
            "url": f"{self._temporal_ui.rstrip('/')}/{page}" if self._temporal_ui else None,
        }


def _history(timeline: Mapping[str, Any], workflow: WorkflowFacts | None) -> int | None:
    """The events of all runs, if the workflow knows every logged event. Else a further run may be about to begin."""
    return workflow.history_of_all_runs if workflow and timeline.get("source") == "workflow" else None


def messages(timeline: Mapping[str, Any], order: Mapping[str, Any] | None) -> int | None:
    """How many messages made the saga: its events, and the commands that they answer. Repetitions do not count.

    A coordinator in Temporal sends no commands; nor does a mirror, whose timer cancels the order by a transaction.
    """
    entries: Sequence[Mapping[str, Any]] = timeline.get("entries", ())
    if not entries:
        return None
    if timeline["coordinator"] != Coordinator.CHOREOGRAPHY:
        return len(entries)
    commands = {
        entry["cause"]["causationId"]: entry["cause"]["name"]
        for entry in entries
        if entry["cause"]["name"] in set(CommandType)
    }
    timed_out = order is not None and order["cancelReason"] == CancelReason.PAYMENT_TIMEOUT
    sent = [name for name in commands.values() if not (timed_out and name == CommandType.ORDER_CANCEL_REQUESTED)]
    return len(entries) + len(sent)


def waits_for(order: OrderStatus, payment: PaymentStatus | None, due: Due | None) -> str | None:
    """What a saga waits for whose order and payment stand so; None: for nothing."""
    if due is not None:
        return f"the provider's answer to the {due}"
    if over(order, payment):
        return None
    match order:
        case OrderStatus.PENDING_PAYMENT if payment is None:
            return "the payment service, which has not taken up the order yet"
        case OrderStatus.PENDING_PAYMENT | OrderStatus.PAID:
            return "the order service, which has not heard of the payment yet"
        case OrderStatus.CANCELLED | OrderStatus.FAILED:
            return "the payment service, which has not heard yet that the order is off"
        case _ as never:
            assert_never(never)


def _waits_for(
    order: Mapping[str, Any] | None,
    payment: Mapping[str, Any] | None,
    costs: _Costs | None,
    workflow: WorkflowFacts | None,
    away: Collection[str],
) -> str | None:
    """The workflow says until when it waits, too, so its word counts while the saga is not over.

    Nothing is derived from a service that did not answer: then the workflow's word alone counts.
    """
    if order is None or "payment" in away:
        return workflow.waiting_for if workflow else None
    status = PaymentStatus(payment["status"]) if payment else None
    derived = waits_for(OrderStatus(order["status"]), status, costs.due if costs else None)
    return (workflow.waiting_for if workflow and derived else None) or derived


def _event(
    entry: Mapping[str, Any], unpublished: set[str], attempts: Mapping[str, int], *, known: bool
) -> dict[str, Any]:
    """An entry of the timeline. `attempt`: at which its message was handled; null: at the first, or nobody knows."""
    return {
        **entry,
        "service": _SERVICES[entry["actor"]],
        "published": entry["eventId"] not in unpublished if known else None,
        "attempt": attempts.get(entry["eventId"]),
    }


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
