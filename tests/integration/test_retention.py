"""Retention removes the events of finished sagas alone, and nobody misses them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import psycopg
import pytest
from temporalio.testing import ActivityEnvironment

from activities.book import Book
from activities.ledger import Ledger
from activities.order_activities import OrderActivities
from activities.orders import ORDERS, Orders
from activities.payments import PAYMENTS
from activities.retention import Removal, Retention
from activities.steps import StepInput, StepResult
from audit.database_audit import Scope
from audit.findings import AuditReport
from audit.run import Places, audit
from models.database import Database
from models.event_log import ENVELOPE_COLUMNS, EVENT_COLUMNS, logged_envelope
from models.saga import CreateOrderRequested, OrderId, UserId
from tests.support.audited import Sagas, Wire, databases, every_kind, execute, play
from tests.support.waiting import until
from tests.support.world import Servers, World

HOUR, DAY = 3600.0, 86_400.0
AT_REST = Scope(at_rest=True, pause=0.0)
NOTHING = Removal(events=0, keys=0)
BOOKS: dict[str, Book[Any]] = {"orders": ORDERS, "payments": PAYMENTS}


@pytest.fixture
def places(servers: Servers) -> Iterator[Places]:
    with databases(servers, "retention") as places:
        yield places


def url(places: Places, role: str) -> str:
    return places.orders_db if role == "orders" else places.payments_db


@asynccontextmanager
async def retention(places: Places, role: str, **settings: Any) -> AsyncIterator[Retention]:
    database = Database(url(places, role), name="retention")
    await database.open()
    try:
        yield Retention(database, BOOKS[role], **settings)
    finally:
        await database.close()


def sweep(places: Places, role: str, **settings: Any) -> Removal:
    async def run() -> Removal:
        async with retention(places, role, **settings) as each:
            return await each.sweep()

    return asyncio.run(run())


def sweep_both(places: Places, *, events: float = 0.0) -> None:
    for role in BOOKS:
        sweep(places, role, events=events)


def rows(places: Places, role: str, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url(places, role)) as connection:
        return connection.execute(sql, parameters).fetchall()


def log(places: Places, role: str, order_id: UUID) -> list[str]:
    found = rows(places, role, "SELECT event_type FROM event_log WHERE order_id = %s ORDER BY seq", order_id)
    return [row[0] for row in found]


def age(places: Places, *order_ids: UUID, seconds: float = DAY) -> None:
    """Make all rows of these orders older."""
    shift = f"- make_interval(secs => {seconds})"
    for role, book in BOOKS.items():
        changed = f"created_at = created_at {shift}, updated_at = updated_at {shift}"
        execute(url(places, role), f"UPDATE {role} SET {changed} WHERE {book.key} = ANY(%s)", list(order_ids))
        sql = f"UPDATE event_log SET occurred_at = occurred_at {shift} WHERE order_id = ANY(%s)"
        execute(url(places, role), sql, list(order_ids))


def everything(places: Places) -> dict[str, list[tuple[Any, ...]]]:
    tables = ("event_log", "outbox")
    return {
        f"{role}.{table}": rows(places, role, f"SELECT * FROM {table} ORDER BY 1")
        for role in BOOKS
        for table in (role, *tables)
    }


def clean(report: AuditReport) -> bool:
    return (report.tallies, report.unread) == ({}, {})


# What goes


def test_the_events_of_a_saga_over_for_long_go_together_and_everything_else_stays(places: Places) -> None:
    async def act(sagas: Sagas) -> dict[str, OrderId]:
        ids = {"old": await sagas.place(), "young": await sagas.place(), "changed": await sagas.place()}
        ids |= {"to refund": await sagas.place(), "to charge": await sagas.place("pm_unavailable")}
        ids["pending"] = await sagas.create()
        return ids

    ids = play(places, act)
    age(places, *(order_id for name, order_id in ids.items() if name != "young"))
    play(places, lambda sagas: sagas.cancel(OrderId(ids["changed"])))
    execute(places.orders_db, "DELETE FROM outbox")  # all of it is published
    execute(places.payments_db, "UPDATE payments SET due = 'refund' WHERE order_id = %s", ids["to refund"])
    before = everything(places)

    assert sweep(places, "orders", events=HOUR) == Removal(events=4, keys=0)
    assert sweep(places, "payments", events=HOUR) == Removal(events=2, keys=0)
    assert {name: log(places, "orders", order_id) for name, order_id in ids.items()} == {
        "old": [],
        "young": ["OrderCreated", "OrderPaid"],
        "changed": ["OrderCreated", "OrderPaid", "OrderCancelled"],
        "to refund": [],
        "to charge": ["OrderCreated"],
        "pending": ["OrderCreated"],
    }
    # The payment service has not heard of the cancellation, so its part of the saga is over.
    assert {name: log(places, "payments", order_id) for name, order_id in ids.items()} == {
        "old": [], "young": ["PaymentApproved"], "changed": [], "to refund": ["PaymentApproved"], "to charge": [],
        "pending": []
    }  # fmt: skip
    assert {name: kept for name, kept in everything(places).items() if "event_log" not in name} == {
        name: kept for name, kept in before.items() if "event_log" not in name
    }


def test_an_event_still_to_be_published_stays_with_all_events_of_its_order(places: Places) -> None:
    async def act(sagas: Sagas) -> UUID:
        order_id = await sagas.create()
        await sagas.deliver(published=False)
        return order_id

    order_id = play(places, act)
    age(places, order_id)
    sql = "DELETE FROM outbox WHERE seq = (SELECT min(seq) FROM outbox)"
    assert execute(places.orders_db, sql) == 1
    assert [sweep(places, role, events=HOUR) for role in BOOKS] == [NOTHING, NOTHING]
    for role in BOOKS:
        execute(url(places, role), "DELETE FROM outbox")
    assert [sweep(places, role, events=HOUR).events for role in BOOKS] == [2, 1]


BULK = """
    INSERT INTO orders SELECT gen_random_uuid(), gen_random_uuid(), n, 'USD', NULL, 'choreography',
           CASE WHEN n <= %(pending)s THEN 'PENDING_PAYMENT' ELSE 'PAID' END, NULL, now() - interval '1 day',
           now() - interval '1 day' FROM generate_series(1, %(all)s) n;
    INSERT INTO event_log (event_id, order_id, event_type, occurred_at, correlation_id, coordinator, payload)
    SELECT gen_random_uuid(), id, type, now() - interval '1 day', 'c', 'choreography', '{}'
    FROM orders, unnest('{OrderCreated,OrderPaid}'::text[]) type
    WHERE status = 'PAID' OR type = 'OrderCreated' ORDER BY total, type
