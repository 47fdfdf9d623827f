"""Open a service's database: the pool, the one transaction, and reads of SQLModel statements."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row, tuple_row
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.compiler import Compiled
from sqlalchemy.sql.elements import ClauseElement

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

# A restart of the server, a cut connection or a lost race raises these. The same transaction may succeed later.
TRANSIENT: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.ReadOnlySqlTransaction,
    PoolTimeout,
    OSError,
)

# Without these a peer that vanished without closing would hold its transaction and its locks, or us, for two hours.
_KEEPALIVES: Final[dict[str, Any]] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,  # ms
    "options": "-c timezone=UTC -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
}

_dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]

set_json_loads(msgspec.json.decode)
set_json_dumps(msgspec.json.encode)


def sql_of(statement: ClauseElement) -> str:
    """The SQL of a statement with `bindparam`s, for `Database.query`. Compile once: it takes longer than running it."""
    return str(_compiled(statement))


def _compiled(statement: ClauseElement) -> Compiled:
    return statement.compile(dialect=_dialect, compile_kwargs={"render_postcompile": True})


class Database:
    """A pool of connections to one service's database."""

    def __init__(self, url: str, *, name: str, max_connections: int = 8, timeout: float = 5.0) -> None:
        self.url = url
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=max_connections,
            timeout=timeout,
            open=False,
            name=name,
            reconnect_timeout=float("inf"),
            kwargs={
                "application_name": name,
                "connect_timeout": 5,
                **_KEEPALIVES,
                "autocommit": True,  # a read is one round trip; transaction() says BEGIN itself
                "prepare_threshold": 2,
            },
        )

    async def open(self) -> None:
        """Start the pool and return at once; the pool connects in the background."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close(timeout=5)

    @asynccontextmanager
    async def transaction(self, *, wait_for_disk: bool = True) -> AsyncIterator[Connection]:
        """Commit when the block ends without an error, else roll back. Nothing else commits.

        Statements go out in pipeline mode: BEGIN travels with the first ones and COMMIT with the last ones. So a
        transaction costs a round trip only where it waits for a result. The server has confirmed the commit when this
        returns. Without `wait_for_disk`, a crash of the server may still undo the commit.
        """
        async with self._pool.connection() as connection, connection.pipeline():
            # psycopg's own transaction() would wait for the answer to each of these.
            await connection.execute("BEGIN")
            if not wait_for_disk:
                await connection.execute("SET LOCAL synchronous_commit = off")
            yield connection
            await connection.execute("COMMIT")

    async def read(self, statement: ClauseElement) -> list[dict[str, Any]]:
        """The rows of a SQLModel or SQLAlchemy select, each by column name."""
        compiled = _compiled(statement)
        return await self.query(str(compiled), compiled.params)

    async def query(self, sql: str, params: Any = None) -> list[dict[str, Any]]:
        """Run one SQL statement outside any transaction of ours. Returns its rows, each by column name."""
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(sql, params)
            return await cursor.fetchall() if cursor.description else []

    async def check(self) -> None:
        """Throw away connections that a restarted server has left broken."""
        await self._pool.check()

    async def listen(self) -> Connection:
        """A connection outside the pool, in autocommit, for LISTEN and session locks. The caller closes it."""
        return await AsyncConnection.connect(
            self.url, autocommit=True, row_factory=tuple_row, connect_timeout=5, **_KEEPALIVES
        )


async def is_leader(connection: Connection, lock: int) -> bool:
    """Whether this transaction has got the advisory lock, until its end. It is not waited for."""
    cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock])
    ((got,),) = await cursor.fetchall()
    return bool(got)
