"""Hold each rule of both lifecycles in one place: which states are over, off, cancellable or without money; pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple, assert_never

from models.message_types import CommandType, EventType
from models.saga import CancelReason


class OrderStatus(StrEnum):
    """Where an order is in its life; PAID, CANCELLED and FAILED are its ends."""

    PENDING_PAYMENT = "PENDING_PAYMENT"
    PAID = "PAID"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"

    @property
    def over(self) -> bool:
        return self is not OrderStatus.PENDING_PAYMENT

    @property
    def off(self) -> bool:
        """Whether the order is called off, so that no money may be kept for it."""
        match self:
            case OrderStatus.CANCELLED | OrderStatus.FAILED:
                return True
            case OrderStatus.PENDING_PAYMENT | OrderStatus.PAID:
                return False
            case _ as never:
                assert_never(never)


class PaymentStatus(StrEnum):
    """Where a payment is in its life; it may end in any status but PROCESSING."""

    PROCESSING = "PROCESSING"
    APPROVED = "APPROVED"
    DECLINED = "DECLINED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    REFUNDED = "REFUNDED"

    @property
    def without_money(self) -> bool:
        """Whether a payment of this status keeps no money as soon as nothing is due at the provider any more."""
        match self:
            case PaymentStatus.DECLINED | PaymentStatus.FAILED | PaymentStatus.CANCELLED | PaymentStatus.REFUNDED:
                return True
            case PaymentStatus.PROCESSING | PaymentStatus.APPROVED:
                return False
            case _ as never:
                assert_never(never)

    @property
    def called_off(self) -> bool:
        """Whether the payment was cancelled or refunded because its order is off. Such a payment pays no order."""
        return self in (PaymentStatus.CANCELLED, PaymentStatus.REFUNDED)

    @property
    def may_owe(self) -> bool:
        """Whether a payment of this status may have something due at the provider: a charge, a void or a refund."""
        match self:
            case PaymentStatus.PROCESSING | PaymentStatus.APPROVED | PaymentStatus.CANCELLED:
                return True
            case PaymentStatus.DECLINED | PaymentStatus.FAILED | PaymentStatus.REFUNDED:
                return False
            case _ as never:
                assert_never(never)


class Due(StrEnum):
    """What must still be done at the provider. It is stored with the payment, so that no crash loses it."""

    CHARGE = "charge"
    VOID = "void"
    REFUND = "refund"


def cancellable(order: OrderStatus, reason: CancelReason) -> bool:
    """Whether a request with this reason cancels an order of this status. A timer never cancels a PAID order."""
    match order:
        case OrderStatus.PENDING_PAYMENT:
            return True
        case OrderStatus.PAID:
            return reason is CancelReason.USER_REQUESTED
        case OrderStatus.CANCELLED | OrderStatus.FAILED:
            return False
        case _ as never:
            assert_never(never)


# No request cancels an order with one of these statuses.
BEYOND_CANCELLING: Final = frozenset(
    status for status in OrderStatus if not any(cancellable(status, reason) for reason in CancelReason)
)


def at_rest(order: OrderStatus, payment: PaymentStatus | None, due: Due | None = None) -> bool:
    """Whether the order and its payment have both ended, and their ends agree."""
    if payment is None or due is not None:
        return False
    match order:
        case OrderStatus.PENDING_PAYMENT:
            return False
        case OrderStatus.PAID:
            return payment is PaymentStatus.APPROVED
        case OrderStatus.CANCELLED | OrderStatus.FAILED:
            return payment.without_money
        case _ as never:
            assert_never(never)


def over(order: OrderStatus | None, payment: PaymentStatus | None) -> bool:
    """Whether no step and no compensation is outstanding, as far as the events say.

    None stands for an order or payment that no event has mentioned yet.
    """
    match order:
        case None | OrderStatus.PENDING_PAYMENT:
            return False
        case OrderStatus.PAID:
            return True  # only an approval pays an order, also if its event has not arrived yet
        case OrderStatus.CANCELLED:
            return payment is not None and payment.without_money
        case OrderStatus.FAILED:
            # A failed payment normally made it fail. If another message did, and the charge succeeds, a refund is due.
            return payment is None or payment.without_money
        case _ as never:
            assert_never(never)


def settled(payment: PaymentStatus, due: Due | None) -> bool:
    """Whether this payment changes again only if a message arrives."""
    return payment is not PaymentStatus.PROCESSING and due is None


def uncompensated(payment: PaymentStatus | None, due: Due | None) -> bool:
    """Whether the payment of an order that is off keeps money, or may still do so, and no refund is due.

    None: no payment is known. That counts as uncompensated, because only a tombstone prevents the charge of an
    order.created that arrives late.
    """
    if payment is None or payment is PaymentStatus.PROCESSING:
        return True
    return payment is PaymentStatus.APPROVED and due is None


class Stage(NamedTuple):
    """The status that an event gives its order or payment, and the place of that status in the lifecycle."""

    status: OrderStatus | PaymentStatus
    place: int


def stage_of(event: EventType) -> Stage:
    """The stage that an event of this type reaches. Of two events of one service, the smaller place came first."""
    match event:
        case EventType.ORDER_CREATED:
            return Stage(OrderStatus.PENDING_PAYMENT, 0)
        case EventType.ORDER_PAID:
            return Stage(OrderStatus.PAID, 1)
        case EventType.ORDER_FAILED:
            return Stage(OrderStatus.FAILED, 1)
        case EventType.ORDER_CANCELLED:
            return Stage(OrderStatus.CANCELLED, 2)
        case EventType.PAYMENT_APPROVED:
            return Stage(PaymentStatus.APPROVED, 0)
        case EventType.PAYMENT_DECLINED:
            return Stage(PaymentStatus.DECLINED, 0)
        case EventType.PAYMENT_FAILED:
            return Stage(PaymentStatus.FAILED, 0)
        case EventType.PAYMENT_CANCELLED:
            return Stage(PaymentStatus.CANCELLED, 0)
        case EventType.PAYMENT_REFUNDED:
            return Stage(PaymentStatus.REFUNDED, 1)
        case _ as never:
            assert_never(never)


def compensates(event: EventType, reason: object) -> bool:
    """Whether an event of this type, with this `reason`, begins or ends the compensation of a payment."""
    match event:
        case EventType.ORDER_CANCELLED:
            return reason != CancelReason.PAYMENT_DECLINED
        case EventType.PAYMENT_CANCELLED | EventType.PAYMENT_REFUNDED:
            return True
        case (
            EventType.ORDER_CREATED
            | EventType.ORDER_PAID
            | EventType.ORDER_FAILED
            | EventType.PAYMENT_APPROVED
            | EventType.PAYMENT_DECLINED
            | EventType.PAYMENT_FAILED
        ):
            return False
        case _ as never:
            assert_never(never)


def command_behind(event: EventType, reason: object) -> CommandType | None:
    """The command that caused an event of this type with this `reason`; None if an event caused it."""
    match event:
        case EventType.ORDER_CREATED:
            return CommandType.CREATE_ORDER_REQUESTED
        case EventType.ORDER_CANCELLED:
            return None if reason == CancelReason.PAYMENT_DECLINED else CommandType.ORDER_CANCEL_REQUESTED
        case (
            EventType.ORDER_PAID
            | EventType.ORDER_FAILED
            | EventType.PAYMENT_APPROVED
            | EventType.PAYMENT_DECLINED
            | EventType.PAYMENT_FAILED
            | EventType.PAYMENT_CANCELLED
            | EventType.PAYMENT_REFUNDED
        ):
            return None
        case _ as never:
            assert_never(never)
