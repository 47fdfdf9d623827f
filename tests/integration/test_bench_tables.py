"""What the measurements write into the services' tables fits them, and what they ask of PostgreSQL is what it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from audit.run import Places
from bench.fill import Fill
from bench.pgbench import ONE_STATEMENT_EACH, STATEMENT_BY_STATEMENT, Pgbench
from models.database import Database
from models.event_log import EVENT_COLUMNS, logged_envelope
from models.messages import parse
from tests.support.audited import databases
from tests.support.world import Servers


@pytest.fixture
def places(servers: Servers) -> Iterator[Places]:
    with databases(servers, "bench") as places:
        yield places


def test_orders_that_were_filled_in_are_whole_and_their_events_can_be_read(places: Places) -> None:
    async def fill() -> tuple[bool, int]:
        filling = Fill(places.orders_db, places.payments_db)
        await filling.up_to(300)
        known = await filling.up_to(1_000)
        read = 0
        for url in (places.orders_db, places.payments_db):
            database = Database(url, name="bench")
            await database.open()
            try:
                rows = await database.query(
                    f"SELECT {EVENT_COLUMNS} FROM event_log e WHERE order_id = %(id)s", {"id": known.order_id}
                )
            finally:
                await database.close()
            read += sum(parse(logged_envelope(row)).order_id == known.order_id for row in rows)
        return await filling.consistent(), read

    assert asyncio.run(fill()) == (True, 3)


@pytest.mark.parametrize("script", [STATEMENT_BY_STATEMENT, ONE_STATEMENT_EACH])
def test_the_ceilings_are_run_without_a_failed_transaction(places: Places, tmp_path: Path, script: str) -> None:
    with psycopg.connect(places.orders_db, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    async def run() -> float:
        pgbench = Pgbench(places.orders_db, tmp_path)
        await pgbench.prepare()
        return await pgbench.sagas_per_second(script, clients=2, seconds=1)

    assert asyncio.run(run()) > 0
    with psycopg.connect(places.orders_db) as connection:
        logs = connection.execute("SELECT (SELECT count(*) FROM order_log), (SELECT count(*) FROM orders)").fetchone()
    assert logs is not None and logs[0] == 2 * logs[1] > 0
