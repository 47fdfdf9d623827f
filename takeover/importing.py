"""Take an original service's rows over into the database of ours: a page a transaction, as often as wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, assert_never
from uuid import UUID

import msgspec
import psycopg

from activities.reconstruction import reconstruct
from models.event_log import LOGGED, logged_row
from models.lifecycle import Due, OrderStatus, PaymentStatus
from models.order import Order
from models.payment import Payment
from models.saga import CancelReason, Coordinator, OrderId, PaymentId, UserId
from takeover.original_tables import Kind, OriginalTable, Row, Unfit
from takeover.our_tables import CURRENCY, KNOWN, NO_EVENTS, Act, Known, act_on, key_of, latest, transaction_of
from takeover.report import Report

_PAGE: Final = 1000  # rows
_OUTCOMES: Final = {
    PaymentStatus.APPROVED: "Charged",
    PaymentStatus.REFUNDED: "Charged",
    PaymentStatus.DECLINED: "Declined",
    PaymentStatus.FAILED: "Refused",
    PaymentStatus.CANCELLED: "Voided",
}
_BOOKS: Final = """
    INSERT INTO provider_charges (payment_id, amount, currency, outcome, transaction_id, reason, captured, refunded)
    VALUES (%s, %s, %s, %s, %s, NULL, %s, %s)
    ON CONFLICT (payment_id) DO UPDATE SET outcome = excluded.outcome, transaction_id = excluded.transaction_id,
        amount = excluded.amount, captured = excluded.captured, refunded = excluded.refunded"""


def look(kind: Kind, table: OriginalTable, theirs: psycopg.Connection, ours: psycopg.Connection) -> Report:
    """What would be done, and what is in the way of it; nothing is changed."""
    report = Report()
    for page in _pages(table.rows(theirs)):
        fit = [row for row in page if isinstance(row, Row)]
        for unfit in page:
            if isinstance(unfit, Unfit):
                report.refuse(str(unfit))
        for row, known in _beside_ours(kind, fit, ours):
            try:
                report.count(act_on(kind, row, known).value)
            except Unfit as why:
                report.refuse(f"{kind} {row.id}: {why}")
    return report


def take_over(kind: Kind, table: OriginalTable, theirs: psycopg.Connection, ours: psycopg.Connection) -> Report:
    """Take all rows over, of which `look` has said that none is in the way.

    What was taken over before is left as it is, so that an import which was interrupted goes on, and one that is
    repeated takes over what has changed since.
    """
    report = Report()
    for page in _pages(table.rows(theirs)):
        rows = [row for row in page if isinstance(row, Row)]
        with ours.transaction():
            beside = [(row, known, act_on(kind, row, known)) for row, known in _beside_ours(kind, rows, ours)]
            ours.execute(NO_EVENTS, [latest(rows, datetime.now(UTC))])
            for row, known, act in beside:
                _do(kind, ours, row, known, act)
            _tally(kind, ours, beside)
        for _, _, act in beside:
            report.count(act.value)
    return report


def _pages(rows: Iterator[Row | Unfit]) -> Iterator[list[Row | Unfit]]:
    while page := list(islice(rows, _PAGE)):
        yield page


def _beside_ours(kind: Kind, rows: Sequence[Row], ours: psycopg.Connection) -> list[tuple[Row, Known | None]]:
    keys = [key_of(kind, row) for row in rows]
    found = {key_of(kind, known): known for known in map(Known._make, ours.execute(KNOWN[kind], [keys]).fetchall())}
    return [(row, found.get(key)) for row, key in zip(rows, keys, strict=True)]


def _do(kind: Kind, ours: psycopg.Connection, row: Row, known: Known | None, act: Act) -> None:
    match act:
        case Act.THERE | Act.AHEAD:
            pass
        case Act.NEW:
            _insert_order(ours, row) if kind == "orders" else _insert_payment(ours, row)
        case Act.CHANGED:
            assert known is not None  # noqa: S101 - only what is known can have changed
            _follow(kind, ours, row, known)
        case Act.OWED:
            assert known is not None  # noqa: S101 - a tombstone is known
            _owe(ours, row, known)
        case _ as never:
            assert_never(never)


def _insert_order(ours: psycopg.Connection, row: Row) -> None:
    ours.execute(
        "INSERT INTO orders (id, user_id, total, currency, payment_method, coordinator, status, cancel_reason,"
        " created_at, updated_at) VALUES (%s, %s, %s, %s, NULL, %s, %s, %s, %s, %s)",
        [
            *(row.id, row.other_id, row.money, CURRENCY, Coordinator.CHOREOGRAPHY, row.status),
            *(_cancel_reason(row.status), row.created_at, row.updated_at),
        ],
    )


def _insert_payment(ours: psycopg.Connection, row: Row) -> None:
    ours.execute(
        "INSERT INTO payments (id, order_id, amount, currency, payment_method, coordinator, status, due,"
        " transaction_id, reason, created_at, updated_at)"
        " VALUES (%s, %s, %s, %s, NULL, %s, %s, NULL, %s, %s, %s, %s)",
        [
            *(row.id, row.other_id, row.money, CURRENCY, Coordinator.CHOREOGRAPHY, row.status),
            *(transaction_of(row), _reason(row.status), row.created_at, row.updated_at),
        ],
    )
    _enter_books(ours, row.id, row)


def _follow(kind: Kind, ours: psycopg.Connection, row: Row, known: Known) -> None:
    """Go the step that an original service has gone since: from PAID to CANCELLED, or from APPROVED to REFUNDED."""
    if kind == "orders":
        reason = CancelReason.USER_REQUESTED
        changed = "UPDATE orders SET status = %s, cancel_reason = %s, updated_at = %s WHERE id = %s"
        ours.execute(changed, [row.status, reason, row.updated_at, row.id])
        order = Order(
            id=OrderId(row.id),
            user_id=UserId(row.other_id),
            total=row.money,
            currency=known.currency,
            payment_method=known.payment_method,
            coordinator=Coordinator(known.coordinator),
            status=OrderStatus(row.status),
            cancel_reason=reason,
        )
        _log(ours, order, row, known)
    else:
        changed = "UPDATE payments SET status = %s, reason = %s, updated_at = %s WHERE order_id = %s"
        ours.execute(changed, [row.status, _reason(row.status), row.updated_at, row.other_id])
        ours.execute("UPDATE provider_charges SET refunded = captured WHERE payment_id = %s", [known.id])
        payment = Payment(
            id=PaymentId(known.id),
            order_id=OrderId(row.other_id),
            amount=row.money,
            currency=known.currency,
            payment_method=known.payment_method,
            coordinator=Coordinator(known.coordinator),
            status=PaymentStatus(row.status),
            transaction_id=known.transaction_id,
            reason=_reason(row.status),
        )
        _log(ours, payment, row, known)


def _log(ours: psycopg.Connection, state: Order | Payment, row: Row, known: Known) -> None:
    """Have a row that has events have the one that tells of this step; it is not published again."""
    if not known.logged:
        return
    event = reconstruct(state, created_at=row.created_at, updated_at=row.updated_at)[-1]
    order_id = row.id if isinstance(state, Order) else row.other_id
    order_id = row.id if isinstance(state, Order) else row.other_id
    values = dict(zip(LOGGED, logged_row(event, order_id), strict=True))
    values["payload"] = msgspec.json.encode(values["payload"]).decode()
    places = ", ".join(f"%s::{kind}" for kind in LOGGED.values())
    ours.execute(f"INSERT INTO event_log ({', '.join(LOGGED)}) VALUES ({places})", list(values.values()))


def _owe(ours: psycopg.Connection, row: Row, known: Known) -> None:
    """A tombstone says that nothing was charged. It was: the reconciler gives it back."""
    transaction_id = transaction_of(row)
    ours.execute(
        "UPDATE payments SET amount = %s, currency = %s, due = %s, transaction_id = %s WHERE order_id = %s",
        [row.money, CURRENCY, Due.REFUND, transaction_id, row.other_id],
    )
    _enter_books(ours, known.id, row)


def _enter_books(ours: psycopg.Connection, payment_id: UUID, row: Row) -> None:
    status = PaymentStatus(row.status)
    captured = row.money if transaction_of(row) else 0
    refunded = row.money if status is PaymentStatus.REFUNDED else 0
    line = (payment_id, row.money, CURRENCY, _OUTCOMES[status], transaction_of(row), captured, refunded)
    ours.execute(_BOOKS, line)


def _tally(kind: Kind, ours: psycopg.Connection, beside: Sequence[tuple[Row, Known | None, Act]]) -> None:
    counts: Counter[tuple[str, ...]] = Counter()
    amounts: Counter[tuple[str, ...]] = Counter()

    def add(sign: int, status: str, currency: str, money: int) -> None:
        group = (status,) if kind == "orders" else (status, currency)
        counts[group] += sign
        amounts[group] += sign * money

    for row, known, act in beside:
        if act is Act.OWED and known is not None:
            add(-1, known.status, known.currency, known.money)
            add(1, known.status, CURRENCY, row.money)
        elif act in (Act.NEW, Act.CHANGED):
            add(1, row.status, CURRENCY, row.money)
            if known is not None:
                add(-1, known.status, known.currency, known.money)
    table, by = ("order_totals", "status") if kind == "orders" else ("payment_sums", "status, currency")
    for group in sorted(counts):
        values: list[Any] = [*group, counts[group], amounts[group]]
        ours.execute(
            f"INSERT INTO {table} (shard, {by}, count, amount) VALUES (0, {', '.join(['%s'] * len(values))})"
            f" ON CONFLICT (shard, {by}) DO UPDATE SET count = {table}.count + excluded.count,"
            f" amount = {table}.amount + excluded.amount",
            values,
        )


def _cancel_reason(status: str) -> str | None:
    # It has declined orders FAILED, and knows no time-out: only a user cancels there.
    return CancelReason.USER_REQUESTED if status == OrderStatus.CANCELLED else None


def _reason(status: str) -> str | None:
    return CancelReason.USER_REQUESTED if PaymentStatus(status).called_off else None
