"""Read every order from all four databases side by side, and check what they have of it together."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import sql

from embedded.errors import StackError
from models.saga import CancelReason
from takeover.connections import Ends, connected, first_line
from takeover.cross_check import CrossCheck, OrderSide, PaymentSide, Saga
from takeover.original_tables import Kind, OriginalTable
from takeover.our_tables import CURRENCY, has_table

_PAUSE: Final = 1.0  # seconds before what looks wrong is read again
_PAGE: Final = 1000  # rows
_OURS: Final[Mapping[Kind, sql.SQL]] = {
    "orders": sql.SQL(
        "SELECT id::text, total, currency,"
        f" CASE cancel_reason WHEN '{CancelReason.PAYMENT_DECLINED}' THEN 'FAILED' ELSE status END"
        " FROM orders ORDER BY id"
    ),
    "payments": sql.SQL(
        "SELECT order_id::text, id::text, amount, status, due, transaction_id FROM payments"
        " WHERE amount > 0 ORDER BY order_id"
    ),
}
_Told: TypeAlias = tuple[str, OrderSide | PaymentSide]  # by the order's id


def check(ends: Mapping[Kind, Ends]) -> CrossCheck:
    """The sums over all databases, and what is wrong; nothing is changed. What looks wrong is read twice.

    Raises StackError: a database does not answer, or is none of an original service.
    """
    try:
        first = _read(ends)
        if first.holds:
            return first
        time.sleep(_PAUSE)
        second = _read(ends)
    except psycopg.Error as error:
        raise StackError(f"PostgreSQL refused: {first_line(error)}") from None
    second.keep(first)
    return second


def _read(ends: Mapping[Kind, Ends]) -> CrossCheck:
    found = CrossCheck()
    with ExitStack() as stack:
        streams = []
        for kind in ends:
            theirs = stack.enter_context(connected(ends[kind].theirs, "theirs"))
            ours = stack.enter_context(connected(ends[kind].ours, "ours"))
            streams += [_theirs(kind, theirs), _ours(kind, ours)]
        # In the order of the streams, so that an order's payments are read after the order.
        for order_id, told in groupby(heapq.merge(*streams, key=itemgetter(0)), key=itemgetter(0)):
            sides = [side for _, side in told]
            orders = [side for side in sides if isinstance(side, OrderSide)]
            found.add(Saga(order_id, orders, [side for side in sides if isinstance(side, PaymentSide)]))
    return found


def _theirs(kind: Kind, connection: psycopg.Connection) -> Iterator[_Told]:
    with connection.transaction():
        table = OriginalTable.find(connection, kind)
        for key, id_, money, status in _rows(connection, table.sides()):
            if kind == "orders":
                yield key, OrderSide(False, int(money), CURRENCY, status)
            else:
                yield key, PaymentSide(False, id_, int(money), status)


def _ours(kind: Kind, connection: psycopg.Connection) -> Iterator[_Told]:
    if not has_table(kind, connection):
        return  # our service has not replaced the original one yet
    with connection.transaction():
        for key, *columns in _rows(connection, _OURS[kind]):
            yield key, OrderSide(True, *columns) if kind == "orders" else PaymentSide(True, *columns)


def _rows(connection: psycopg.Connection, statement: sql.SQL | sql.Composed) -> Iterator[tuple[Any, ...]]:
    with connection.cursor(name="check") as cursor:
        cursor.execute(statement)
        while page := cursor.fetchmany(_PAGE):
            yield from page
