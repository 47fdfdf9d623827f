"""Name the services of which an original one may run in place of ours, and tell what those never say; pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias

from models.lifecycle import OrderStatus, PaymentStatus


class ServiceName(StrEnum):
    """The two services that may be original ones."""

    ORDER = "order"
    PAYMENT = "payment"


Originals: TypeAlias = frozenset[ServiceName]  # the services that are not ours
NO_ORIGINALS: Final[Originals] = frozenset()


def order_status_of(
    heard: OrderStatus | None, payment: PaymentStatus | None, originals: Originals
) -> OrderStatus | None:
    """Where an order stands, given the status that its own events tell.

    An original order service follows its payment in silence. It says that a declined order is cancelled, and has it
    FAILED.
    """
    if ServiceName.ORDER not in originals or heard is None:
        return heard
    match payment:
        case PaymentStatus.DECLINED | PaymentStatus.FAILED:
            return OrderStatus.FAILED
        case PaymentStatus.APPROVED if heard is OrderStatus.PENDING_PAYMENT:
            return OrderStatus.PAID
        case _:
            return heard


def nothing_more_is_told(order: OrderStatus | None, originals: Originals) -> bool:
    """Whether no event will tell of the compensation of this order: an original payment service confirms none."""
    return ServiceName.PAYMENT in originals and order is OrderStatus.CANCELLED
