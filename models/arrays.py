"""Write lists as PostgreSQL's array literals: what a batch sends is mostly this, and psycopg takes its time over it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


def array(values: Iterable[Any]) -> str:
    """The literal of a one-dimensional array, for a parameter with a cast: `%s::uuid[]`.

    Takes None, text, numbers, UUIDs, aware datetimes, and mappings as JSON. Text with a zero byte is refused by the
    server, as ever. Format: PostgreSQL's manual, 8.15.2.
    """
    return "{" + ",".join(map(_element, values)) + "}"


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
