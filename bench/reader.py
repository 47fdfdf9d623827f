"""One connection to a database for reading, made anew when the server has been away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import psycopg
from psycopg.rows import tuple_row

Row: TypeAlias = tuple[Any, ...]

_CONNECT: Final = 2  # seconds
_PAUSE: Final = 0.1  # seconds
_AWAY: Final = 60.0  # seconds that a server may be away


class Reader:
    """Reads, one statement at a time, each in a transaction of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = asyncio.Lock()
        self._connection: psycopg.AsyncConnection[Row] | None = None

    async def read(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """The rows; waits for a server that is away. Raises psycopg.OperationalError after a minute of that."""
        deadline = time.monotonic() + _AWAY
        async with self._lock:
            while True:
                try:
                    return await self._read(sql, params)
                except psycopg.OperationalError:
                    await self._hang_up()
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(_PAUSE)

    async def _read(self, sql: str, params: Sequence[Any]) -> list[Row]:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, row_factory=tuple_row, connect_timeout=_CONNECT, application_name="bench"
            )
        cursor = await self._connection.execute(sql, params)
        return await cursor.fetchall()

    async def _hang_up(self) -> None:
        if self._connection is not None:
            await self._connection.close()
        self._connection = None

    async def close(self) -> None:
        await self._hang_up()
