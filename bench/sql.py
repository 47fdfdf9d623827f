"""Write the INSERTs of the measurements from the services' own tables, so that no column is listed a second time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable
from sqlmodel import SQLModel

from models.columns import columns_of
from models.saga import Coordinator

_NUMBERED: Final = ("seq",)  # by the database
# The same in every row that has the column: the sagas of the measurements are alike in these.
_ALIKE: Final[Mapping[str, str]] = {
    "currency": "'USD'",
    "coordinator": f"'{Coordinator.CHOREOGRAPHY}'",
    "traceparent": "NULL",
    "attempt": "1",
}


def insert(row: type[SQLModel], values: Mapping[str, str], *, table: str | None = None, source: str = "") -> str:
    """INSERT INTO the table of these rows, or another one like it, what `values` has for each column.

    What all rows have alike need not be given. Raises ValueError for another column without value, and for a value
    without column. `source` is the rest of the SELECT.
    """
    names = [*columns_of(row, but=_NUMBERED)]
    values = {name: value for name, value in _ALIKE.items() if name in names} | dict(values)
    if {*names} != {*values}:
        raise ValueError(f"{row.__name__} has the columns {sorted(names)}, and values are given for {sorted(values)}")
    given = ", ".join(values[name] for name in names)
    return f"INSERT INTO {table or row.__tablename__} ({', '.join(names)}) SELECT {given} {source}".rstrip()


def create(row: type[SQLModel], *, table: str | None = None) -> str:
    """CREATE TABLE for these rows under its own or another name, with no index but those that keep them apart."""
    known = row.metadata.tables[str(row.__tablename__)]
    twin = known.to_metadata(MetaData(), name=table or known.name)
    return str(CreateTable(twin).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
