"""Decide what an order becomes on a message: pure and total, without clock, I/O or randomness."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias, assert_never

from models.lifecycle import OrderStatus, cancellable
from models.saga import (
    Become,
    CancelReason,
    Coordinator,
    CreateOrderRequested,
    Decision,
    Illegal,
    OrderCancelled,
    OrderCancelRequested,
    OrderCreated,
    OrderFailed,
    OrderId,
    OrderPaid,
    PaymentApproved,
    PaymentDeclined,
    PaymentFailed,
    Stale,
    TooEarly,
    UserId,
)

OrderMessage: TypeAlias = (
    CreateOrderRequested | OrderCancelRequested | PaymentApproved | PaymentDeclined | PaymentFailed
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """An order as its service knows it; `total` is in minor units of `currency`."""

    id: OrderId
    user_id: UserId
    total: int
    currency: str
    payment_method: str | None
    coordinator: Coordinator
    status: OrderStatus
    cancel_reason: CancelReason | None = None


def decide(
    order: Order | None, message: OrderMessage, coordinator: Coordinator = Coordinator.CHOREOGRAPHY
) -> Decision[Order]:
    """Decide what the order becomes on this message; None: it is not known. `coordinator` sent the message."""
    if order is None:
        return _decide_unknown(message, coordinator)
    if (
        isinstance(message, PaymentApproved | PaymentDeclined | PaymentFailed)
        and order.coordinator is Coordinator.ORCHESTRATION
        and coordinator is not order.coordinator
    ):
        return Stale(why=f"Order {order.id} is orchestrated, so its workflow alone tells what became of its payment")
    match message:
        case CreateOrderRequested():
            return _decide_again(order, message)
        case PaymentApproved():
            if order.status is OrderStatus.PENDING_PAYMENT:
                return Become(state=replace(order, status=OrderStatus.PAID), emit=OrderPaid(order_id=order.id))
            return _stale(order, OrderStatus.PAID)
        case PaymentDeclined():
            if cancellable(order.status, CancelReason.PAYMENT_DECLINED):
                return _cancel(order, CancelReason.PAYMENT_DECLINED)
            return _stale(order, OrderStatus.CANCELLED)
        case PaymentFailed(error=error):
            if order.status is OrderStatus.PENDING_PAYMENT:
                emit = OrderFailed(order_id=order.id, reason=error)
                return Become(state=replace(order, status=OrderStatus.FAILED), emit=emit)
            return _stale(order, OrderStatus.FAILED)
        case OrderCancelRequested(reason=reason):
            if cancellable(order.status, reason):
                return _cancel(order, reason)
            return _stale(order, OrderStatus.CANCELLED)
        case _ as never:
            assert_never(never)


def _decide_unknown(message: OrderMessage, coordinator: Coordinator) -> Decision[Order]:
    if not isinstance(message, CreateOrderRequested):
        return TooEarly(why=f"Order {message.order_id} is not known yet")
    order = Order(
        id=message.order_id,
        user_id=message.user_id,
        total=message.total,
        currency=message.currency,
        payment_method=message.payment_method,
        coordinator=coordinator,
        status=OrderStatus.PENDING_PAYMENT,
    )
    emit = OrderCreated(
        order_id=order.id,
        user_id=order.user_id,
        total=order.total,
        currency=order.currency,
        payment_method=order.payment_method,
    )
    return Become(state=order, emit=emit)


def _decide_again(order: Order, message: CreateOrderRequested) -> Decision[Order]:
    same = (message.user_id, message.total, message.currency) == (order.user_id, order.total, order.currency)
    if same:
        return Stale(why=f"Order {order.id} exists already")
    return Illegal(why=f"Order {order.id} exists already with another user or total; an order id is never used twice")


def _cancel(order: Order, reason: CancelReason) -> Become[Order]:
    return Become(
        state=replace(order, status=OrderStatus.CANCELLED, cancel_reason=reason),
        emit=OrderCancelled(order_id=order.id, reason=reason, total=order.total, currency=order.currency),
    )


def _stale(order: Order, wanted: OrderStatus) -> Stale:
    return Stale(why=f"Order {order.id} is {order.status}; it cannot become {wanted}")
