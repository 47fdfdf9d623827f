"""Connect to the database of an original service, and to that of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from embedded.errors import StackError


@dataclass(frozen=True, kw_only=True)
class Ends:
    """The two databases, whose addresses hold passwords."""

    theirs: str
    ours: str


@contextmanager
def connected(url: str, whose: str) -> Iterator[psycopg.Connection]:
    """Raises StackError for an address that is none."""
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=5, application_name=f"saga migrate {whose}")
    except psycopg.ProgrammingError:  # its message would show the URL, and the password in it
        raise StackError("An address of a database is not one that PostgreSQL knows") from None
    with connection:
        connection.execute("SET timezone = 'UTC'")
        yield connection


def first_line(error: psycopg.Error) -> str:
    """What PostgreSQL says, without what follows it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
