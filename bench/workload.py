"""What is bought, in which mix, and which of it is cancelled when: the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec

from models.order import OrderStatus
from models.payment import PaymentStatus
from models.saga import Coordinator

Ends = frozenset[tuple[OrderStatus, PaymentStatus]]

_PAID: Final[Ends] = frozenset({(OrderStatus.PAID, PaymentStatus.APPROVED)})
_DECLINED: Final[Ends] = frozenset({(OrderStatus.CANCELLED, PaymentStatus.DECLINED)})
_FAILED: Final[Ends] = frozenset({(OrderStatus.FAILED, PaymentStatus.FAILED)})
_CANCELLED: Final[Ends] = frozenset(
    {(OrderStatus.CANCELLED, PaymentStatus.CANCELLED), (OrderStatus.CANCELLED, PaymentStatus.REFUNDED)}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One line of a mix: how it is paid, how often it occurs, and how long after its acceptance it is cancelled."""

    payment_method: str
    weight: int
    cancel_after: float | None = None  # seconds
    ends: Ends  # unless its cancellation is accepted


MIX: Final[Sequence[Kind]] = (
    Kind(payment_method="pm_card_visa", weight=70, ends=_PAID),
    Kind(payment_method="pm_card_chargeDeclined", weight=15, ends=_DECLINED),
    Kind(payment_method="pm_error", weight=5, ends=_FAILED),
    # At once, while the saga is under way, and when it has long been paid.
    Kind(payment_method="pm_card_visa", weight=3, cancel_after=0.0, ends=_PAID),
    Kind(payment_method="pm_card_visa", weight=3, cancel_after=0.02, ends=_PAID),
    Kind(payment_method="pm_card_visa", weight=4, cancel_after=0.5, ends=_PAID),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sale:
    """One order to place: the body of its POST, and the seconds from its acceptance to its cancellation, if any."""

    body: bytes
    coordinator: Coordinator
    kind: Kind

    def ends(self, *, cancellation: int | None) -> Ends:
        """The statuses of order and payment that this sale may end with, given how its cancellation was answered.

        Only what is PENDING_PAYMENT or PAID is asked to be cancelled, and both can be: one that is accepted has its
        way. Of one that was refused or not answered nobody knows whether it got through.
        """
        match cancellation:
            case None:
                return self.kind.ends
            case 202:
                return _CANCELLED
            case _:
                return _CANCELLED | self.kind.ends


def sales(coordinator: Coordinator, *, seed: int, mix: Sequence[Kind] = MIX) -> Iterator[Sale]:
    """Without end; two coordinators given the same seed are asked for the same."""
    chance = random.Random(seed)  # noqa: S311 - it has to repeat
    weights = [kind.weight for kind in mix]
    while True:
        (kind,) = chance.choices(mix, weights)
        body = {
            "userId": str(UUID(int=chance.getrandbits(128), version=4)),
            "total": chance.randint(1, 100_000),
            "paymentMethod": kind.payment_method,
            "coordinator": coordinator.value,
        }
        yield Sale(body=msgspec.json.encode(body), coordinator=coordinator, kind=kind)
