"""What a service of ours has of orders or payments, and the statements that take over into its tables; pure."""

from __future__ import annotations

from datetime import datetime
from enum import Enum, auto
from typing import Final, NamedTuple
from uuid import UUID

from models.lifecycle import Due, OrderStatus, PaymentStatus
from models.saga import CancelReason
from takeover.original_tables import Kind, Row, Unfit

CURRENCY: Final = "USD"  # of everything that names none, as on the wire


class Known(NamedTuple):
    """A row of ours, with the status that an original service has for it; `other_id` is an order's user, or a payment's
    order, and `logged` says whether it has events.
    """

    id: UUID
    other_id: UUID
    money: int
    currency: str
    coordinator: str
    payment_method: str | None
    status: str
    due: str | None
    transaction_id: str | None
    logged: bool


class Act(Enum):
    """What is to be done about an original row, in words for people."""

    NEW = "new"
    THERE = "there already"
    CHANGED = "changed there since"
    AHEAD = "gone on here since"
    OWED = "to be refunded: its order was cancelled before its payment was known"


class Side(Enum):
    """Whose lifecycle has come further."""

    THEIRS = auto()
    OURS = auto()
    NEITHER = auto()


_LATER: Final = {
    OrderStatus.CANCELLED.value: {OrderStatus.PAID.value},
    PaymentStatus.REFUNDED.value: {PaymentStatus.APPROVED.value},
}
KNOWN: Final[dict[Kind, str]] = {
    "orders": """
        SELECT id, user_id, total, currency, coordinator, payment_method,
               CASE cancel_reason WHEN 'PAYMENT_DECLINED' THEN 'FAILED' ELSE status END, NULL, NULL,
               EXISTS (SELECT FROM event_log e WHERE e.order_id = o.id)
        FROM orders o WHERE id = ANY(%s)""",
    "payments": """
        SELECT id, order_id, amount, currency, coordinator, payment_method, status, due, transaction_id,
               EXISTS (SELECT FROM event_log e WHERE e.order_id = p.order_id)
        FROM payments p WHERE order_id = ANY(%s)""",
}
TOTALS: Final[dict[Kind, str]] = {
    # An original order service has declined orders FAILED, and knows no payment without an amount.
    "orders": f"""
        SELECT CASE cancel_reason WHEN '{CancelReason.PAYMENT_DECLINED}' THEN '{OrderStatus.FAILED}' ELSE status END,
               count(*), sum(total)::bigint FROM orders GROUP BY 1""",
    "payments": "SELECT status, count(*), sum(amount)::bigint FROM payments WHERE amount > 0 GROUP BY 1",
}
UNDER_WAY: Final[dict[Kind, str]] = {
    "orders": f"""
        SELECT id::text, 'it is ' || status FROM orders WHERE status = '{OrderStatus.PENDING_PAYMENT}'
        UNION ALL SELECT order_id::text, 'an event of it waits to be published' FROM outbox LIMIT 1000""",
    "payments": f"""
        SELECT order_id::text, 'it is ' || status || coalesce(', ' || due || ' due', '') FROM payments
        WHERE status = '{PaymentStatus.PROCESSING}' OR due IS NOT NULL
        UNION ALL SELECT order_id::text, 'an event of it waits to be published' FROM outbox LIMIT 1000""",
}
FOREIGN_CURRENCIES: Final[dict[Kind, str]] = {
    "orders": f"SELECT id::text, currency FROM orders WHERE currency <> '{CURRENCY}' LIMIT 1000",
    "payments": f"SELECT order_id::text, currency FROM payments WHERE currency <> '{CURRENCY}' LIMIT 1000",
}
RUNNING: Final = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = %s AND pid <> pg_backend_pid()"""
# What is taken over has no events: they count as removed, as those that retention takes.
NO_EVENTS: Final = """
    INSERT INTO removed_events (id, until, events) VALUES (1, %s, 0)
    ON CONFLICT (id) DO UPDATE SET until = greatest(removed_events.until, excluded.until)"""


def key_of(kind: Kind, row: Row | Known) -> UUID:
    """By what a row is found again: an order's id, and that of a payment's order, which has one payment."""
    return row.id if kind == "orders" else row.other_id


def act_on(kind: Kind, row: Row, known: Known | None) -> Act:
    """What is to be done about an original row. Raises Unfit where the two contradict each other."""
    if known is None:
        return Act.NEW
    if kind == "payments" and is_tombstone(known):
        return Act.OWED if row.status == PaymentStatus.APPROVED else Act.AHEAD
    if kind == "payments" and is_owed(known):
        return Act.AHEAD
    if (known.money, known.currency) != (row.money, CURRENCY) or (kind == "orders" and known.other_id != row.other_id):
        raise Unfit("we have it with another amount, currency or user")
    match _ahead(row.status, known.status):
        case Side.NEITHER:
            return Act.THERE
        case Side.THEIRS:
            return Act.CHANGED
        case _:
            return Act.AHEAD


def is_tombstone(known: Known) -> bool:
    """Whether it only keeps a late order.created from being charged."""
    return (known.status, known.due, known.transaction_id) == (PaymentStatus.CANCELLED, None, None)


def is_owed(known: Known) -> bool:
    """Whether it was a tombstone until its payment was taken over, which is given back."""
    return known.status == PaymentStatus.CANCELLED and known.due == Due.REFUND


def transaction_of(row: Row) -> str | None:
    """The transaction of a payment that has captured money; its service keeps none that we could read."""
    captured = row.status in (PaymentStatus.APPROVED, PaymentStatus.REFUNDED)
    return f"original-{row.id}" if captured else None


def latest(rows: list[Row], now: datetime) -> datetime:
    """Up to when what is taken over has no events."""
    return max([now, *(row.updated_at for row in rows)])


def _ahead(theirs: str, ours: str) -> Side:
    if theirs == ours:
        return Side.NEITHER
    if ours in _LATER.get(theirs, ()):
        return Side.THEIRS
    if theirs in _LATER.get(ours, ()):
        return Side.OURS
    raise Unfit(f"it is {theirs} there and {ours} here, and neither follows from the other")
