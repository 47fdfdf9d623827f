"""Read one service's database as it was at one moment, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self
from uuid import UUID

import psycopg

from models import tls
from models.migrations import DatabaseName

_PAGE: Final = 2000  # rows that are held at once
_PREPARE: Final = (
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "SET timezone = 'UTC'",
    # All rows of a cursor are read, and sorting and grouping for it needs as much memory as the log has.
    "SET cursor_tuple_fraction = 1",
    "SET work_mem = '64MB'",
    "SET jit = off",
    "SET idle_in_transaction_session_timeout = 0",
)
_NOTHING_FILTERED: Final = {"those": "", "of_those": ""}


class NotRead(Exception):
    """A source could not be read. It names the source and the reason."""

    def __init__(self, source: str, why: str) -> None:
        super().__init__(f"{source}: {why}")
        self.source = source
        self.why = why


class Snapshot:
    """A read-only connection to one service's database. A snapshot shows the database at the moment it is taken.

    Every error of the server or the connection is raised as NotRead, without a password.
    """

    def __init__(self, service: DatabaseName, url: str) -> None:
        self._service: DatabaseName = service
        self._url = url
        try:
            self._connection = psycopg.connect(url, autocommit=True, connect_timeout=5, application_name="saga audit")
            for statement in _PREPARE:
                self._connection.execute(statement)
        except psycopg.ProgrammingError:  # its message would show the URL, and the password in it
            raise NotRead(service, "its address is not one that PostgreSQL knows") from None
        except psycopg.Error as error:
            raise self._unread(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def another(self) -> Snapshot:
        """A second connection to the same database, which sees later changes."""
        return Snapshot(self._service, self._url)

    def take(self) -> None:
        """Take a snapshot of this moment. It stays the same until `leave`."""
        self._execute("BEGIN")
        self._execute("SELECT 1 FROM event_log LIMIT 1")  # the first statement takes the snapshot

    def leave(self) -> None:
        """Give up the snapshot. From now on every statement sees what is committed when it begins."""
        self._execute("ROLLBACK")

    def rows(self, sql: str, parameters: Mapping[str, Any], *, keep: int) -> tuple[int, Sequence[tuple[Any, ...]]]:
        """The number of rows, and the first `keep` of them."""
        some = f"SELECT f.*, count(*) OVER () FROM ({sql}) f ORDER BY f.id LIMIT %(keep)s"
        found = self._execute(some, {**parameters, "keep": keep})
        return (found[0][-1], [row[:-1] for row in found]) if found else (0, [])

    def number(self, sql: str) -> int:
        """The single number that a statement returns."""
        ((number,),) = self._execute(sql)
        return int(number)

    def all(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        """All rows of a statement that has few."""
        return self._execute(sql, parameters)

    def stream(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """All rows, a page at a time."""
        try:
            with self._connection.cursor(name="audit") as cursor:
                cursor.execute(sql.format(**_NOTHING_FILTERED), binary=True)
                while rows := cursor.fetchmany(_PAGE):
                    yield from rows
        except psycopg.Error as error:
            raise self._unread(error) from None

    def sides(self, sql: str, key: str, order_ids: Sequence[UUID]) -> Sequence[tuple[Any, ...]]:
        """The rows that `stream` would give, for these orders only."""
        filtered = {"those": f"WHERE {key} = ANY(%(ids)s)", "of_those": "WHERE order_id = ANY(%(ids)s)"}
        return self._execute(sql.format(**filtered), {"ids": list(order_ids)})

    def _execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[tuple[Any, ...]]:
        try:
            cursor = self._connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise self._unread(error) from None

    def _unread(self, error: psycopg.Error) -> NotRead:
        if (fault := tls.DATABASES[self._service].explain(str(error))) is not None:
            return NotRead(self._service, fault)
        return NotRead(self._service, (str(error).strip() or type(error).__name__).splitlines()[-1])
