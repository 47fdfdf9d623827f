"""Decide what a payment becomes on a message, and what is then due at the provider: pure, as orders are decided."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias, assert_never

from models.lifecycle import Due, PaymentStatus
from models.outcome import Charged, Declined, Outcome, Refunded, Refused, Unanswered, Voided
from models.saga import (
    Become,
    Coordinator,
    Decision,
    Event,
    Illegal,
    OrderCancelled,
    OrderCreated,
    OrderFailed,
    OrderId,
    PaymentApproved,
    PaymentCancelled,
    PaymentDeclined,
    PaymentFailed,
    PaymentId,
    PaymentRefunded,
    Stale,
    TooEarly,
    derived_id,
)

PaymentMessage: TypeAlias = OrderCreated | OrderCancelled | OrderFailed | Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Payment:
    """A payment as its service knows it; `amount` is in minor units of `currency`.

    A tombstone is the payment of an order whose cancellation arrived before its order.created. Its amount is 0 if the
    cancellation did not name one.
    """

    id: PaymentId
    order_id: OrderId
    amount: int
    currency: str
    payment_method: str | None
    coordinator: Coordinator
    status: PaymentStatus
    due: Due | None = None
    transaction_id: str | None = None
    reason: str | None = None


def payment_id(order_id: OrderId) -> PaymentId:
    """The id of an order's one payment. It is also the key under which the provider is asked."""
    return PaymentId(derived_id(order_id, "payment"))


def decide(
    payment: Payment | None, message: PaymentMessage, coordinator: Coordinator = Coordinator.CHOREOGRAPHY
) -> Decision[Payment]:
    """Decide what an order's payment becomes on this message; None: it is not known. `coordinator` sent the message."""
    if payment is None:
        return _decide_unknown(message, coordinator)
    match message:
        case OrderCreated():
            return _decide_created(payment, message)
        case OrderCancelled() | OrderFailed():
            return _decide_off(payment, message)
        case Charged(transaction_id=transaction_id):
            return _decide_charged(payment, transaction_id)
        case Declined(reason=reason):
            emit = PaymentDeclined(order_id=payment.order_id, reason=reason)
            return _decide_not_charged(payment, PaymentStatus.DECLINED, reason, emit)
        case Refused(error=error):
            emit_failed = PaymentFailed(order_id=payment.order_id, error=error)
            return _decide_not_charged(payment, PaymentStatus.FAILED, error, emit_failed)
        case Unanswered(error=error):
            if payment.due is Due.CHARGE:
                return Become(state=replace(payment, due=Due.VOID, reason=error))
            return _stale(payment, message)
        case Voided():
            return _decide_voided(payment)
        case Refunded():
            return _decide_refunded(payment)
        case _ as never:
            assert_never(never)


def _decide_unknown(message: PaymentMessage, coordinator: Coordinator) -> Decision[Payment]:
    order_id = message.order_id
    match message:
        case OrderCreated():
            return Become(
                state=Payment(
                    id=payment_id(order_id),
                    order_id=order_id,
                    amount=message.total,
                    currency=message.currency,
                    payment_method=message.payment_method,
                    coordinator=coordinator,
                    status=PaymentStatus.PROCESSING,
                    due=Due.CHARGE,
                )
            )
        case OrderCancelled(reason=reason) | OrderFailed(reason=reason):
            # The order's end overtook its order.created. The tombstone prevents any charge.
            told = message if isinstance(message, OrderCancelled) else None
            tombstone = Payment(
                id=payment_id(order_id),
                order_id=order_id,
                amount=(told and told.total) or 0,
                currency=(told and told.currency) or "USD",
                payment_method=None,
                coordinator=coordinator,
                status=PaymentStatus.CANCELLED,
                reason=reason,
            )
            return Become(state=tombstone, emit=PaymentCancelled(order_id=order_id))
        case _:
            return TooEarly(why=f"The payment of order {order_id} is not known yet")


