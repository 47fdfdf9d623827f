"""Read the columns of a table and their types from its class, so that nobody lists them a second time."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql
from sqlmodel import SQLModel


def columns_of(table: type[SQLModel], *, but: tuple[str, ...] = ()) -> Mapping[str, str]:
    """The columns' PostgreSQL types by name, in the order of their declaration, without the columns named in `but`."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    columns = inspect(table).local_table.columns
    return {each.name: each.type.compile(dialect).lower() for each in columns if each.name not in but}