"""


def bulk(places: Places, *, pending: int, paid: int) -> None:
    with psycopg.ClientCursor(psycopg.connect(places.orders_db, autocommit=True)) as cursor:
        cursor.execute(BULK, {"pending": pending, "all": pending + paid})
        cursor.connection.close()


def test_more_events_than_a_page_holds_go_page_by_page_past_what_stays(places: Places) -> None:
    bulk(places, pending=1200, paid=700)
    assert sweep(places, "orders", events=HOUR) == Removal(events=1400, keys=0)
    assert rows(places, "orders", "SELECT event_type, count(*) FROM event_log GROUP BY 1") == [("OrderCreated", 1200)]
    assert rows(places, "orders", "SELECT events FROM removed_events") == [(1400,)]
    assert sweep(places, "orders", events=HOUR) == NOTHING


def test_the_time_up_to_which_events_were_removed_is_noted_and_never_goes_back(places: Places) -> None:
    first, second = play(places, two)
    assert rows(places, "orders", "SELECT until FROM removed_events") == []
    age(places, first)
    sweep(places, "orders", events=HOUR)
    last_change = "SELECT updated_at FROM orders WHERE id = %s"
    note = "SELECT until, events FROM removed_events"
    [(expected,)] = rows(places, "orders", last_change, first)
    assert rows(places, "orders", note) == [(expected, 2)]

    age(places, second, seconds=10 * DAY)
    sweep(places, "orders", events=HOUR)
    assert rows(places, "orders", note) == [(expected, 4)]


async def two(sagas: Sagas) -> tuple[UUID, UUID]:
    return await sagas.place(), await sagas.place()


KEYS = """
    INSERT INTO idempotency_keys (scope, key, digest, order_id, created_at)
    SELECT 'public', 'key' || n, '\\x00', gen_random_uuid(), now() - make_interval(hours => n %% 3, mins => 1)
    FROM generate_series(1, %s) n
