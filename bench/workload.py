"""The orders of a workload: their mix, and which of them are cancelled when. The seed decides."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, cast
from uuid import UUID

import msgspec

from models.lifecycle import OrderStatus, PaymentStatus
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

    payment_method: str | None  # None: the simulated provider tosses a coin
    weight: int = 1
    cancel_after: float | None = None  # seconds
    ends: Ends = frozenset()  # unless its cancellation is accepted; none: it is not said here


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
    """One order to place: the body of its POST, its Idempotency-Key if it has one, and whether it is sent twice."""

    body: bytes
    coordinator: Coordinator
    kind: Kind
    key: str | None = None
    twice: bool = False

    @classmethod
    def of(
        cls,
        kind: Kind,
        coordinator: Coordinator,
        *,
        user_id: UUID,
        total: int,
        key: str | None = None,
        twice: bool = False,
    ) -> Self:
        """A sale of this user for `total` minor units."""
        body = {"userId": str(user_id), "total": total, "coordinator": coordinator.value}
        if kind.payment_method is not None:
            body["paymentMethod"] = kind.payment_method
        return cls(body=msgspec.json.encode(body), coordinator=coordinator, kind=kind, key=key, twice=twice)

    @property
    def asked(self) -> Mapping[str, Any]:
        """What its body says."""
        return cast(Mapping[str, Any], msgspec.json.decode(self.body))

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
    """Sales without end. The same seed gives the same sales."""
    chance = random.Random(seed)  # noqa: S311 - it has to repeat
    weights = [kind.weight for kind in mix]
    while True:
        (kind,) = chance.choices(mix, weights)
        user_id = UUID(int=chance.getrandbits(128), version=4)
        yield Sale.of(kind, coordinator, user_id=user_id, total=chance.randint(1, 100_000))
