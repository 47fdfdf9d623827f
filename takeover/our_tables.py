"""What a service of ours has of orders or payments beside an original service's rows, and what is to be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import Enum, auto
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg

from activities.book import Book
from activities.orders import ORDERS
from activities.payments import PAYMENTS
from models.lifecycle import Due, OrderStatus, PaymentStatus
from models.order import Order
from models.payment import Payment
from models.saga import CancelReason, Coordinator, OrderId, PaymentId, UserId
from takeover.original_tables import UNDER_WAY, Kind, Row, Unfit

CURRENCY: Final = "USD"  # of everything that names none, as on the wire
BOOKS: Final[Mapping[Kind, Book[Any]]] = {"orders": ORDERS, "payments": PAYMENTS}


class Known(NamedTuple):
    """A row of ours, and whether it has events."""

    state: Order | Payment
    logged: bool


class Act(Enum):
    """What is to be done about an original row, in words for people."""

    NEW = "new"
    THERE = "there already"
    CHANGED = "changed there since"
    AHEAD = "gone on here since"
    OWED = "to be refunded: its order was cancelled before its payment was known"
    OWED_AT_STRIPE = "to be refunded at Stripe: the original service has nothing there to give back"


class Side(Enum):
    """Whose lifecycle has come further."""

    THEIRS = auto()
    OURS = auto()
    NEITHER = auto()


_LATER: Final = {
    OrderStatus.CANCELLED.value: {OrderStatus.PAID.value},
    PaymentStatus.REFUNDED.value: {PaymentStatus.APPROVED.value},
}
TOTALS: Final[Mapping[Kind, str]] = {
    # An original order service has declined orders FAILED, and knows no payment without an amount.
    "orders": f"""
        SELECT CASE cancel_reason WHEN '{CancelReason.PAYMENT_DECLINED}' THEN '{OrderStatus.FAILED}' ELSE status END,
               count(*), sum(total)::bigint FROM orders GROUP BY 1""",
    "payments": "SELECT status, count(*), sum(amount)::bigint FROM payments WHERE amount > 0 GROUP BY 1",
}
RUNNING: Final = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = %s AND pid <> pg_backend_pid()"""
# What is taken over has no events: they count as removed, as those that retention takes.
NO_EVENTS: Final = """
    INSERT INTO removed_events (id, until, events) VALUES (1, %s, 0)
    ON CONFLICT (id) DO UPDATE SET until = greatest(removed_events.until, excluded.until)"""


def has_table(kind: Kind, ours: psycopg.Connection) -> bool:
    """Whether our service, or an import, has ever made the tables of its database."""
    found = ours.execute("SELECT to_regclass(%s) IS NOT NULL", [BOOKS[kind].table]).fetchone()
    return bool(found and found[0])


def known_among(kind: Kind) -> str:
    """The statement that finds the rows of ours with the given keys; `known` takes what it finds."""
    book = BOOKS[kind]
    columns = ", ".join(f"t.{name}" for name in book.columns)
    return (
        f"SELECT EXISTS (SELECT FROM event_log e WHERE e.order_id = t.{book.key}), {columns}"
        f" FROM {book.table} t WHERE t.{book.key} = ANY(%s)"
    )


def known(kind: Kind, found: Sequence[Any]) -> Known:
    logged, *columns = found
    return Known(BOOKS[kind].load(columns), logged)


def key_of(kind: Kind, row: Row) -> UUID:
    """By what a row is found again: an order's id, and that of a payment's order, which has one payment."""
    return row.id if kind == "orders" else row.other_id


def status_there(state: Order | Payment) -> str:
    """The status that an original service has for it."""
    declined = isinstance(state, Order) and state.cancel_reason is CancelReason.PAYMENT_DECLINED
    return OrderStatus.FAILED if declined else state.status


def act_on(row: Row, state: Order | Payment | None) -> Act:
    """What is to be done about an original row, given ours of the same order. Raises Unfit for a contradiction."""
    if state is None:
        return Act.NEW
    if isinstance(state, Payment):
        if is_tombstone(state):
            return Act.OWED if row.status == PaymentStatus.APPROVED else Act.AHEAD
        if is_owed(state):
            return Act.AHEAD
        if is_another_charge(row, state) and row.status == PaymentStatus.REFUNDED:
            return Act.AHEAD
    check_same(row, state)
    match further(row.status, status_there(state)):
        case Side.NEITHER:
            return Act.THERE
        case Side.THEIRS:
            return Act.OWED_AT_STRIPE if _is_at_stripe(state) else Act.CHANGED
        case _:
            return Act.AHEAD