"""


def test_idempotency_keys_go_by_their_age_wherever_they_are_stored(places: Places) -> None:
    play(places, lambda sagas: sagas.place())
    assert execute(places.orders_db, KEYS, 15_000) == 15_000
    [(blocks,)] = rows(places, "orders", "SELECT pg_relation_size('idempotency_keys') / 8192")
    assert blocks > 128  # several batches
    assert sweep(places, "orders", keys=1.5 * HOUR) == Removal(events=0, keys=5000)
    ages = "SELECT count(*), bool_and(created_at > now() - interval '90 minutes') FROM idempotency_keys"
    assert rows(places, "orders", ages) == [(10_000, True)]
    assert sweep(places, "orders", keys=1.5 * HOUR) == NOTHING
    assert rows(places, "orders", "SELECT count(*) FROM event_log") == [(2,)]


# At the same time


def test_one_instance_removes_and_the_others_stand_by(places: Places) -> None:
    play(places, lambda sagas: sagas.place())
    execute(places.orders_db, KEYS, 3)
    with psycopg.connect(places.orders_db) as another:
        another.execute("SELECT pg_try_advisory_xact_lock(%s)", [0x5A6C])
        assert sweep(places, "orders", events=0.0, keys=0.0) == NOTHING
    assert sweep(places, "orders", events=0.0, keys=0.0) == Removal(events=2, keys=3)


def test_an_order_that_somebody_is_at_is_left_for_the_next_sweep(places: Places) -> None:
    first, second = play(places, two)
    with psycopg.connect(places.orders_db) as somebody:
        somebody.execute("SELECT FROM orders WHERE id = %s FOR UPDATE", [first])
        assert sweep(places, "orders", events=0.0).events == 2
        assert (len(log(places, "orders", first)), log(places, "orders", second)) == (2, [])
    assert sweep(places, "orders", events=0.0).events == 2


def test_orders_cancelled_while_events_are_removed_lose_no_event_and_no_refund(places: Places) -> None:
    async def act(sagas: Sagas) -> list[OrderId]:
        paid = [await sagas.place() for _ in range(60)]
        over = asyncio.Event()

        async def remove(role: str) -> int:
            count = 0
            async with retention(places, role, events=0.0) as each:
                while not over.is_set():
                    count += (await each.sweep()).events
            return count

        removals = [asyncio.create_task(remove(role)) for role in BOOKS]
        for order_id in paid:
            await sagas.cancel(order_id)
            await sagas.deliver()
        over.set()
        assert all(await asyncio.gather(*removals))
        return paid

    paid = play(places, act)
    found = rows(places, "payments", "SELECT status, count(*) FROM payments GROUP BY status")
    assert found == [("REFUNDED", len(paid))]
    assert clean(audit(places, AT_REST))


def test_a_cancellation_published_again_while_events_are_removed_finds_all_or_nothing(places: Places) -> None:
    async def act(sagas: Sagas) -> UUID:
        order_id = await sagas.create()
        await sagas.cancel(order_id)
        await sagas.deliver()
        return order_id

    order_id = play(places, act)

    async def republish() -> StepResult:
        database = Database(places.orders_db, name="orders")
        await database.open()
        try:
            event = ("OrderCancelled", {"orderId": str(order_id), "reason": "USER_REQUESTED"})
            step = StepInput(
                event_type=event[0],
                payload=event[1],
                event_id=str(order_id),
                correlation_id="c",
                coordinator="choreography",
            )
            activities = OrderActivities(database, Orders(database, Ledger(database, ORDERS, Wire())))
            return await ActivityEnvironment().run(activities.republish_cancellation, step)
        finally:
            await database.close()

    with psycopg.connect(places.orders_db) as removing, ThreadPoolExecutor(1) as pool:
        removing.execute("SELECT FROM orders WHERE id = %s FOR UPDATE", [order_id])
        asked = pool.submit(asyncio.run, republish())
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        until(lambda: asked.done() or rows(places, "orders", waiting) == [(1,)], what="it waits for the removal")
        removing.execute("DELETE FROM event_log WHERE order_id = %s", [order_id])
        removing.commit()
        assert asked.result(10).decision == "stale"
    assert rows(places, "orders", "SELECT seq FROM outbox") == []


# Nobody misses what is gone


def test_late_duplicates_are_still_recognised_and_change_and_log_nothing(places: Places) -> None:
    ids = play(places, every_kind)
    sql = f"SELECT {EVENT_COLUMNS} FROM event_log e ORDER BY e.seq"
    logged = [dict(zip(ENVELOPE_COLUMNS, row, strict=True)) for role in BOOKS for row in rows(places, role, sql)]
    events = [logged_envelope(row) for row in logged]
    sweep_both(places)
    before = everything(places)
    assert before["orders.event_log"] == before["payments.event_log"] == []

    async def repeat(sagas: Sagas) -> None:
        for order_id in ids.values():
            command = CreateOrderRequested(
                order_id=OrderId(order_id), user_id=UserId(UUID(int=7)), total=999, payment_method="pm_card_visa"
            )
            await sagas.tell(command)
        sagas.wire.events += [*events, *reversed(events)]
        await sagas.deliver()

    play(places, repeat)
    assert everything(places) == before


@pytest.mark.parametrize("swept", [("orders",), ("payments",), ("orders", "payments")])
def test_a_paid_order_is_refunded_however_old_it_is(places: Places, swept: tuple[str, ...]) -> None:
    order_id = play(places, lambda sagas: sagas.place())
    age(places, order_id)
    for role in swept:
        assert sweep(places, role, events=HOUR).events > 0

    async def act(sagas: Sagas) -> None:
        await sagas.cancel(order_id)
        await sagas.deliver()

    play(places, act)
    assert log(places, "orders", order_id)[-1:] == ["OrderCancelled"]
    assert log(places, "payments", order_id)[-1:] == ["PaymentRefunded"]
    assert rows(places, "payments", "SELECT status FROM payments") == [("REFUNDED",)]
    assert rows(places, "payments", "SELECT captured, refunded FROM provider_charges") == [(999, 999)]
    assert clean(audit(places, AT_REST))
    sweep_both(places)
    assert (log(places, "orders", order_id), log(places, "payments", order_id)) == ([], [])
    assert clean(audit(places, AT_REST))


# The audit


@pytest.mark.parametrize("swept", [("orders",), ("payments",), ("orders", "payments")])
def test_removed_events_are_no_violation_and_noted(places: Places, swept: tuple[str, ...]) -> None:
    play(places, every_kind)
    removed = sum(sweep(places, role, events=0.0).events for role in swept)
    play(places, lambda sagas: sagas.place())
    report = audit(places, AT_REST)
    assert clean(report)
    assert f"{removed} events of sagas that are over were removed by retention" in report.notes


LATE = "INSERT INTO outbox SELECT seq, order_id, true FROM event_log WHERE order_id = %s"
ONE = "DELETE FROM event_log WHERE order_id = %s AND event_type = %s"
OF_PAYMENT, OF_ORDER = "payments are what their log tells", "orders are what their log tells"
LOST = [
    pytest.param("young", "orders", ["OrderCreated", "OrderPaid"], {OF_ORDER}, id="all, of a younger order"),
    pytest.param("young", "payments", ["PaymentApproved"], {OF_PAYMENT}, id="all, of a younger payment"),
    pytest.param("old", "orders", ["OrderCreated"], {OF_ORDER}, id="the beginning alone"),
    pytest.param("old", "orders", ["OrderPaid"], {OF_ORDER}, id="the end alone"),
    pytest.param("pending", "orders", ["OrderCreated"], {OF_ORDER}, id="of an order that was never over"),
    pytest.param("cancelled", "orders", ["OrderCancelled"], {OF_ORDER}, id="what came since"),
    pytest.param("cancelled", "payments", ["PaymentRefunded"], {OF_PAYMENT}, id="what came since, of a payment"),
]


@pytest.mark.parametrize(("whose", "role", "types", "checks"), LOST)
def test_events_lost_otherwise_are_still_found(
    places: Places, whose: str, role: str, types: list[str], checks: set[str]
) -> None:
    async def act(sagas: Sagas) -> dict[str, OrderId]:
        return {"old": await sagas.place(), "cancelled": await sagas.place(), "pending": await sagas.create()}

    ids = play(places, act)
    # This order's events could not be removed, though it is older than another order whose events were.
    execute(places.orders_db, LATE, ids["old"])
    sweep_both(places)

    async def later(sagas: Sagas) -> UUID:
        await sagas.cancel(OrderId(ids["cancelled"]))
        await sagas.deliver()
        return await sagas.place()

    ids["young"] = play(places, later)
    assert clean(audit(places, Scope(pause=0.0)))
    assert sum(execute(url(places, role), ONE, ids[whose], kind) for kind in types) == len(types)
    report = audit(places, Scope(pause=0.0))
    found = {name for name, tally in report.tallies.items() if name in checks}
    assert found == checks
    assert {str(ids[whose])} == {each.id for name in checks for each in report.tallies[name].examples}


def test_a_cause_that_nobody_has_logged_is_still_found_where_events_were_not_removed(places: Places) -> None:
    play(places, two)
    sweep(places, "payments", events=0.0)
    spoilt = "UPDATE event_log SET causation_id = event_id WHERE order_id = %s AND event_type = 'OrderPaid'"
    third = play(places, lambda sagas: sagas.place())
    execute(places.orders_db, spoilt, third)
    report = audit(places, Scope(pause=0.0))
    assert {name: [each.id for each in tally.examples] for name, tally in report.tallies.items()} == {
        "causes are logged": [str(third)]
    }


# Running


def test_retention_runs_until_cancelled_also_across_a_crash_of_the_database(world: World, servers: Servers) -> None:
    places = Places(orders_db=world.dsn("orders"), payments_db=world.dsn("payments"))
    left = "SELECT count(*) AS n FROM event_log"

    async def emptied(database: Database) -> None:
        async with asyncio.timeout(60):
            while True:
                with suppress(psycopg.Error, OSError):
                    if (await database.query(left))[0]["n"] == 0:
                        return
                await asyncio.sleep(0.02)

    async def act(sagas: Sagas) -> None:
        watching = Database(places.orders_db, name="watching")
        await watching.open()
        async with retention(places, "orders", events=0.0, interval=0.05) as each:
            running = asyncio.create_task(each.run())
            await sagas.place()
            await emptied(watching)
            servers.kill("postgres")
            await sagas.place()
            await emptied(watching)
            assert not running.done()
            running.cancel()
        await watching.close()

    play(places, act)
