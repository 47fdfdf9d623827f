"""Databases, and the books of the simulated provider, that take no writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.support.world import World


@contextmanager
def read_only(world: World) -> Iterator[None]:
    """Inside, both databases take no writes, in old and in new sessions."""
    with psycopg.connect(world.servers.admin_dsn, autocommit=True) as admin:
        set_read_only(world, admin, "on")
        try:
            yield
        finally:
            set_read_only(world, admin, "off")


@contextmanager
def books_closed(world: World) -> Iterator[None]:
    """Inside, the provider can write nothing into its books: a charge waits in the middle of its capture."""
    with psycopg.connect(world.dsn("payments")) as books:
        books.execute("LOCK TABLE provider_charges IN EXCLUSIVE MODE")
        yield


def waits_for_books(world: World) -> bool:
    """Whether the provider waits to write into its books."""
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool(world.rows("payments", waiting))


def set_read_only(world: World, admin: psycopg.Connection, value: str) -> None:
    for role in ("orders", "payments"):
        admin.execute(f"ALTER DATABASE {role}_{world.name} SET default_transaction_read_only = {value}")
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [f"{role}_{world.name}"]
        )
