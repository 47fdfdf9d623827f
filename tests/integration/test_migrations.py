"""A new version starts on an old database, and the migrations lead to the tables that the code declares."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from models.migrations import DatabaseName, migrate, newest, upgrade
from models.tables import OrdersBase, PaymentsBase
from tests.support.waiting import until
from tests.support.world import Servers

BASES = {"orders": OrdersBase, "payments": PaymentsBase}
_numbers = count()


@pytest.fixture
def empty(servers: Servers, service: DatabaseName) -> str:
    """The URL of a new database of this service."""
    name = f"migrated{next(_numbers)}"
    with psycopg.connect(servers.admin_dsn, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} OWNER {service}")
    password = servers.database_passwords[service]
    return f"postgresql://{service}:{password}@127.0.0.1:{servers.postgres_port}/{name}"


@pytest.mark.parametrize("service", ["orders", "payments"])
def test_the_migrations_lead_to_what_the_code_declares(service: DatabaseName, empty: str) -> None:
    migrate(service, empty)
    engine = create_engine(empty.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, BASES[service].metadata) == []
    engine.dispose()


@pytest.mark.parametrize("service", ["orders", "payments"])
def test_instances_that_start_together_migrate_once(service: DatabaseName, empty: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: migrate(service, empty), range(4)))
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(newest(service),)]


@pytest.mark.parametrize("service", ["orders", "payments"])
def test_a_database_that_the_version_after_has_migrated_stays_as_it_is(service: DatabaseName, empty: str) -> None:
    """A process that dies during an upgrade must be able to start again."""
    migrate(service, empty)
    later = f"{int(newest(service)) + 1:04}"
    with psycopg.connect(empty) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", [later])
    assert migrate(service, empty) == later
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(later,)]


@pytest.mark.parametrize(("service", "before"), [("orders", "0006"), ("payments", "0007")])
def test_a_revision_that_was_set_back_for_the_version_before_is_migrated_to_again(
    service: DatabaseName, before: str, empty: str
) -> None:
    """docs/operations/upgrading.md sets it back by hand, since that version refuses to start otherwise."""
    migrate(service, empty)
    with psycopg.connect(empty) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", [before])
    assert migrate(service, empty) == newest(service)


@pytest.mark.parametrize(("service", "before"), [("orders", "0006"), ("payments", "0007")])
def test_a_service_that_works_on_one_table_after_the_other_is_not_in_a_deadlock_with_the_migrations(
    service: DatabaseName, before: str, empty: str
) -> None:
    """A batch of the version before writes its rows, and then their events."""
    upgrade(service, empty, before)
    with (
        psycopg.connect(empty) as batch,
        psycopg.connect(empty, autocommit=True) as watch,
        ThreadPoolExecutor(1) as pool,
    ):
        batch.execute(f"LOCK TABLE {service} IN ROW EXCLUSIVE MODE")
        migrating = pool.submit(migrate, service, empty)
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
        until(lambda: watch.execute(waiting, [service]).fetchone(), what="the migrations wait for the batch")
        batch.execute("SET lock_timeout = '500ms'")  # PostgreSQL looks for deadlocks after a second
        batch.execute("LOCK TABLE event_log IN ROW EXCLUSIVE MODE")
        batch.commit()
        assert migrating.result(timeout=60) == newest(service)


@pytest.mark.parametrize(("service", "before"), [("orders", "0006"), ("payments", "0007")])
def test_while_somebody_reads_for_long_migrations_hold_up_nobody_else(
    service: DatabaseName, before: str, empty: str
) -> None:
    """pg_dump, or an audit, keeps every table that it reads from being altered."""
    upgrade(service, empty, before)
    with (
        psycopg.connect(empty) as dump,
        psycopg.connect(empty, autocommit=True) as running,
        ThreadPoolExecutor(1) as pool,
    ):
        dump.execute(f"LOCK TABLE {service}, event_log IN ACCESS SHARE MODE")
        migrating = pool.submit(migrate, service, empty)
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        until(lambda: running.execute(waiting).fetchone(), what="the migrations wait for the dump")
        running.execute("SET statement_timeout = '30s'")
        for _ in range(2):
            running.execute(f"SELECT count(*) FROM {service}")
            running.execute("SELECT count(*) FROM event_log")
        assert not migrating.done()
        dump.commit()
        assert migrating.result(timeout=60) == newest(service)


GOOD = {"orders": "PAID", "payments": "APPROVED"}
TOTALS = {"orders": "order_totals", "payments": "payment_sums"}
COLUMNS = {"orders": "NULL", "payments": "NULL, NULL, NULL"}  # those between status and created_at


@pytest.mark.parametrize("service", ["orders", "payments"])
def test_an_old_database_keeps_its_rows_and_gets_their_totals(service: DatabaseName, empty: str) -> None:
    upgrade(service, empty, "0001")
    with psycopg.connect(empty) as connection:
        connection.execute(
            f"INSERT INTO {service} SELECT gen_random_uuid(), gen_random_uuid(), 10, 'USD', NULL, 'choreography',"
            f" CASE WHEN n < 3 THEN '{GOOD[service]}' ELSE 'FAILED' END, {COLUMNS[service]}, now(), now()"
            " FROM generate_series(1, 5) n"
        )
    migrate(service, empty)
    with psycopg.connect(empty) as connection:
        totals = connection.execute(f"SELECT status, count, amount FROM {TOTALS[service]}").fetchall()
        assert set(totals) == {(GOOD[service], 2, 20), ("FAILED", 3, 30)}
        (rows,) = connection.execute(f"SELECT count(*) FROM {service}").fetchall()
    assert rows == (5,)
