"""Decide whether an order and its payment are over, under way, or contradict each other; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple
from uuid import UUID

from models.lifecycle import Due, OrderStatus, PaymentStatus
from models.saga import CancelReason


class OrderSide(NamedTuple):
    """What the order service knows of a saga. `age` is the time since the row's last change, in seconds."""

    order_id: UUID
    status: str
    cancel_reason: str | None
    total: int
    currency: str
    coordinator: str
    age: float
    events: list[UUID] | None  # their ids; None: nothing is logged
    answered: UUID | None  # the payment's event that the order answered
    removed: bool | None  # whether retention may have removed what the log lacks of its beginning


class PaymentSide(NamedTuple):
    """What the payment service knows of a saga."""

    order_id: UUID
    status: str
    due: str | None
    amount: int
    currency: str
    coordinator: str
    payment_method: str | None
    age: float
    causes: list[UUID | None] | None  # the messages that its events answered
    outcome: UUID | None  # the event that told the charge's outcome
    removed: bool | None  # whether retention may have removed that event


@dataclass(frozen=True, kw_only=True, slots=True)
class Saga:
    """Both sides of one saga. The order was read first, so only the payment may have changed in between."""

    order: OrderSide | None
    payment: PaymentSide | None

    @property
    def order_id(self) -> UUID:
        side = self.order or self.payment
        assert side is not None  # noqa: S101 - a saga has at least one side
        return side.order_id

    @property
    def age(self) -> float:
        """The seconds since the last change of either side."""
        return min(side.age for side in (self.order, self.payment) if side is not None)


class Standing(Enum):
    """The state of a saga as a whole."""

    OVER = auto()
    UNDER_WAY = auto()  # something is outstanding, and stored events or dues will bring it about
    AT_ODDS = auto()  # the two sides contradict each other, and nothing that is stored resolves that


# The statuses that a payment may have while its order has this status and something is still outstanding.
_UNDER_WAY: Final[Mapping[str, frozenset[str | None]]] = {
    OrderStatus.PENDING_PAYMENT: frozenset(
        {None, PaymentStatus.PROCESSING, PaymentStatus.APPROVED, PaymentStatus.DECLINED, PaymentStatus.FAILED}
    ),
    OrderStatus.PAID: frozenset(),
    OrderStatus.FAILED: frozenset(),  # but for a void or refund that is due
    OrderStatus.CANCELLED: frozenset({None, PaymentStatus.PROCESSING, PaymentStatus.APPROVED, PaymentStatus.CANCELLED}),
}
# Invariants 2 and 3 as they are written, independent of `models.lifecycle`: a check must not use the rule it checks.
_WITHOUT_MONEY: Final[frozenset[str | None]] = frozenset(
    {PaymentStatus.CANCELLED, PaymentStatus.DECLINED, PaymentStatus.FAILED, PaymentStatus.REFUNDED}
)
_ENDS: Final[Mapping[str, frozenset[str | None]]] = {
    OrderStatus.PENDING_PAYMENT: frozenset(),
    OrderStatus.PAID: frozenset({PaymentStatus.APPROVED}),
    OrderStatus.FAILED: _WITHOUT_MONEY,
    OrderStatus.CANCELLED: _WITHOUT_MONEY,
}
_OFF: Final = frozenset(status for status in OrderStatus if status.off)


def standing(saga: Saga) -> Standing:
    """Whether the saga is over, under way, or contradictory."""
    order, payment = saga.order, saga.payment
    if order is None:
        return Standing.OVER if payment is not None and is_tombstone(payment) else Standing.AT_ODDS
    status = payment.status if payment else None
    due = payment.due if payment else None
    if due == Due.REFUND and order.status not in _OFF:
        return Standing.AT_ODDS
    if _told_its_end_by_payment(order):
        return _after_its_payment(order, payment)
    if due is None and status in _ENDS.get(order.status, ()):
        return Standing.OVER
    return Standing.UNDER_WAY if status in _UNDER_WAY.get(order.status, ()) else Standing.AT_ODDS


def _told_its_end_by_payment(order: OrderSide) -> bool:
    return order.status == OrderStatus.FAILED or order.cancel_reason == CancelReason.PAYMENT_DECLINED


