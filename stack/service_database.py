"""Open a service's database: wait for its server, migrate it, say what it lacks, and audit it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any

import psycopg
import structlog

from api.problems import unavailable
from audit.own_database import audit_own_database
from audit.snapshot import NotRead
from embedded.errors import StackError
from models import tls
from models.database import Database
from models.futures import result_within
from models.migrations import DatabaseName, migrate, newest
from stack.settings import Settings

log = structlog.get_logger()


async def open_database(
    service: DatabaseName, settings: Settings, stack: AsyncExitStack, stop: asyncio.Event
) -> Database | None:
    """The service's migrated database. Waits for a server that is still starting; None if stopped meanwhile."""
    secret = settings.orders_database_url if service == "orders" else settings.payments_database_url
    url = secret.get_secret_value()
    while not stop.is_set():
        try:
            revision = await asyncio.to_thread(migrate, service, url)
        except psycopg.errors.InsufficientPrivilege as error:
            raise StackError(f"{_refused(service, error)}; docs/credentials.md says what its role needs") from None
        except psycopg.ProgrammingError:  # its message would show the URL, and the password in it
            raise StackError(f"SAGA_{service.upper()}_DATABASE_URL has options that PostgreSQL doesn't know") from None
        except psycopg.OperationalError as error:
            if (fault := tls.DATABASES[service].explain(str(error))) is not None:
                raise StackError(f"The database {service!r} cannot be reached: {fault}") from None
            if _is_final(error):
                raise StackError(_refused(service, error)) from None
            log.warning("database_unavailable", database=service, error=str(error).strip())
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.3)
        else:
            if revision != newest(service):
                log.warning("database_of_a_later_version", database=service, revision=revision, ours=newest(service))
            database = Database(url, name=f"{service} service", max_connections=settings.database_connections)
            await database.open()
            stack.push_async_callback(database.close)
            return database
    return None


def _is_final(error: psycopg.OperationalError) -> bool:
    return any(sign in str(error) for sign in ("authentication failed", "does not exist", "no pg_hba.conf entry"))


def _refused(service: DatabaseName, error: psycopg.Error) -> str:
    why = str(error).strip().splitlines()[0 if isinstance(error, psycopg.ProgrammingError) else -1]
    return f"The database {service!r} refuses us: {why}. Check SAGA_{service.upper()}_DATABASE_URL"


async def answers(database: Database) -> str:
    """`ok` if the database answers within a second; else the reason why not."""
    try:
        await result_within(database.query("SELECT 1"), 1.0)
    except Exception as error:
        return f"does not answer: {type(error).__name__}"
    return "ok"


async def audit(service: DatabaseName, url: str, alone: asyncio.Lock) -> Mapping[str, Any]:
    """What this database shows, one audit at a time: each reads all of it. Raises Problem if it can't be read."""
    async with alone:
        try:
            return await asyncio.to_thread(audit_own_database, service, url)
        except NotRead as error:
            raise unavailable("The database does not answer; try again") from error
