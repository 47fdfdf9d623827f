"""The writes of one batch: statements for a book, its totals, the event log and the outbox, sent as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncCursor

from activities.book import Book, State
from models.arrays import array_places, arrays
from models.database import Connection
from models.event_log import LOGGED, logged_row
from models.messages import Envelope


@dataclass(frozen=True, slots=True)
class Write:
    """A statement that changes data. Other statements that are sent with it refer to its results by `name`."""

    name: str
    sql: str
    params: Sequence[Any]


async def together(connection: Connection, *writes: Write | None) -> AsyncCursor[tuple[Any, ...]] | None:
    """Send these writes as one statement. Returns the results of the last one, or None if there are no writes.

    For a lone message, the number of statements is most of the cost. No two writes may change the same row. A write
    that uses another's results must come after it. PostgreSQL runs independent writes from the last to the first,
    although it doesn't promise to.
    """
    present = [write for write in writes if write is not None]
    if not present:
        return None
    *ahead, last = present
    named = ", ".join(f"{write.name} AS ({write.sql})" for write in ahead)
    params = [param for write in present for param in write.params]
    return await connection.execute(f"WITH {named} {last.sql}" if ahead else last.sql, params)


def inserted(book: Book[State], states: Sequence[State], now: datetime) -> Write | None:
    """Insert new rows of the book."""
    if not states:
        return None
    return Write(
        "inserted",
        f"INSERT INTO {book.table} ({', '.join(book.columns)}, created_at, updated_at) "
        f"SELECT u.*, %s, %s FROM unnest({array_places(book.columns.values())}) u",
        [now, now, *arrays(map(book.dump, states))],
    )


def updated(book: Book[State], states: Sequence[State], now: datetime) -> Write | None:
    """Update changed rows of the book."""
    if not states:
        return None
    names = (book.key, *book.mutable)
    assignments = ", ".join(f"{name} = u.{name}" for name in book.mutable)
    return Write(
        "updated",
        f"UPDATE {book.table} t SET {assignments}, updated_at = %s, changes = t.changes + 1 "
        f"FROM unnest({array_places(book.columns[name] for name in names)}) u({', '.join(names)}) "
        f"WHERE t.{book.key} = u.{book.key}",
        [now, *arrays(map(book.changes, states))],
    )


def tallied(book: Book[State], changes: Iterable[tuple[State | None, State]]) -> Write | None:
    """Add the changes to the totals. A change leads from a state, or from None, to another state."""
    counts: Counter[tuple[str, ...]] = Counter()
    amounts: Counter[tuple[str, ...]] = Counter()
    for before, after in changes:
        for state, sign in ((before, -1), (after, 1)):
            if state is not None:
                group, amount = book.tally(state)
                counts[group] += sign
                amounts[group] += sign * amount
    groups = sorted(group for group in counts if counts[group] or amounts[group])
    if not groups:
        return None
    by = ", ".join(book.totals_by)
    # Each connection has a shard, so writers seldom wait for each other's commit.
    return Write(
        "tallied",
        f"INSERT INTO {book.totals} (shard, {by}, count, amount) SELECT pg_backend_pid() %% 64, u.* "
        f"FROM unnest({array_places([*('text' for _ in book.totals_by), 'bigint', 'bigint'])}) u "
        f"ON CONFLICT (shard, {by}) DO UPDATE SET count = {book.totals}.count + excluded.count, "
        f"amount = {book.totals}.amount + excluded.amount",
        arrays([*group, counts[group], amounts[group]] for group in groups),
    )


def logged(events: Sequence[Envelope], order_ids: Sequence[UUID], attempts: Sequence[int | None]) -> Write | None:
    """Append events to the event log, in this order."""
    if not events:
        return None
    return Write(
        "logged",
        f"INSERT INTO event_log ({', '.join(LOGGED)}) SELECT u.* FROM unnest({array_places(LOGGED.values())}) u"
        " RETURNING seq, order_id",
        arrays(map(logged_row, events, order_ids, attempts)),
    )


def outboxed(events: Sequence[Envelope], deferred: Sequence[UUID]) -> Write | None:
    """Put the events that were just `logged` into the outbox. The relay publishes those of `deferred` orders."""
    if not events:
        return None
    return Write(
        "outboxed",
        "INSERT INTO outbox (seq, order_id, deferred) SELECT seq, order_id, order_id = ANY(%s) FROM logged"
        " RETURNING seq, deferred",
        [deferred],
    )
