"""Remove old events of sagas that are over, and old Idempotency-Keys."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog

from activities.book import Book
from models.conditions import ORDER_OVER, PAYMENT_SETTLED
from models.database import TRANSIENT, Connection, Database, is_leader

log = structlog.get_logger()

_LEADER: Final = 0x5A6C  # advisory lock: one instance removes at a time, any number may stand by
_PAGE: Final = 500  # events that one transaction looks at
_BLOCKS: Final = 64  # blocks of the table of keys that one transaction looks at: some thousand keys
_RETRY: Final = 60.0  # seconds before the next try when the database was away

# Nothing is outstanding in this service for such a row. It changes again only if a message arrives.
_OVER: Final[Mapping[str, str]] = {"orders": ORDER_OVER, "payments": PAYMENT_SETTLED}
_EVENTS: Final = """
    SELECT seq, order_id, occurred_at < now() - make_interval(secs => %s) FROM event_log
    WHERE seq > %s ORDER BY seq LIMIT %s
"""
# Remove all of an order's events or none. Events that are still to be published stay.
_REMOVE: Final = """
    WITH removed AS (
        DELETE FROM event_log e WHERE e.order_id = ANY(%s)
            AND NOT EXISTS (SELECT FROM outbox o WHERE o.order_id = e.order_id)
        RETURNING e.order_id
    )
    SELECT order_id, count(*) FROM removed GROUP BY order_id
"""
_NOTE: Final = """
    INSERT INTO removed_events AS r (id, until, events) VALUES (1, %s, %s)
    ON CONFLICT (id) DO UPDATE SET until = greatest(r.until, excluded.until), events = r.events + excluded.events
"""
_BLOCK_COUNT: Final = "SELECT pg_relation_size('idempotency_keys') / current_setting('block_size')::bigint AS blocks"
# Keys are found by their place in the table: a sweep reads each block once, and no index is needed.
_REMOVE_KEYS: Final = """
    WITH removed AS (
        DELETE FROM idempotency_keys
        WHERE ctid >= %s::tid AND ctid < %s::tid AND created_at < now() - make_interval(secs => %s)
        RETURNING 1
    )
    SELECT count(*) FROM removed
"""


@dataclass(frozen=True, kw_only=True)
class Removal:
    """How much a sweep removed."""

    events: int
    keys: int


class Retention:
    """Sweeps one service's database every `interval` seconds.

    `events`: how many seconds events are kept after the last change of their saga in this service. `keys`: how many
    seconds an Idempotency-Key is kept. None keeps them for good. All ages are by the database's clock.
    """

    def __init__(
        self,
        database: Database,
        book: Book[Any],
        *,
        events: float | None = None,
        keys: float | None = None,
        interval: float = 3600.0,
    ) -> None:
        self._database = database
        self._book = book
        self._events = events
        self._keys = keys
        self._interval = interval

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            pause = self._interval
            try:
                await self.sweep()
            except TRANSIENT as error:
                log.warning("retention_waits_for_database", table=self._book.table, error=str(error))
                pause = min(pause, _RETRY)
            await asyncio.sleep(pause)

    async def sweep(self) -> Removal:
        """Remove all that is old enough, one transaction a batch. Rows that others have locked are left for later.

        If another instance sweeps, this one removes nothing. Raises one of TRANSIENT if the database goes away. Earlier
        batches stay removed.
        """
        events = await self._remove_events(self._events) if self._events is not None else 0
        keys = await self._remove_keys(self._keys) if self._keys is not None else 0
        return Removal(events=events, keys=keys)

    async def _remove_events(self, keep: float) -> int:
        """Remove events from the oldest on, until no page has one that is old enough."""
        count, after = 0, 0
        try:
            while True:
                removed, last = await self._remove_page(keep, after)
                count += removed
                if last is None:
                    return count
                after = last
        finally:
            if count:
                log.info("events_removed", table=self._book.table, events=count)

    async def _remove_page(self, keep: float, after: int) -> tuple[int, int | None]:
        """The number of removed events, and the place in the log to go on from; None: there is no more to look at."""
        # This need not wait for the disk: a crash undoes the removal and its note together.
        async with self._database.transaction(wait_for_disk=False) as connection:
            leads = await is_leader(connection, _LEADER)
            cursor = await connection.execute(_EVENTS, [keep, after, _PAGE])
            page = await cursor.fetchall()
            if not leads or not any(old for _, _, old in page):
                return 0, None
            count = await self._remove(connection, keep, sorted({order_id for _, order_id, old in page if old}))
        return count, page[-1][0] if len(page) == _PAGE else None

    async def _remove(self, connection: Connection, keep: float, order_ids: list[UUID]) -> int:
        key, table = self._book.key, self._book.table
        # The locks prevent that a cancellation of a PAID order logs its event in between.
        cursor = await connection.execute(
            f"SELECT {key}, updated_at FROM {table} WHERE {key} = ANY(%s) AND {_OVER[table]}"
            f" AND updated_at < now() - make_interval(secs => %s) ORDER BY {key} FOR UPDATE SKIP LOCKED",
            [order_ids, keep],
        )
        last_changes: dict[UUID, datetime] = dict(await cursor.fetchall())
        # A statement of its own: it must see what others committed before the rows were locked.
        cursor = await connection.execute(_REMOVE, [list(last_changes)])
        removed: dict[UUID, int] = dict(await cursor.fetchall())
        count = sum(removed.values())
        if count:
            await connection.execute(_NOTE, [max(last_changes[order_id] for order_id in removed), count])
        return count

    async def _remove_keys(self, keep: float) -> int:
        ((blocks,),) = [row.values() for row in await self._database.query(_BLOCK_COUNT)]
        count = 0
        try:
            for block in range(0, blocks, _BLOCKS):
                async with self._database.transaction(wait_for_disk=False) as connection:
                    if not await is_leader(connection, _LEADER):
                        return count
                    cursor = await connection.execute(_REMOVE_KEYS, [f"({block},0)", f"({block + _BLOCKS},0)", keep])
                    ((removed,),) = await cursor.fetchall()
                count += removed
            return count
        finally:
            if count:
                log.info("idempotency_keys_removed", keys=count)
