"""Sums of payments by currency are kept by the writers, and counted by the migration that adds them."""

from __future__ import annotations

from itertools import count
from typing import Any

import httpx
import psycopg
import pytest
from anyio import to_thread

from api.services.payment_service import create_payments_app
from audit.statements import PAYMENT_TOTALS
from models.database import TRANSIENT, Database
from models.migrations import migrate, upgrade
from tests.support.audited import Sagas, databases, play
from tests.support.world import Servers

pytestmark = pytest.mark.anyio

COUNTED = "SELECT status, currency, count(*), sum(amount)::bigint FROM payments GROUP BY 1, 2 ORDER BY 1, 2"
# The statements of the version before for one payment that is approved.
TALLIED_BEFORE = """
    WITH tallied AS (
        INSERT INTO payment_totals (shard, status, count, amount) SELECT pg_backend_pid() % 64, u.*
        FROM unnest('{APPROVED,PROCESSING}'::text[], '{1,-1}'::bigint[], '{10,-10}'::bigint[]) u(status, count, amount)
        ON CONFLICT (shard, status) DO UPDATE SET count = payment_totals.count + excluded.count,
        amount = payment_totals.amount + excluded.amount)
    UPDATE payments SET status = 'APPROVED' WHERE status = 'PROCESSING'
"""
READ_BEFORE = "SELECT status, sum(count)::int, sum(amount)::int FROM payment_totals GROUP BY status ORDER BY status"
_numbers = count()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def before(servers: Servers) -> str:
    """The URL of a database of the version before, with payments of two currencies."""
    name = f"sums{next(_numbers)}"
    with psycopg.connect(servers.admin_dsn, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} OWNER payments")
    password = servers.database_passwords["payments"]
    url = f"postgresql://payments:{password}@127.0.0.1:{servers.postgres_port}/{name}"
    upgrade("payments", url, "0006")
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO payments SELECT gen_random_uuid(), gen_random_uuid(), 10 * n, c, NULL, 'choreography',"
            " CASE WHEN n < 3 THEN 'APPROVED' ELSE 'PROCESSING' END, NULL, NULL, NULL, now(), now()"
            " FROM generate_series(1, 3) n, unnest('{EUR,USD}'::text[]) c"
        )
        connection.execute("INSERT INTO payment_totals VALUES (3, 'APPROVED', 4, 60), (5, 'PROCESSING', 2, 60)")
    return url


def rows(url: str, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(sql).fetchall()


def test_the_payments_that_are_there_are_counted_by_currency(before: str) -> None:
    migrate("payments", before)

    sums = rows(before, "SELECT status, currency, count, amount FROM payment_sums ORDER BY 1, 2")
    assert sums == [
        ("APPROVED", "EUR", 2, 30),
        ("APPROVED", "USD", 2, 30),
        ("PROCESSING", "EUR", 1, 30),
        ("PROCESSING", "USD", 1, 30),
    ]
    assert rows(before, PAYMENT_TOTALS) == []


def test_the_version_before_reads_on_and_its_writes_wait_for_it_to_be_replaced(before: str) -> None:
    told = rows(before, READ_BEFORE)
    rows(before, TALLIED_BEFORE + " RETURNING id")  # there it is taken
    with psycopg.connect(before) as connection:
        connection.execute("UPDATE payments SET status = 'PROCESSING' WHERE amount = 30")
    migrate("payments", before)

    assert told == rows(before, READ_BEFORE)
    # A transient error makes the ledger and its messages wait, and fails none of them.
    with psycopg.connect(before) as connection, pytest.raises(TRANSIENT, match="payment_totals"):
        connection.execute(TALLIED_BEFORE)
    assert told == rows(before, READ_BEFORE)
    assert rows(before, PAYMENT_TOTALS) == []


async def several_currencies(sagas: Sagas) -> None:
    for currency in ("USD", "EUR", "JPY", "EUR"):
        await sagas.place(currency=currency)
        await sagas.place("pm_card_chargeDeclined", currency=currency)
    await sagas.cancel(await sagas.place(currency="JPY"))
    overtaken = await sagas.create(currency="CHF")
    await sagas.cancel(overtaken)
    sagas.wire.events.reverse()  # order.cancelled arrives first: a tombstone
    await sagas.deliver()


async def ready() -> dict[str, str]:
    return {}


async def test_statistics_follow_sagas_of_several_currencies(servers: Servers) -> None:
    with databases(servers, "currencies") as places:
        await to_thread.run_sync(play, places, several_currencies)
        database = Database(places.payments_db, name="test")
        await database.open()
        transport = httpx.ASGITransport(create_payments_app(database=database, token="t", readiness=ready))
        headers = {"Authorization": "Bearer t"}
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            by_status = (await client.get("/payments/stats")).json()["byStatus"]
        await database.close()
        counted = rows(places.payments_db, COUNTED)
        unequal = rows(places.payments_db, PAYMENT_TOTALS)

    assert [(each["status"], *amount.values()) for each in by_status for amount in each["amounts"]] == counted
    assert ("APPROVED", "EUR", 2, 1998) in counted
    assert ("REFUNDED", "JPY", 1, 999) in counted
    assert unequal == []