def check_same(row: Row, state: Order | Payment) -> None:
    """Raises Unfit unless both tell of one order, or one charge, of the same amount."""
    if isinstance(state, Order):
        if (state.total, state.currency, state.user_id) != (row.money, CURRENCY, row.other_id):
            raise Unfit("we have it with another amount, currency or user")
        return
    if (state.amount, state.currency) != (row.money, CURRENCY):
        raise Unfit("we have it with another amount or currency")
    if is_another_charge(row, state) and row.status == PaymentStatus.APPROVED:
        raise Unfit(
            f"it was charged twice, there as payment {row.id} and here as payment {state.id}: "
            "give back the charge that was made there, and have that row REFUNDED"
        )


def is_another_charge(row: Row, state: Payment) -> bool:
    """Whether both services have charged the same order."""
    captured = state.transaction_id is not None and transaction_of(row) is not None
    return captured and state.id != row.id and state.transaction_id != transaction_of(row)


def is_tombstone(state: Payment) -> bool:
    """Whether it only keeps a late order.created from being charged."""
    return (state.status, state.due, state.transaction_id) == (PaymentStatus.CANCELLED, None, None)


def is_owed(state: Payment) -> bool:
    """Whether it was a tombstone until its payment was taken over, which is given back."""
    return state.status is PaymentStatus.CANCELLED and state.due is Due.REFUND


def transaction_of(row: Row) -> str | None:
    """The transaction of a payment that has captured money; its service keeps none that we could read."""
    captured = row.status in (PaymentStatus.APPROVED, PaymentStatus.REFUNDED)
    return transaction_named_after(row.id) if captured else None


def transaction_named_after(payment_id: UUID | str) -> str:
    """The transaction id that we give to a charge of an original payment service."""
    return f"original-{payment_id}"


def taken_over(kind: Kind, row: Row) -> Order | Payment:
    """What we make of a row that we had not."""
    if kind == "orders":
        status = OrderStatus(row.status)
        return Order(
            id=OrderId(row.id),
            user_id=UserId(row.other_id),
            total=row.money,
            currency=CURRENCY,
            payment_method=None,
            coordinator=Coordinator.CHOREOGRAPHY,
            status=status,
            # It has declined orders FAILED, and knows no time-out: only a user cancels there.
            cancel_reason=CancelReason.USER_REQUESTED if status is OrderStatus.CANCELLED else None,
        )
    return Payment(
        id=PaymentId(row.id),
        order_id=OrderId(row.other_id),
        amount=row.money,
        currency=CURRENCY,
        payment_method=None,
        coordinator=Coordinator.CHOREOGRAPHY,
        status=PaymentStatus(row.status),
        transaction_id=transaction_of(row),
        reason=_reason(PaymentStatus(row.status)),
    )


def followed(row: Row, state: Order | Payment) -> Order | Payment:
    """Ours after the step that an original service has gone since: from PAID to CANCELLED, or APPROVED to REFUNDED."""
    if isinstance(state, Order):
        return replace(state, status=OrderStatus(row.status), cancel_reason=CancelReason.USER_REQUESTED)
    status = PaymentStatus(row.status)
    return replace(state, status=status, reason=_reason(status))


def owing(row: Row, tombstone: Payment) -> Payment:
    """A tombstone says that nothing was charged. It was: a refund of it is due."""
    transaction_id = transaction_of(row)
    return replace(tombstone, amount=row.money, currency=CURRENCY, due=Due.REFUND, transaction_id=transaction_id)


def owing_at_stripe(payment: Payment) -> Payment:
    """It was charged at Stripe through us, and only the original service says that it was given back."""
    return replace(payment, due=Due.REFUND)


def _is_at_stripe(state: Order | Payment) -> bool:
    return isinstance(state, Payment) and (state.transaction_id or "").startswith("pi_")


def latest(rows: Sequence[Row], now: datetime) -> datetime:
    """Up to when what is taken over has no events."""
    return max([now, *(row.updated_at for row in rows)])


def further(theirs: str, ours: str) -> Side:
    """Whose status is the later one of the same life. Raises Unfit if neither follows from the other."""
    if theirs == ours:
        return Side.NEITHER
    if ours in _LATER.get(theirs, ()):
        return Side.THEIRS
    if theirs in _LATER.get(ours, ()) or theirs in UNDER_WAY:
        return Side.OURS
    raise Unfit(f"it is {theirs} there and {ours} here, and neither follows from the other")


def _reason(status: PaymentStatus) -> str | None:
    return CancelReason.USER_REQUESTED if status.called_off else None
