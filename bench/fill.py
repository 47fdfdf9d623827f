"""Fill the tables with orders that ended long ago, as if sagas had left them there: rows, event logs, books, totals."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any, Final
from uuid import UUID

import psycopg
from sqlmodel import SQLModel

from bench.sql import insert
from models.lifecycle import OrderStatus, PaymentStatus
from models.message_types import EventType
from models.outcome import Charged, Declined
from models.saga import CancelReason
from models.tables import OrderEventRow, OrderRow, PaymentEventRow, PaymentRow, ProviderChargeRow

_AT_ONCE: Final = 100_000  # orders a transaction
_APART: Final = timedelta(seconds=2)  # from one order to the next
_USERS: Final = 50_000
# The first thousand orders are fifty users' own: those have as many however full the tables are.
_FIRST: Final = 1_000
_FIRST_USERS: Final = 50

# One row a number: when and what it was, who bought, and how it ended. One in five is declined.
_SAGAS: Final = f"""
    SELECT n, t, lpad(to_hex(floor(extract(epoch FROM t) * 1000)::bigint), 12, '0') AS at,
           '8000' || lpad(to_hex(n), 12, '0') AS tail,
           md5('user ' || CASE WHEN n <= {_FIRST} THEN mod(n, {_FIRST_USERS})
                          ELSE {_FIRST_USERS} + mod(n, {_USERS}) END)::uuid AS user_id,
           100 + mod(n * 7919, 100000) AS total, mod(n, 5) = 0 AS declined
    FROM (SELECT n, %(since)s::timestamptz + n * %(apart)s::interval AS t
          FROM generate_series(%(first)s::bigint, %(last)s::bigint) n) numbers