def _decide_created(payment: Payment, message: OrderCreated) -> Decision[Payment]:
    same = (payment.amount, payment.currency) == (message.total, message.currency)
    if payment.status is not PaymentStatus.CANCELLED and not same:
        return Illegal(
            why=f"The payment of order {payment.order_id} is for {payment.amount} {payment.currency}; "
            f"an order.created for {message.total} {message.currency} contradicts it"
        )
    return _resume(payment, message)


def _decide_off(payment: Payment, message: OrderCancelled | OrderFailed) -> Decision[Payment]:
    """Void or refund: no order that is off keeps money, also if a message from elsewhere made the order fail."""
    match payment.status:
        case PaymentStatus.PROCESSING:
            # The charge may be under way. The void decides whether it captures money.
            return Become(
                state=replace(payment, status=PaymentStatus.CANCELLED, due=Due.VOID, reason=message.reason),
                emit=PaymentCancelled(order_id=payment.order_id),
            )
        case PaymentStatus.APPROVED if payment.due is None:
            return Become(state=replace(payment, due=Due.REFUND, reason=message.reason))
        case _:
            return _resume(payment, message)


def _decide_charged(payment: Payment, transaction_id: str) -> Decision[Payment]:
    match payment.status:
        case PaymentStatus.PROCESSING:
            return Become(
                state=replace(
                    payment, status=PaymentStatus.APPROVED, due=None, transaction_id=transaction_id, reason=None
                ),
                emit=PaymentApproved(order_id=payment.order_id, transaction_id=transaction_id),
            )
        case PaymentStatus.CANCELLED if payment.due is not Due.REFUND:
            # The charge was already under way when the order was cancelled.
            return Become(state=replace(payment, due=Due.REFUND, transaction_id=transaction_id))
        case PaymentStatus.DECLINED | PaymentStatus.FAILED:
            return Illegal(
                why=f"Payment {payment.id} is {payment.status}, yet the provider says it was captured "
                f"as {transaction_id}; look it up in the provider's books and refund it there"
            )
        case _:
            return _stale(payment, Charged)


def _decide_not_charged(payment: Payment, status: PaymentStatus, reason: str, emit: Event) -> Decision[Payment]:
    match payment.status:
        case PaymentStatus.PROCESSING:
            return Become(state=replace(payment, status=status, due=None, reason=reason), emit=emit)
        case PaymentStatus.CANCELLED if payment.due is Due.VOID:
            return Become(state=replace(payment, due=None))  # nothing was captured, so nothing is left to void
        case PaymentStatus.APPROVED | PaymentStatus.REFUNDED:
            return Illegal(why=f"Payment {payment.id} is {payment.status}; it cannot become {status}")
        case _:
            return Stale(why=f"Payment {payment.id} is {payment.status}; it cannot become {status}")


def _decide_voided(payment: Payment) -> Decision[Payment]:
    if payment.due is not Due.VOID:
        return _stale(payment, Voided)
    if payment.status is PaymentStatus.CANCELLED:
        return Become(state=replace(payment, due=None))
    error = payment.reason or "The provider gave no answer"
    return Become(
        state=replace(payment, status=PaymentStatus.FAILED, due=None, reason=error),
        emit=PaymentFailed(order_id=payment.order_id, error=error),
    )


def _decide_refunded(payment: Payment) -> Decision[Payment]:
    if payment.due is not Due.REFUND or payment.transaction_id is None:
        return _stale(payment, Refunded)
    return Become(
        state=replace(payment, status=PaymentStatus.REFUNDED, due=None),
        emit=PaymentRefunded(order_id=payment.order_id, transaction_id=payment.transaction_id),
    )


def _resume(payment: Payment, message: object) -> Decision[Payment]:
    """Take up interrupted provider work again on a redelivery. Without such work the message is a plain duplicate."""
    return _stale(payment, message) if payment.due is None else Become(state=payment)


def _stale(payment: Payment, message: object) -> Stale:
    name = message.__name__ if isinstance(message, type) else type(message).__name__
    return Stale(why=f"Payment {payment.id} is {payment.status}; {name} changes nothing")
