"""Find the tables of an original service's database, whatever it calls them, and read their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from uuid import UUID

import psycopg
from psycopg import sql

from embedded.errors import StackError
from models.lifecycle import OrderStatus, PaymentStatus
from models.money import MAX_TOTAL

Kind: TypeAlias = Literal["orders", "payments"]

# Their README names these fields. A column is found by its letters: userId, user_id and USERID are one.
FIELDS: Final[Mapping[Kind, Sequence[str]]] = {
    "orders": ("id", "userid", "total", "status", "createdat", "updatedat"),
    "payments": ("id", "orderid", "amount", "status", "createdat", "updatedat"),
}
KEY: Final[Mapping[Kind, int]] = {"orders": 0, "payments": 1}  # the place of the order's id among them
_COLUMNS: Final = """
    SELECT c.table_schema, c.table_name, c.column_name, c.udt_schema, c.udt_name
    FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
    WHERE t.table_type = 'BASE TABLE' AND c.table_schema NOT IN ('pg_catalog', 'information_schema')
    ORDER BY 1, 2, c.ordinal_position"""
_OTHERS: Final = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
      AND coalesce(backend_type, 'client backend') = 'client backend'"""  # other users' backends tell us no type
_PAGE: Final = 1000  # rows
_LARGEST: Final = {"int2": 2**15 - 1, "int4": 2**31 - 1}
_STATUSES: Final[Mapping[Kind, frozenset[str]]] = {
    "orders": frozenset(OrderStatus),
    "payments": frozenset(PaymentStatus),
}
UNDER_WAY: Final = frozenset({OrderStatus.PENDING_PAYMENT.value, PaymentStatus.PROCESSING.value})


class Row(NamedTuple):
    """An order (`other_id` is its user) or a payment (`other_id` is its order); `money` is in minor units."""

    id: UUID
    other_id: UUID
    money: int
    status: str
    created_at: datetime
    updated_at: datetime


class Stored(NamedTuple):
    """What of a row is compared with ours before that is brought back."""

    id: str
    money: int
    status: str


class Unfit(ValueError):
    """A row that cannot be taken over: which one, and why."""


@dataclass(frozen=True, kw_only=True)
class OriginalTable:
    """The table of a kind in an original service's database."""

    kind: Kind
    name: sql.Identifier
    columns: Sequence[sql.Identifier]  # in the order of FIELDS
    types: Sequence[sql.Identifier]
    zoned: Sequence[bool]  # whether a column of time knows its offset from UTC
    most: int  # the largest amount that it can hold

    @classmethod
    def find(cls, connection: psycopg.Connection, kind: Kind) -> OriginalTable:
        """Raises StackError unless there is exactly one table with all the columns."""
        tables: dict[tuple[str, str], dict[str, tuple[str, str, str]]] = {}
        for schema, table, column, udt_schema, udt in connection.execute(_COLUMNS).fetchall():
            letters = column.replace("_", "").lower()
            tables.setdefault((schema, table), {})[letters] = (column, udt_schema, udt)
        wanted = FIELDS[kind]
        found = [(name, columns) for name, columns in tables.items() if columns.keys() >= {*wanted}]
        if len(found) != 1:
            names = ", ".join(f"{schema}.{table}" for (schema, table), _ in found) or "none"
            raise StackError(
                f"The original database must have one table with the columns {', '.join(wanted)}; it has {names}. "
                f"Check SAGA_ORIGINAL_{kind.upper()}_DATABASE_URL"
            )
        (name, columns), *_ = found
        return cls(
            kind=kind,
            name=sql.Identifier(*name),
            columns=[sql.Identifier(columns[field][0]) for field in wanted],
            types=[sql.Identifier(columns[field][1], columns[field][2]) for field in wanted],
            zoned=[columns[field][2] == "timestamptz" for field in wanted],
            most=_LARGEST.get(columns[wanted[2]][2], MAX_TOTAL),
        )

    @property
    def key(self) -> sql.Identifier:
        """The column with the order's id, of which there is one row."""
        return self.columns[KEY[self.kind]]

    @property
    def key_type(self) -> sql.Identifier:
        return self.types[KEY[self.kind]]

    def rows(self, connection: psycopg.Connection) -> Iterator[Row | Unfit]:
        """Every row in the order of the ids; Unfit instead of one that cannot be taken over."""
        statement = sql.SQL("SELECT {} FROM {} ORDER BY 1").format(self._selected(), self.name)
        with connection.cursor(name="takeover") as cursor:
            cursor.execute(statement)
            while page := cursor.fetchmany(_PAGE):
                for values in page:
                    try:
                        yield _row(self.kind, values)
                    except (ValueError, TypeError) as error:
                        yield Unfit(f"{self.kind} {values[0]}: {error}")

    def stored(self, connection: psycopg.Connection, order_ids: Sequence[str]) -> dict[str, Stored]:
        """The rows of these orders, by the order's id."""
        id_, _, money, status, _, _ = self.columns
        statement = sql.SQL("SELECT {}::text, {}::text, {}::numeric, {}::text FROM {} WHERE {} = ANY(%s::text[]::{}[])")
        wanted = statement.format(self.key, id_, money, status, self.name, self.key, self.key_type)
        found = connection.execute(wanted, [list(order_ids)]).fetchall()
        return {key: Stored(*columns) for key, *columns in found}

    def sides(self) -> sql.Composed:
        """The statement that selects the order's id, the row's id, the amount and the status, by the order's id."""
        id_, _, money, status, _, _ = self.columns
        statement = sql.SQL('SELECT {}::text, {}::text, {}::numeric, {}::text FROM {} ORDER BY {}::text COLLATE "C"')
        return statement.format(self.key, id_, money, status, self.name, self.key)

    def _selected(self) -> sql.Composable:
        id_, other, money, status, created, updated = self.columns
        texts = [sql.SQL("{}::text").format(column) for column in (id_, other)]
        return sql.SQL(", ").join([*texts, sql.SQL("{}::numeric").format(money), _text(status), created, updated])


def other_sessions(connection: psycopg.Connection) -> int:
    """How many others are connected to this database: a service that runs is."""
    row = connection.execute(_OTHERS).fetchone()
    return int(row[0]) if row else 0


def _text(column: sql.Identifier) -> sql.Composable:
    return sql.SQL("{}::text").format(column)


def _row(kind: Kind, values: Sequence[Any]) -> Row:
    id_, other, money, status, created_at, updated_at = values
    if status not in _STATUSES[kind]:
        raise ValueError(f"its status {status} is none that we know")
    if status in UNDER_WAY:
        raise ValueError(f"it is {status}: let it come to its end, or cancel its order, first")
    for each in (id_, other):
        if str(UUID(each)) != each:
            raise ValueError(f"its id {each} is not in the form of {UUID(each)}")
    return Row(UUID(id_), UUID(other), _minor_units(money), status, _utc(created_at), _utc(updated_at))


def _minor_units(money: Decimal) -> int:
    if money != money.to_integral_value() or not 1 <= money <= MAX_TOTAL:
        raise ValueError(f"its amount {money} is not a whole number of minor units from 1 to {MAX_TOTAL}")
    return int(money)


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
