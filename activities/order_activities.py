"""The Temporal activities of the order service: its transactions, and read-only searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from temporalio import activity

from activities.activity_protocol import accepted, submission_of
from activities.history import History
from activities.order_stragglers import OrderStragglers
from activities.orders import ORDERS, Orders
from activities.steps import StepInput, StepResult
from activities.stragglers import Place, Search
from models.database import Database
from models.lifecycle import OrderStatus
from models.messages import wire_form
from models.saga import (
    Become,
    CreateOrderRequested,
    Message,
    OrderCancelled,
    OrderCancelRequested,
    PaymentApproved,
    PaymentDeclined,
    PaymentFailed,
)


class OrderActivities:
    """The activities that Temporal can run in the order service.

    A repeated step returns the events of its first run. A step raises ApplicationError, which is not retried, if its
    message is illegal or malformed.
    """

    def __init__(self, database: Database, orders: Orders) -> None:
        self._orders = orders
        self._history = History(database, ORDERS)
        self._stragglers = OrderStragglers(database)

    @property
    def all(self) -> Sequence[Callable[..., Any]]:
        return (
            self.create_order,
            self.pay_order,
            self.decline_order,
            self.fail_order,
            self.cancel_order,
            self.republish_cancellation,
            self.read_order_events,
            self.find_overdue_orders,
            self.find_cancelled_orders,
            self.find_not_off,
        )

    @activity.defn
    async def create_order(self, step: StepInput) -> StepResult:
        return await self._apply(step, CreateOrderRequested)

    @activity.defn
    async def pay_order(self, step: StepInput) -> StepResult:
        return await self._apply(step, PaymentApproved)

    @activity.defn
    async def decline_order(self, step: StepInput) -> StepResult:
        return await self._apply(step, PaymentDeclined)

    @activity.defn
    async def fail_order(self, step: StepInput) -> StepResult:
        return await self._apply(step, PaymentFailed)

    @activity.defn
    async def cancel_order(self, step: StepInput) -> StepResult:
        return await self._apply(step, OrderCancelRequested)

    @activity.defn
    async def republish_cancellation(self, step: StepInput) -> StepResult:
        """Have the relay publish the order's order.cancelled again. `decision` is stale if none was ever logged."""
        submission = submission_of(step, OrderCancelled)
        if await self._orders.republish_cancellation(submission.message.order_id):
            return StepResult(decision="become", why=None, status=OrderStatus.CANCELLED, events=[])
        why = f"Order {submission.message.order_id} has no order.cancelled to publish again"
        return StepResult(decision="stale", why=why, status=None, events=[])

    @activity.defn
    async def read_order_events(self, order_id: str) -> list[dict[str, Any]]:
        """The events of this order in the order service's event log, in wire form."""
        return await self._history.events(UUID(order_id))

    @activity.defn
    async def find_overdue_orders(self, search: Search) -> list[Place]:
        return await self._stragglers.overdue(search)

    @activity.defn
    async def find_cancelled_orders(self, search: Search) -> list[Place]:
        return await self._stragglers.off(search)

    @activity.defn
    async def find_not_off(self, order_ids: list[str]) -> list[str]:
        return await self._stragglers.not_off(order_ids)

    async def _apply(self, step: StepInput, kind: type[Message]) -> StepResult:
        submission = submission_of(step, kind)
        applied = await self._orders.apply(submission)
        if isinstance(applied.decision, Become) and applied.event is not None:
            status, events = applied.decision.state.status, [wire_form(applied.event)]
            return StepResult(decision="become", why=None, status=status, events=events)
        return await self._history.result(submission, accepted(applied.decision))
