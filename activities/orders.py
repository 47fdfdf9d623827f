"""The order service's steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from temporalio import activity

from activities.book import Book
from activities.history import History, entry_of
from activities.ledger import Ledger
from activities.steps import Step, StepResult
from models.database import Database
from models.messages import wire_form
from models.order import Order, OrderStatus, decide
from models.saga import (
    Become,
    CancelReason,
    Coordinator,
    CreateOrderRequested,
    Message,
    OrderCancelled,
    OrderCancelRequested,
    PaymentApproved,
    PaymentDeclined,
    PaymentFailed,
)


def _load(row: Sequence[Any]) -> Order:
    order_id, user_id, total, currency, payment_method, coordinator, status, cancel_reason = row
    return Order(
        id=order_id,
        user_id=user_id,
        total=total,
        currency=currency,
        payment_method=payment_method,
        coordinator=Coordinator(coordinator),
        status=OrderStatus(status),
        cancel_reason=None if cancel_reason is None else CancelReason(cancel_reason),
    )


def _dump(order: Order) -> tuple[Any, ...]:
    return (
        order.id,
        order.user_id,
        order.total,
        order.currency,
        order.payment_method,
        order.coordinator,
        order.status,
        order.cancel_reason,
    )


def _tally(order: Order) -> tuple[tuple[str, ...], int]:
    return (order.status,), order.total


ORDERS: Final = Book[Order](
    table="orders",
    key="id",
    columns={
        "id": "uuid",
        "user_id": "uuid",
        "total": "bigint",
        "currency": "text",
        "payment_method": "text",
        "coordinator": "text",
        "status": "text",
        "cancel_reason": "text",
    },
    mutable=("status", "cancel_reason"),
    load=_load,
    dump=_dump,
    decide=decide,
    totals="order_totals",
    totals_by=("status",),
    tally=_tally,
)


_REQUEUE: Final = """
    INSERT INTO outbox (seq, order_id, deferred)
    SELECT seq, order_id, true FROM event_log WHERE order_id = %s AND event_type = %s
    ON CONFLICT (seq) DO UPDATE SET deferred = true
    RETURNING seq
"""


class OrderSteps:
    """The same steps as Temporal activities; each runs through the ledger, in one batch with whatever else arrives.

    A step that is repeated answers with the events of its first time. It raises ApplicationError, not to be retried,
    when its message is illegal or malformed.
    """

    def __init__(self, database: Database, ledger: Ledger[Order]) -> None:
        self._database = database
        self._ledger = ledger
        self._history = History(database, ORDERS)

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
        )

    @activity.defn
    async def create_order(self, step: Step) -> StepResult:
        return await self._apply(step, CreateOrderRequested)

    @activity.defn
    async def pay_order(self, step: Step) -> StepResult:
        return await self._apply(step, PaymentApproved)

    @activity.defn
    async def decline_order(self, step: Step) -> StepResult:
        return await self._apply(step, PaymentDeclined)

    @activity.defn
    async def fail_order(self, step: Step) -> StepResult:
        return await self._apply(step, PaymentFailed)

    @activity.defn
    async def cancel_order(self, step: Step) -> StepResult:
        return await self._apply(step, OrderCancelRequested)

    @activity.defn
    async def republish_cancellation(self, step: Step) -> StepResult:
        """Leave the order's order.cancelled to the relay once more; `decision` is stale if none was ever logged."""
        entry = entry_of(step, OrderCancelled)
        async with self._database.transaction() as connection:
            # Retention removes events under this lock: what is numbered in the outbox stays in the log.
            await connection.execute("SELECT FROM orders WHERE id = %s FOR UPDATE", [entry.message.order_id])
            cursor = await connection.execute(_REQUEUE, [entry.message.order_id, OrderCancelled.__name__])
            await connection.execute("SELECT pg_notify('outbox', '')")
            requeued = await cursor.fetchall()
        if requeued:
            return StepResult(decision="become", why=None, status=OrderStatus.CANCELLED, events=[])
        why = f"Order {entry.message.order_id} has no order.cancelled to publish again"
        return StepResult(decision="stale", why=why, status=None, events=[])

    @activity.defn
    async def read_order_events(self, order_id: str) -> list[dict[str, Any]]:
        """What the order service's event log has of this order, in wire form."""
        return await self._history.events(UUID(order_id))

    async def _apply(self, step: Step, kind: type[Message]) -> StepResult:
        entry = entry_of(step, kind)
        applied = await self._ledger.submit(entry)
        if isinstance(applied.decision, Become) and applied.event is not None:
            status, events = applied.decision.state.status, [wire_form(applied.event)]
            return StepResult(decision="become", why=None, status=status, events=events)
        return await self._history.result(entry, applied.decision)
