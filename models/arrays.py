"""Write lists as PostgreSQL's array literals: a batch sends little else, and psycopg writes them slowly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


def array(values: Iterable[Any]) -> str:
    """The literal of a one-dimensional array, for a parameter with a cast: `%s::uuid[]`.

    It takes None, text, numbers, UUIDs, aware datetimes, and mappings, which become JSON. The server refuses text with
    a zero byte. PostgreSQL's manual describes the format in 8.15.2. Raises TypeError for any other value.
    """
    return "{" + ",".join(map(_element, values)) + "}"


def array_places(types: Iterable[str]) -> str:
    """The places of an `unnest` in a statement, for columns of these PostgreSQL types."""
    return ", ".join(f"%s::{name}[]" for name in types)


def arrays(rows: Iterable[Sequence[Any]]) -> list[str]:
    """The columns of these rows as `array` gives them, for `array_places`. At least one row is needed."""
    return [array(column) for column in zip(*rows, strict=True)]


def _element(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case str():
            return _quoted(value)
        case int() | UUID():
            return str(value)
        case datetime():
            return _quoted(value.isoformat())
        case Mapping():
            return _quoted(msgspec.json.encode(value).decode())
        case _:
            raise TypeError(f"{type(value).__name__} has no place in an array: {value!r}")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