def _after_its_payment(order: OrderSide, payment: PaymentSide | None) -> Standing:
    """The standing of a saga whose order ended because of its payment's end.

    A stranger's message may have reported a payment's end that did not happen. Then the payment is cancelled or
    refunded because its order is off, and the two sides agree again.
    """
    if payment is None:
        return Standing.AT_ODDS
    if payment.due in (Due.VOID, Due.REFUND):
        return Standing.UNDER_WAY
    if payment.due is not None or payment.status not in _WITHOUT_MONEY:
        return Standing.AT_ODDS
    # A payment that is refunded has two events. Each answers order.created, or the event that ended the order.
    answered = [cause for cause in payment.causes or () if cause in (order.events or ())]
    unexplained = payment.status == PaymentStatus.REFUNDED and len(answered) < 2 and not payment.removed
    return Standing.AT_ODDS if unexplained else Standing.OVER


def is_tombstone(payment: PaymentSide) -> bool:
    """Whether this payment only prevents the charge of a late order.created, and was never anything else."""
    return (payment.status, payment.due, payment.payment_method) == (PaymentStatus.CANCELLED, None, None)


def unfinished(saga: Saga, patience: float) -> str | None:
    """Report a saga that is under way and has not changed for `patience` seconds."""
    if standing(saga) is not Standing.UNDER_WAY or saga.age < patience:
        return None
    return f"{_described(saga)}; nothing has changed for {saga.age:.0f} s"


def unpaid(saga: Saga, _patience: float) -> str | None:
    """Report a PAID order without an APPROVED payment."""
    return _described(saga) if _at_odds(saga, OrderStatus.PAID) else None


def uncompensated(saga: Saga, _patience: float) -> str | None:
    """Report a CANCELLED or FAILED order whose payment does not fit."""
    return _described(saga) if _at_odds(saga, OrderStatus.CANCELLED, OrderStatus.FAILED) else None


def unasked(saga: Saga, _patience: float) -> str | None:
    """Report a payment without an order, or a called-off payment whose order was not."""
    return _described(saga) if _at_odds(saga, None, OrderStatus.PENDING_PAYMENT) else None


def unequal(saga: Saga, _patience: float) -> str | None:
    """Report a payment whose amount is not the order's total. A tombstone may have no amount."""
    order, payment = saga.order, saga.payment
    if order is None or payment is None or (is_tombstone(payment) and not payment.amount):
        return None
    if (order.total, order.currency) == (payment.amount, payment.currency):
        return None
    return f"order of {order.total} {order.currency}, payment of {payment.amount} {payment.currency}"


def mixed(saga: Saga, _patience: float) -> str | None:
    """Report a saga with two coordinators. A tombstone may have either."""
    order, payment = saga.order, saga.payment
    if order is None or payment is None or is_tombstone(payment) or order.coordinator == payment.coordinator:
        return None
    return f"order by {order.coordinator}, payment by {payment.coordinator}"


def uncaused(saga: Saga, _patience: float) -> str | None:
    """Report an event that answers an event which the other service has not logged."""
    order, payment = saga.order, saga.payment
    if order is None or payment is None:
        return None
    # A stranger's message may have ended the order. That is harmless if no money is kept.
    safe = order.status in _OFF and standing(saga) is Standing.OVER
    if order.answered is not None and order.answered != payment.outcome and not (payment.removed or safe):
        return f"the order's last event answers {order.answered}, the payment's outcome is {payment.outcome}"
    unknown = [cause for cause in payment.causes or () if cause not in (order.events or ())]
    if not unknown or order.removed:
        return None
    return f"a payment's event answers {unknown[0]}, which the order has not logged"


def _at_odds(saga: Saga, *statuses: str | None) -> bool:
    status = saga.order.status if saga.order else None
    return status in statuses and standing(saga) is Standing.AT_ODDS


def _described(saga: Saga) -> str:
    order = "no order" if saga.order is None else f"order {saga.order.status}"
    if saga.order and saga.order.cancel_reason:
        order += f" ({saga.order.cancel_reason})"
    if saga.payment is None:
        return f"{order}, no payment"
    due = f", {saga.payment.due} due" if saga.payment.due else ""
    return f"{order}, payment {saga.payment.status}{due}"
