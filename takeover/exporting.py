"""Bring the rows of a service of ours back into the database of an original one, as often as wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg import sql

from models.saga import CancelReason
from takeover.original_tables import Kind, OriginalTable
from takeover.our_tables import FOREIGN_CURRENCIES, UNDER_WAY
from takeover.report import Report

_PAGE: Final = 1000  # rows
_OURS: Final[dict[Kind, str]] = {
    "orders": f"""
        SELECT id::text, user_id::text, total,
               CASE cancel_reason WHEN '{CancelReason.PAYMENT_DECLINED}' THEN 'FAILED' ELSE status END,
               created_at, updated_at FROM orders ORDER BY 1""",
    "payments": """
        SELECT id::text, order_id::text, amount, status, created_at, updated_at
        FROM payments WHERE amount > 0 ORDER BY 2""",
}


def obstacles(kind: Kind, ours: psycopg.Connection) -> Report:
    """What is in the way of bringing everything back."""
    report = Report()
    for order_id, why in ours.execute(UNDER_WAY[kind]).fetchall():
        report.refuse(f"order {order_id}: {why}; let it come to its end first")
    for order_id, currency in ours.execute(FOREIGN_CURRENCIES[kind]).fetchall():
        report.refuse(f"order {order_id}: its currency is {currency}, and an original service knows none")
    return report


def bring_back(kind: Kind, table: OriginalTable, theirs: psycopg.Connection, ours: psycopg.Connection) -> Report:
    """Write what the original database lacks, and what has changed since; a page is one transaction there."""
    report = Report()
    update, insert = _statements(kind, table)
    with ours.transaction(), ours.cursor(name="takeover") as cursor:
        cursor.execute(_OURS[kind])
        while page := cursor.fetchmany(_PAGE):
            columns: list[list[Any]] = [list(column) for column in zip(*page, strict=True)]
            with theirs.transaction():
                changed = theirs.execute(update, columns).rowcount
                new = theirs.execute(insert, columns).rowcount
            report.count("changed", changed)
            report.count("new", new)
            report.count("there already", len(page) - changed - new)
    return report


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
    key = 0 if kind == "orders" else 1
    same = sql.SQL("t.{}::text = u.{}").format(table.columns[key], names[key])
    status, updated = table.columns[3], table.columns[5]
    update = sql.SQL("UPDATE {} t SET {} = {}, {} = {} FROM {} WHERE {} AND t.{}::text <> u.d").format(
        table.name, status, values[3], updated, values[5], rows, same, status
    )
    insert = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} WHERE NOT EXISTS (SELECT FROM {} t WHERE {})").format(
        table.name, sql.SQL(", ").join(table.columns), sql.SQL(", ").join(values), rows, table.name, same
    )
    return update, insert
