"""Bring the rows of a service of ours back into the database of an original one, as often as wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from models.lifecycle import OrderStatus, PaymentStatus
from models.saga import CancelReason
from takeover.original_tables import KEY, Kind, OriginalTable, Stored, Unfit
from takeover.our_tables import CURRENCY, Side, further, transaction_named_after
from takeover.report import Report

_PAGE: Final = 1000  # rows
_UNPUBLISHED: Final = "SELECT order_id::text, 'an event of it waits to be published' FROM outbox LIMIT 1000"
_UNDER_WAY: Final[Mapping[Kind, str]] = {
    "orders": f"""
        SELECT id::text, 'it is ' || status FROM orders WHERE status = '{OrderStatus.PENDING_PAYMENT}'
        UNION ALL {_UNPUBLISHED}""",
    "payments": f"""
        SELECT order_id::text, 'it is ' || status || coalesce(', ' || due || ' due', '') FROM payments
        WHERE status = '{PaymentStatus.PROCESSING}' OR due IS NOT NULL
        UNION ALL {_UNPUBLISHED}""",
}
_FOREIGN_CURRENCIES: Final[Mapping[Kind, str]] = {
    "orders": f"SELECT id::text, currency FROM orders WHERE currency <> '{CURRENCY}' LIMIT 1000",
    "payments": f"SELECT order_id::text, currency FROM payments WHERE currency <> '{CURRENCY}' LIMIT 1000",
}
# A tombstone without an amount is no payment for them.
_OURS: Final[Mapping[Kind, str]] = {
    "orders": f"""
        SELECT id::text, user_id::text, total,
               CASE cancel_reason WHEN '{CancelReason.PAYMENT_DECLINED}' THEN 'FAILED' ELSE status END,
               created_at, updated_at, NULL FROM orders ORDER BY 1""",
    "payments": """
        SELECT id::text, order_id::text, amount, status, created_at, updated_at, transaction_id
        FROM payments WHERE amount > 0 ORDER BY 2""",
}
# What is done about a row, in words for people
_NEW: Final = "new"
_THERE: Final = "there already"
_CHANGED: Final = "changed"
_GONE_ON: Final = "gone on there since"
_WITHOUT_MONEY: Final = frozenset(status.value for status in PaymentStatus if status.without_money)


class _Ours(NamedTuple):
    id: str
    other_id: str
    money: int
    status: str
    created_at: Any
    updated_at: Any
    transaction_id: str | None


def look_back(kind: Kind, table: OriginalTable, theirs: psycopg.Connection, ours: psycopg.Connection) -> Report:
    """What would be brought back, and what is in the way of it; nothing is changed."""
    report = Report()
    for order_id, why in ours.execute(_UNDER_WAY[kind]).fetchall():
        report.refuse(f"order {order_id}: {why}; let it come to its end first")
    for order_id, currency in ours.execute(_FOREIGN_CURRENCIES[kind]).fetchall():
        report.refuse(f"order {order_id}: its currency is {currency}, and an original service knows none")
    for page in _pages(kind, ours):
        for row, found in _beside_theirs(kind, table, theirs, page):
            try:
                report.count(_act(kind, table, row, found))
            except Unfit as why:
                report.refuse(f"order {_key(kind, row)}: {why}")
    return report


def bring_back(kind: Kind, table: OriginalTable, theirs: psycopg.Connection, ours: psycopg.Connection) -> Report:
    """Write what the original database lacks, and what has changed since; a page is one transaction there.

    `look_back` has said that nothing is in the way. What has gone on there since is left as it is.
    """
    report = Report()
    update, insert = _statements(kind, table)
    for page in _pages(kind, ours):
        with theirs.transaction():
            acts: dict[str, list[_Ours]] = {}
            for row, found in _beside_theirs(kind, table, theirs, page):
                acts.setdefault(_act(kind, table, row, found), []).append(row)
            for act, statement in ((_CHANGED, update), (_NEW, insert)):
                if rows := acts.get(act):
                    theirs.execute(statement, [list(column) for column in zip(*(row[:6] for row in rows), strict=True)])
        for act, rows in acts.items():
            report.count(act, len(rows))
    return report


def _act(kind: Kind, table: OriginalTable, row: _Ours, found: Stored | None) -> str:
    """Raises Unfit for what contradicts theirs, or has no place there."""
    if row.money > table.most:
        raise Unfit(f"its amount {row.money} is more than the original database can hold, {table.most}")
    if found is None:
        return _NEW
    if found.money != row.money:
        raise Unfit(f"it is of {found.money} there and of {row.money} here")
    if kind == "payments" and not row.transaction_id and found.status in _WITHOUT_MONEY:
        return _THERE if found.status == row.status else _GONE_ON
    if row.transaction_id and row.transaction_id != transaction_named_after(found.id) and row.id != found.id:
        raise Unfit(f"it was charged twice, there as payment {found.id} and here as payment {row.id}: give back one")
    match further(found.status, row.status):
        case Side.NEITHER:
            return _THERE
        case Side.OURS:
            return _CHANGED
        case _:
            return _GONE_ON


def _key(kind: Kind, row: _Ours) -> str:
    return (row.id, row.other_id)[KEY[kind]]


def _pages(kind: Kind, ours: psycopg.Connection) -> Iterator[list[_Ours]]:
    with ours.transaction(), ours.cursor(name="takeover") as cursor:
        cursor.execute(_OURS[kind])
        while page := cursor.fetchmany(_PAGE):
            yield [_Ours._make(row) for row in page]


def _beside_theirs(
    kind: Kind, table: OriginalTable, theirs: psycopg.Connection, page: Sequence[_Ours]
) -> list[tuple[_Ours, Stored | None]]:
    found = table.stored(theirs, [_key(kind, row) for row in page])
    return [(row, found.get(_key(kind, row))) for row in page]


def _statements(kind: Kind, table: OriginalTable) -> Sequence[sql.Composed]:
    """To change and to insert rows of u(a, b, c, d, e, f), in the order of the table's columns."""
    rows = sql.SQL(
        "unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::timestamptz[], %s::timestamptz[])"
        " AS u (a, b, c, d, e, f)"
    )
    names = [sql.Identifier(name) for name in "abcdef"]
    values = [
        sql.SQL("(u.{} AT TIME ZONE 'UTC')").format(name)
        if place >= 4 and not table.zoned[place]
        else sql.SQL("u.{}::{}").format(name, table.types[place])
        for place, name in enumerate(names)
    ]
    status, updated = table.columns[3], table.columns[5]
    update = sql.SQL("UPDATE {} t SET {} = {}, {} = {} FROM {} WHERE t.{} = {}").format(
        table.name, status, values[3], updated, values[5], rows, table.key, values[KEY[kind]]
    )
    insert = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(
        table.name, sql.SQL(", ").join(table.columns), sql.SQL(", ").join(values), rows
    )
    return update, insert
