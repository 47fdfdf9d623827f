"""Search for stragglers. The input and the result are plain values that Temporal's JSON converter can carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

_BEFORE_ALL: Final = ("-infinity", "00000000-0000-0000-0000-000000000000")


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of an order in a search. `at` is ISO 8601, to the microsecond, by the database's clock."""

    at: str
    order_id: str


@dataclass(frozen=True, kw_only=True)
class Search:
    """Asks for `limit` orders at most, oldest first, after the place `after`, that are unchanged for `idle` seconds."""

    idle: float
    limit: int
    after: Place | None = None


def search_of(table: str, condition: str, *, at: str, order_id: str) -> str:
    """The statement of a search among the rows that meet this condition, given their columns for a place."""
    # now(), not clock_timestamp(): an index can only be searched for a value that is constant during the statement.
    return f"""
        SELECT {at} AS at, {order_id} AS order_id FROM {table}
        WHERE {condition} AND {at} < now() - make_interval(secs => %(idle)s)
          AND ({at}, {order_id}) > (%(at)s::timestamptz, %(order_id)s::uuid)
        ORDER BY {at}, {order_id} LIMIT %(limit)s
    """


def parameters(search: Search) -> dict[str, Any]:
    """The parameters of a search's statement: `idle`, `limit`, and `at` and `order_id`, the place to go on after."""
    at, order_id = (search.after.at, search.after.order_id) if search.after else _BEFORE_ALL
    return {"idle": search.idle, "limit": search.limit, "at": at, "order_id": order_id}


def place_of(row: Mapping[str, Any]) -> Place:
    """The place of a row that has `at` and `order_id`."""
    return Place(at=row["at"].astimezone(UTC).isoformat(timespec="microseconds"), order_id=str(row["order_id"]))
