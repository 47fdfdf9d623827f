"""Read off the class of a table which columns it has, and of which types: nobody else lists them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql
from sqlmodel import SQLModel


def columns_of(table: type[SQLModel], *, but: tuple[str, ...] = ()) -> Mapping[str, str]:
    """Name to PostgreSQL type, in the order of their declaration, without those named in `but`."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    columns = inspect(table).local_table.columns
    return {each.name: each.type.compile(dialect).lower() for each in columns if each.name not in but}
