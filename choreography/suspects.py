"""Find a message that ends every process that handles it, without blaming any other message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, Final, TypeVar

import structlog

from models.database import TRANSIENT, Connection, Database

log = structlog.get_logger()

Result = TypeVar("Result")

# RabbitMQ counts each return of a message, whatever the reason. A message with more returns than these is a suspect.
SUSPECTED_AFTER: Final = 10
# A suspect becomes a dead letter when this many processes have ended while they handled it and no other suspect.
MOST_DEATHS: Final = 10

_LOCK: Final = 0x5A6D  # advisory lock: suspects that have a note already are handled one at a time
_LONGEST_PAUSE: Final = 2.0  # seconds between tries while the database is away

# This need not wait for the disk: a note must outlive its process, but not a crash of the server.
_RELAXED: Final = "WITH relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))"
_BEGIN: Final = (
    f"{_RELAXED} INSERT INTO suspects SELECT %s, 0 FROM relaxed ON CONFLICT DO NOTHING RETURNING begun_alone"
)
_BEGIN_ALONE: Final = (
    "INSERT INTO suspects VALUES (%s, 1) ON CONFLICT (digest)"
    " DO UPDATE SET begun_alone = suspects.begun_alone + 1 RETURNING begun_alone"
)
_END: Final = f"{_RELAXED} DELETE FROM suspects USING relaxed WHERE digest = %s"


class Suspects:
    """Notes in a service's database which suspects are being handled.

    A note stays only if the process that handled the message died. A message with such a note is handled again while
    no process of the service handles another suspect. If the process ends then, this message has ended it, or bad luck
    has. Bad luck does not come ten times in a row.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._alone = asyncio.Lock()

    @asynccontextmanager
    async def handling(self, message: bytes) -> AsyncIterator[int]:
        """A context in which to handle a suspect. It gives the number of processes that ended handling it alone."""
        digest = sha256(message).hexdigest()
        if await self._ask(_BEGIN, digest):
            try:
                yield 0
            finally:
                await self._ask(_END, digest)
            return
        async with self._alone, self._alone_everywhere():
            (row,) = await self._ask(_BEGIN_ALONE, digest)
            try:
                yield row["begun_alone"] - 1
            finally:
                await self._ask(_END, digest)

    @asynccontextmanager
    async def _alone_everywhere(self) -> AsyncIterator[None]:
        """Hold a lock that PostgreSQL releases when this process dies."""
        connection = await _patiently(self._locked)
        try:
            yield
        finally:
            await connection.close()

    async def _locked(self) -> Connection:
        connection = await self._database.listen()
        try:
            await connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _ask(self, sql: str, digest: str) -> list[dict[str, Any]]:
        return await _patiently(lambda: self._database.query(sql, [digest]))


async def _patiently(act: Callable[[], Awaitable[Result]]) -> Result:
    """Call `act` until the database answers. Returns its result."""
    pause = 0.05
    while True:
        try:
            return await act()
        except TRANSIENT as error:
            log.warning("database_unavailable", table="suspects", error=str(error), retry_in=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