"""

# Ids of UUID version 7 by their layout: the time, the version with a kind, the variant with the number.
_ORDER_ID: Final = "(at || '7000' || tail)::uuid"
_PAYMENT_ID: Final = "(at || '7001' || tail)::uuid"
_COMMAND_ID: Final = "(at || '7c00' || tail)::uuid"
_CREATED_ID: Final = "(at || '7c01' || tail)::uuid"
_SETTLED_ID: Final = "(at || '7c02' || tail)::uuid"
_ENDED_ID: Final = "(at || '7c03' || tail)::uuid"
_ENDED_AT: Final = "(t + interval '20 ms')"
_TRANSACTION: Final = "CASE WHEN NOT declined THEN 'txn_' || at || '7001' || tail END"
_REASON: Final = "CASE WHEN declined THEN 'Insufficient funds' END"
_TOTALS: Final = (
    "INSERT INTO {table} AS known (shard, {by}, count, amount)"
    " SELECT 0, {status}{currency}, count(*), sum(total)"
    " FROM ({sagas}) s GROUP BY declined ON CONFLICT (shard, {by})"
    " DO UPDATE SET count = known.count + excluded.count, amount = known.amount + excluded.amount"
)


def _either(declined: str, otherwise: str) -> str:
    """SQL with one value for declined orders and another for the rest."""
    return f"CASE WHEN declined THEN '{declined}' ELSE '{otherwise}' END"


def _payload(order_id: str, **others: str) -> str:
    """SQL for the payload of an event, by the names of its fields on the wire."""
    return (
        f"jsonb_build_object('orderId', {order_id}"
        + "".join(f", '{name}', {sql}" for name, sql in others.items())
        + ")"
    )


def _event(row: type[SQLModel], event_id: str, event_type: str, at: str, cause: str, payload: str) -> str:
    """INSERT of one event a saga, in the order of the sagas."""
    values = {
        "event_id": event_id,
        "order_id": _ORDER_ID,
        "event_type": event_type,
        "occurred_at": at,
        "correlation_id": "'fill-' || n",
        "causation_id": cause,
        "payload": payload,
    }
    return insert(row, values, source=f"FROM ({_SAGAS}) s ORDER BY n")


_ORDER_STATUS: Final = _either(OrderStatus.CANCELLED, OrderStatus.PAID)
_PAYMENT_STATUS: Final = _either(PaymentStatus.DECLINED, PaymentStatus.APPROVED)
_CANCELLED: Final = f"CASE WHEN declined THEN '{CancelReason.PAYMENT_DECLINED}' END"
_ORDERS: Final[Sequence[str]] = (
    insert(
        OrderRow,
        {
            "id": _ORDER_ID,
            "user_id": "user_id",
            "total": "total",
            "status": _ORDER_STATUS,
            "cancel_reason": _CANCELLED,
            "created_at": "t",
            "changes": "2",
            "updated_at": _ENDED_AT,
            "payment_method": "NULL",
        },
        source=f"FROM ({_SAGAS}) s",
    ),
    _event(
        OrderEventRow,
        _CREATED_ID,
        f"'{EventType.ORDER_CREATED}'",
        "t",
        _COMMAND_ID,
        _payload(_ORDER_ID, userId="user_id", total="total", currency="'USD'"),
    ),
    _event(
        OrderEventRow,
        _ENDED_ID,
        _either(EventType.ORDER_CANCELLED, EventType.ORDER_PAID),
        _ENDED_AT,
        _SETTLED_ID,
        f"CASE WHEN declined THEN "
        f"{_payload(_ORDER_ID, reason=_CANCELLED, total='total', cancelledAt=_ENDED_AT)}"
        f" ELSE {_payload(_ORDER_ID)} END",
    ),
    _TOTALS.format(table="order_totals", by="status", status=_ORDER_STATUS, currency="", sagas=_SAGAS),
)
_PAYMENTS: Final[Sequence[str]] = (
    insert(
        PaymentRow,
        {
            "id": _PAYMENT_ID,
            "order_id": _ORDER_ID,
            "amount": "total",
            "status": _PAYMENT_STATUS,
            "due": "NULL",
            "transaction_id": _TRANSACTION,
            "reason": _REASON,
            "created_at": "t + interval '5 ms'",
            "changes": "2",
            "updated_at": "t + interval '12 ms'",
            "payment_method": "NULL",
        },
        source=f"FROM ({_SAGAS}) s",
    ),
    insert(
        ProviderChargeRow,
        {
            "payment_id": _PAYMENT_ID,
            "amount": "total",
            "outcome": _either(Declined.__name__, Charged.__name__),
            "transaction_id": _TRANSACTION,
            "reason": _REASON,
            "captured": "CASE WHEN declined THEN 0 ELSE total END",
            "refunded": "0",
            "updated_at": "t + interval '10 ms'",
        },
        source=f"FROM ({_SAGAS}) s",
    ),
    _event(
        PaymentEventRow,
        _SETTLED_ID,
        _either(EventType.PAYMENT_DECLINED, EventType.PAYMENT_APPROVED),
        "t + interval '12 ms'",
        _CREATED_ID,
        f"CASE WHEN declined THEN {_payload(_ORDER_ID, reason=_REASON)}"
        f" ELSE {_payload(_ORDER_ID, transactionId=_TRANSACTION)} END",
    ),
    _TOTALS.format(
        table="payment_sums", by="status, currency", status=_PAYMENT_STATUS, currency=", 'USD'", sagas=_SAGAS
    ),
)
_COUNTED: Final = "SELECT coalesce(sum(count), 0)::bigint FROM order_totals"
_SIZE: Final = "SELECT pg_database_size(current_database())"
_CONSISTENT: Final = (
    "SELECT NOT EXISTS (SELECT status, count(*), sum({amount}) FROM {table} GROUP BY status"
    " EXCEPT SELECT status, sum(count), sum(amount) FROM {totals} GROUP BY status)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Filled:
    """An order of the filling, and its user, who has `_FIRST / _FIRST_USERS` orders at any size."""

    order_id: UUID
    user_id: UUID


class Fill:
    """Fills the databases of one stack, which nobody uses meanwhile; the arguments are their URLs."""

    def __init__(self, orders: str, payments: str) -> None:
        self._orders = orders
        self._payments = payments
        self._since = datetime.now(UTC).replace(microsecond=0) - timedelta(days=30)
        self._filled = 0

    async def up_to(self, size: int) -> Filled:
        """Add orders until there are `size` of them. Raises ValueError if there are more already."""
        (there,) = await _row(self._orders, _COUNTED)
        if there > size:
            raise ValueError(f"There are {there} orders already, more than the {size} that are wanted")
        missing = size - there
        await asyncio.gather(
            self._add(self._orders, _ORDERS, missing),
            self._add(self._payments, _PAYMENTS, missing),
        )
        self._filled += missing
        return self._first()

    async def consistent(self) -> bool:
        """Whether the totals of both services equal the counts of their rows."""
        (orders,) = await _row(self._orders, _CONSISTENT.format(table="orders", amount="total", totals="order_totals"))
        (payments,) = await _row(
            self._payments, _CONSISTENT.format(table="payments", amount="amount", totals="payment_sums")
        )
        return bool(orders and payments)

    async def stored_bytes(self) -> int:
        """The bytes of both databases on disk, with indexes and without the write-ahead log."""
        ((orders,), (payments,)) = await asyncio.gather(_row(self._orders, _SIZE), _row(self._payments, _SIZE))
        return int(orders + payments)

    async def _add(self, url: str, statements: Sequence[str], number: int) -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            for start in range(0, number, _AT_ONCE):
                first = self._filled + start + 1
                last = self._filled + min(start + _AT_ONCE, number)
                params = {"since": self._since, "apart": _APART, "first": first, "last": last}
                async with connection.transaction():
                    for statement in statements:
                        await connection.execute(statement, params)
            if number:
                await connection.execute("VACUUM (ANALYZE)")

    def _first(self) -> Filled:
        at = self._since + _APART
        milliseconds = int(at.timestamp() * 1000)
        return Filled(
            order_id=UUID(f"{milliseconds:012x}7000" + f"8000{1:012x}"),
            user_id=UUID(md5(b"user 1", usedforsecurity=False).hexdigest()),
        )


async def _row(url: str, sql: str) -> tuple[Any, ...]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        cursor = await connection.execute(sql)
        row = await cursor.fetchone()
        return row or ()
