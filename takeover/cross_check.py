"""Judge every order over all four databases, two of the original services and two of ours; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple

from models.lifecycle import OrderStatus, PaymentStatus
from takeover.original_tables import UNDER_WAY, Unfit
from takeover.our_tables import Side, further, transaction_named_after

_MOST_SHOWN: Final = 20
_SUMS: Final = ("orders", "paid orders", "captured", "refunded", "kept")
_CAPTURED: Final = (PaymentStatus.APPROVED, PaymentStatus.REFUNDED)


class Fault(Enum):
    """What can be wrong with an order, in words for people."""

    LOST = "a payment without an order"
    UNPAID = "a paid order without a payment"
    KEPT = "money kept for an order that is off"
    TWICE = "charged twice"
    AMOUNT = "another amount than the order's"
    APART = "the two databases contradict each other"


class OrderSide(NamedTuple):
    """What one order database has of an order: the status is the one that an original service has for it."""

    ours: bool
    money: int
    currency: str
    status: str


class PaymentSide(NamedTuple):
    """What one payment database has of an order's payment."""

    ours: bool
    id: str
    money: int
    status: str
    due: str | None = None
    transaction_id: str | None = None

    @property
    def charge(self) -> str | None:
        """What names the charge in both databases; None if nothing was captured."""
        if self.status not in _CAPTURED:
            return None
        return (
            self.transaction_id if self.ours and _is_theirs(self.transaction_id) else transaction_named_after(self.id)
        )


class Saga(NamedTuple):
    """What the four databases have of one order."""

    order_id: str
    orders: Sequence[OrderSide]
    payments: Sequence[PaymentSide]


@dataclass(kw_only=True)
class CrossCheck:
    """The sums over all orders, each order and each charge counted once, and what is wrong.

    Sums are of (how many, minor units). `behind` counts the orders and payments that are to be imported or exported.
    """

    sums: dict[str, tuple[int, int]] = field(default_factory=lambda: dict.fromkeys(_SUMS, (0, 0)))
    under_way: int = 0
    behind: dict[str, int] = field(default_factory=dict)
    faults: dict[Fault, list[str]] = field(default_factory=dict)  # the ids of orders

    @property
    def holds(self) -> bool:
        return not self.faults

    def add(self, saga: Saga) -> None:
        """Count an order, and judge it unless it is under way."""
        for what, money in _amounts(saga):
            count, amount = self.sums[what]
            self.sums[what] = (count + 1, amount + money)
        for what in _behind(saga):
            self.behind[what] = self.behind.get(what, 0) + 1
        if _is_under_way(saga):
            self.under_way += 1
            return
        for fault in faults_of(saga):
            self.faults.setdefault(fault, []).append(saga.order_id)

    def keep(self, earlier: CrossCheck) -> None:
        """Keep those faults alone that were there earlier too: what a running service was about to do is none."""
        before = {fault: {*ids} for fault, ids in earlier.faults.items()}
        kept = {fault: [each for each in ids if each in before.get(fault, ())] for fault, ids in self.faults.items()}
        self.faults = {fault: ids for fault, ids in kept.items() if ids}

    def as_json(self) -> dict[str, Any]:
        return {
            "holds": self.holds,
            "sums": {what: {"count": count, "amount": amount} for what, (count, amount) in self.sums.items()},
            "underWay": self.under_way,
            "behind": self.behind,
            "faults": {
                fault.value: {"count": len(ids), "orders": ids[:_MOST_SHOWN]} for fault, ids in self.faults.items()
            },
        }


def faults_of(saga: Saga) -> Iterator[Fault]:
    """What is wrong with an order that is not under way."""
    if not saga.orders:
        yield Fault.LOST
        return
    if len({(order.money, order.currency) for order in saga.orders}) > 1:
        yield Fault.AMOUNT
    kept = [money for money, given_back in _charges(saga).values() if not given_back]
    match _status(saga):
        case None:
            yield Fault.APART
        case OrderStatus.PAID:
            if not kept:
                yield Fault.UNPAID
            elif len(kept) > 1:
                yield Fault.TWICE
            elif kept != [saga.orders[0].money]:
                yield Fault.AMOUNT
        case _:
            if kept:
                yield Fault.KEPT


def _status(saga: Saga) -> str | None:
    """The order's later status. None if no database has it, or if neither status follows from the other."""
    try:
        theirs, ours = saga.orders[0].status, saga.orders[-1].status
        return theirs if further(theirs, ours) is Side.THEIRS else ours
    except (IndexError, Unfit):
        return None


def _charges(saga: Saga) -> dict[str, tuple[int, bool]]:
    """The amount of each charge, and whether it was given back: one of the two databases says so."""
    charges: dict[str, tuple[int, bool]] = {}
    for payment in saga.payments:
        if payment.charge is not None:
            _, before = charges.get(payment.charge, (0, False))
            charges[payment.charge] = (payment.money, before or payment.status == PaymentStatus.REFUNDED)
    return charges


def _is_under_way(saga: Saga) -> bool:
    """Whether a service has still something to do about it."""
    if any(payment.due for payment in saga.payments):
        return True
    orders, payments = {order.status for order in saga.orders}, {payment.status for payment in saga.payments}
    return any(statuses and statuses <= UNDER_WAY for statuses in (orders, payments))


def _amounts(saga: Saga) -> Iterator[tuple[str, int]]:
    for order in saga.orders[:1]:
        yield "orders", order.money
        if _status(saga) == OrderStatus.PAID:
            yield "paid orders", order.money
    for money, given_back in _charges(saga).values():
        yield "captured", money
        yield ("refunded" if given_back else "kept"), money


def _behind(saga: Saga) -> Iterator[str]:
    for kind, sides in (("orders", saga.orders), ("payments", saga.payments)):
        if {side.ours for side in sides} == {False}:
            yield f"{kind} there alone"
        elif {side.ours for side in sides} == {True}:
            yield f"{kind} here alone"
        elif len({side.status for side in sides}) > 1:
            yield f"{kind} with another status there"


def _is_theirs(transaction_id: str | None) -> bool:
    return (transaction_id or "").startswith(transaction_named_after(""))
