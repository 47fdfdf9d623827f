"""Reconstruct the removed events of an order or a payment from its row; pure."""

from __future__ import annotations

from datetime import datetime
from typing import assert_never
from uuid import UUID

from models.lifecycle import OrderStatus, PaymentStatus
from models.messages import Envelope, envelope_of
from models.order import Order
from models.payment import Payment
from models.saga import (
    CancelReason,
    Event,
    OrderCancelled,
    OrderCreated,
    OrderFailed,
    OrderPaid,
    PaymentApproved,
    PaymentCancelled,
    PaymentDeclined,
    PaymentFailed,
    PaymentRefunded,
    cancel_id,
    create_id,
    event_id,
)


def reconstruct(state: Order | Payment, *, created_at: datetime, updated_at: datetime) -> list[Envelope]:
    """The event with which the order began, and the one that gave it, or its payment, its present status.

    The ids are derived again. They are the original ones unless a service other than ours sent the command. The
    correlation id is lost, and so is the reason why an order failed. The last event's time is that of the row's last
    change.
    """
    match state:
        case Order():
            began = _event(state, _created(state), create_id(state.id), created_at)
            cause, event = _order_event(state)
            return [began] if event is None else [began, _event(state, event, cause, updated_at)]
        case Payment():
            payment_cause, payment_event = _payment_event(state)
            return [] if payment_event is None else [_event(state, payment_event, payment_cause, updated_at)]
        case _ as never:
            assert_never(never)


def _order_event(order: Order) -> tuple[UUID, Event | None]:
    """The id of the message that caused the order's last event, and the event."""
    created = _created_id(order.id)
    match order.status:
        case OrderStatus.PENDING_PAYMENT:
            return created, None
        case OrderStatus.PAID:
            return event_id(order.id, PaymentApproved, created), OrderPaid(order_id=order.id)
        case OrderStatus.FAILED:
            return event_id(order.id, PaymentFailed, created), OrderFailed(order_id=order.id)
        case OrderStatus.CANCELLED:
            reason = order.cancel_reason or CancelReason.USER_REQUESTED
            cancelled = OrderCancelled(order_id=order.id, reason=reason, total=order.total, currency=order.currency)
            if reason is CancelReason.PAYMENT_DECLINED:
                return event_id(order.id, PaymentDeclined, created), cancelled
            return cancel_id(order.id, reason), cancelled
        case _ as never:
            assert_never(never)


def _payment_event(payment: Payment) -> tuple[UUID, Event | None]:
    """The id of the message that caused the payment's last event, and the event."""
    order_id, reason = payment.order_id, payment.reason or ""
    created = _created_id(order_id)
    cancelled = event_id(order_id, OrderCancelled, cancel_id(order_id, reason))
    match payment.status:
        case PaymentStatus.PROCESSING:
            return created, None
        case PaymentStatus.APPROVED:
            return created, PaymentApproved(order_id=order_id, transaction_id=payment.transaction_id or "")
        case PaymentStatus.DECLINED:
            return created, PaymentDeclined(order_id=order_id, reason=reason)
        case PaymentStatus.FAILED:
            return created, PaymentFailed(order_id=order_id, error=reason)
        case PaymentStatus.CANCELLED:
            return cancelled, PaymentCancelled(order_id=order_id)
        case PaymentStatus.REFUNDED:
            return cancelled, PaymentRefunded(order_id=order_id, transaction_id=payment.transaction_id)
        case _ as never:
            assert_never(never)


def _created(order: Order) -> OrderCreated:
    return OrderCreated(
        order_id=order.id,
        user_id=order.user_id,
        total=order.total,
        currency=order.currency,
        payment_method=order.payment_method,
    )


def _created_id(order_id: UUID) -> UUID:
    return event_id(order_id, OrderCreated, create_id(order_id))


def _event(state: Order | Payment, event: Event, cause: UUID, at: datetime) -> Envelope:
    order_id = event.order_id
    return envelope_of(
        event,
        event_id=event_id(order_id, type(event), cause),
        occurred_at=at,
        correlation_id=str(order_id),
        causation_id=cause,
        coordinator=state.coordinator,
    )
