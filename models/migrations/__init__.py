"""Bring a service's database to the schema that this version needs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, Literal, TypeAlias

import psycopg

DatabaseName: TypeAlias = Literal["orders", "payments"]

_HERE: Final = Path(__file__).parent
_PAUSE: Final = 1.0  # seconds
_LOCK: Final = 0x5A6B  # advisory lock: instances that start together migrate one after the other


def newest(service: DatabaseName) -> str:
    """The newest revision that this version of the code has. Revision files begin with their numbers."""
    return max(path.name.split("_")[0] for path in (_HERE / service / "versions").glob("[0-9]*.py"))


def migrate(service: DatabaseName, url: str) -> str:
    """Upgrade to the newest revision, and return that of the database. Several callers at once are safe.

    The version after may have migrated the database already. Its revisions only add, so this version works on it as it
    is. If there is nothing to do, this costs one query and does not load Alembic. Raises psycopg.OperationalError.
    """
    with psycopg.connect(
        url, autocommit=True, connect_timeout=5, application_name=f"{service}-migrations"
    ) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        found, wanted = _revision(connection), newest(service)
        if found is not None and found > wanted:
            return found
        if found != wanted:
            upgrade(service, url)
    return wanted


def upgrade(service: DatabaseName, url: str, revision: str = "head") -> None:
    """Run the migrations up to `revision`. The caller makes sure that nobody else migrates at the same time.

    A running service may get into a deadlock with them. Whoever reads for long, such as pg_dump, may keep them from a
    table. In both cases they run again. Raises psycopg.OperationalError, or psycopg.errors.InsufficientPrivilege.
    """
    from alembic import command
    from alembic.config import Config
    from sqlalchemy.exc import OperationalError, ProgrammingError

    config = Config()
    config.set_main_option("script_location", str(_HERE / service))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url.replace("postgresql://", "postgresql+psycopg://", 1)
    while True:
        try:
            command.upgrade(config, revision)
        except OperationalError as error:
            if isinstance(error.orig, psycopg.errors.LockNotAvailable):
                time.sleep(_PAUSE)  # in which others get to the table
            elif not isinstance(error.orig, psycopg.errors.DeadlockDetected):
                raise psycopg.OperationalError(str(error.orig)) from error
        except ProgrammingError as error:
            if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
                raise error.orig from error
            raise
        else:
            return


def _revision(connection: psycopg.Connection) -> str | None:
    row = connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return None
    version = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(version[0]) if version else None
