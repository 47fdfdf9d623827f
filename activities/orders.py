"""The order service's steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from activities.book import Book
from models.order import Order, OrderStatus, decide
from models.saga import CancelReason, Coordinator


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
    tally=lambda order: (order.status, order.total),
)
