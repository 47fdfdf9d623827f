"""Measure how much of the write-ahead log each database has caused, record by record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bench.own_stack import Superuser

SHARED: Final = "commits, and what is not these databases'"
_DATABASES: Final = ["orders", "payments"]

# A record that touches several pages has a row for each of them. Records without pages, commits above all, have none.
_BY_DATABASE: Final = (
    "SELECT d.datname, sum(w.record_length)::bigint FROM ("
    " SELECT DISTINCT start_lsn, reldatabase, record_length FROM pg_get_wal_block_info(%s::pg_lsn, %s::pg_lsn, false)"
    ") w JOIN pg_database d ON d.oid = w.reldatabase WHERE d.datname = ANY(%s) GROUP BY d.datname"
)


class WriteAheadLog:
    """The log of one server, read by a superuser."""

    def __init__(self, connection: Superuser) -> None:
        self._connection = connection

    async def end(self) -> str:
        """The present end of the log."""
        await self._connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
        cursor = await self._connection.execute("SELECT pg_current_wal_flush_lsn()::text")
        row = await cursor.fetchone()
        return str(row[0]) if row else ""

    async def checkpoint(self) -> None:
        """Make a checkpoint, so that the next measurement doesn't pay for earlier writes."""
        await self._connection.execute("CHECKPOINT")

    async def bytes_since(self, start: str) -> Mapping[str, int]:
        """The bytes since `start` by database, and the rest. Together they are the growth of the log."""
        end = await self.end()
        cursor = await self._connection.execute("SELECT (%s::pg_lsn - %s::pg_lsn)::bigint", [end, start])
        row = await cursor.fetchone()
        grown = int(row[0]) if row else 0
        if not grown:
            return {SHARED: 0}
        cursor = await self._connection.execute(_BY_DATABASE, [start, end, _DATABASES])
        found = {str(name): int(size) for name, size in await cursor.fetchall()}
        return {**found, SHARED: grown - sum(found.values())}
