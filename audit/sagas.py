"""Say of an order and its payment whether they are over, under way, or at odds; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple
from uuid import UUID

from models.lifecycle import Due, OrderStatus, PaymentStatus
from models.saga import CancelReason


class OrderSide(NamedTuple):
    """What the order service knows of a saga; `age` is in seconds since the row's last change."""

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
    """What the payment service knows of it."""

    order_id: UUID
    status: str
    due: str | None
    amount: int
    currency: str
    coordinator: str
    payment_method: str | None
    age: float
    causes: list[UUID | None] | None  # what its events answered
    outcome: UUID | None  # the event that told how the charge went
    removed: bool | None  # whether retention may have removed that one


@dataclass(frozen=True, kw_only=True, slots=True)
class Saga:
    """Both sides of one saga. The order's was read first: its payment may have gone on since, never the reverse."""

    order: OrderSide | None
    payment: PaymentSide | None

    @property
    def order_id(self) -> UUID:
        side = self.order or self.payment
        assert side is not None  # noqa: S101 - a saga has at least one side
        return side.order_id

    @property
    def age(self) -> float:
        """Seconds since anything changed."""
        return min(side.age for side in (self.order, self.payment) if side is not None)


class Standing(Enum):
    """Where a saga is."""

    OVER = auto()
    UNDER_WAY = auto()  # something is outstanding, and what is stored will bring it
    AT_ODDS = auto()  # nothing that is stored brings these two to an agreement: at best the reconciler does


# Of an order that stands here, how far its payment may be: what an event or the provider will yet change, and the ends.
_UNDER_WAY: Final[Mapping[str, frozenset[str | None]]] = {
    OrderStatus.PENDING_PAYMENT: frozenset(
        {None, PaymentStatus.PROCESSING, PaymentStatus.APPROVED, PaymentStatus.DECLINED, PaymentStatus.FAILED}
    ),
    OrderStatus.PAID: frozenset(),
    OrderStatus.FAILED: frozenset(),  # but for a void or refund that is due
    OrderStatus.CANCELLED: frozenset({None, PaymentStatus.PROCESSING, PaymentStatus.APPROVED, PaymentStatus.CANCELLED}),
}
# Invariants 2 and 3 as they are written, not as `models.lifecycle` has them: what checks a rule must not ask it.
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
    """Whether the saga is over, still going on, or can't end well by itself."""
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
    """Of an order that a payment's end took off. Somebody else's message may have told it of an end that never was:
    then its payment is called off because of that, or given back, and the two agree again.
    """
    if payment is None:
        return Standing.AT_ODDS
    if payment.due in (Due.VOID, Due.REFUND):
        return Standing.UNDER_WAY
    if payment.due is not None or payment.status not in _WITHOUT_MONEY:
        return Standing.AT_ODDS
    answered = {*(payment.causes or ())} & {*(order.events or ())}  # what created it, and what took it off
    unexplained = payment.status == PaymentStatus.REFUNDED and len(answered) < 2 and not payment.removed
    return Standing.AT_ODDS if unexplained else Standing.OVER


def is_tombstone(payment: PaymentSide) -> bool:
    """Whether it only keeps a late order.created from being charged, and never was more."""
    return (payment.status, payment.due, payment.payment_method) == (PaymentStatus.CANCELLED, None, None)


def unfinished(saga: Saga, patience: float) -> str | None:
    """A saga that nothing has happened to for `patience` seconds, though something is outstanding."""
    if standing(saga) is not Standing.UNDER_WAY or saga.age < patience:
        return None
    return f"{_described(saga)}; nothing has changed for {saga.age:.0f} s"


def unpaid(saga: Saga, _patience: float) -> str | None:
    """A PAID order without an APPROVED payment."""
    return _described(saga) if _at_odds(saga, OrderStatus.PAID) else None


def uncompensated(saga: Saga, _patience: float) -> str | None:
    """An order that is off, with a payment that does not belong to such an order."""
    return _described(saga) if _at_odds(saga, OrderStatus.CANCELLED, OrderStatus.FAILED) else None


def unasked(saga: Saga, _patience: float) -> str | None:
    """A payment that no order has asked for, or that was called off though its order was not."""
    return _described(saga) if _at_odds(saga, None, OrderStatus.PENDING_PAYMENT) else None


def unequal(saga: Saga, _patience: float) -> str | None:
    """An amount other than the order's total. A tombstone may not know it."""
    order, payment = saga.order, saga.payment
    if order is None or payment is None or (is_tombstone(payment) and not payment.amount):
        return None
    if (order.total, order.currency) == (payment.amount, payment.currency):
        return None
    return f"order of {order.total} {order.currency}, payment of {payment.amount} {payment.currency}"


def mixed(saga: Saga, _patience: float) -> str | None:
    """Two coordinators at one saga. Whoever cancels an order may leave the tombstone."""
    order, payment = saga.order, saga.payment
    if order is None or payment is None or is_tombstone(payment) or order.coordinator == payment.coordinator:
        return None
    return f"order by {order.coordinator}, payment by {payment.coordinator}"


def uncaused(saga: Saga, _patience: float) -> str | None:
    """An event that answers one of the other service which that service has not logged."""
    order, payment = saga.order, saga.payment
    if order is None or payment is None:
        return None
    # An order that is off may have been told so by somebody else; if no money is kept, that is no harm.
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
