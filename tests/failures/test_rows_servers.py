"""A broker or a database that refuses work loses none of it (docs/failures.md, rows 31 and 34)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.support.broker_node import in_broker
from tests.support.databases import read_only
from tests.support.messages import BODY, cancel, create
from tests.support.waiting import until
from tests.support.world import Servers, World

pytestmark = pytest.mark.long

NORMAL_LIMITS: Final = {"consumer_timeout": 1_800_000, "channel_tick_interval": 60_000}  # milliseconds
NORMAL_DISK: Final = 50_000_000  # bytes that must be free
MORE_THAN_ANY_DISK: Final = 10**18


# 31


@pytest.fixture
def impatient_broker(servers: Servers) -> Iterator[None]:
    """A broker that waits a second for an acknowledgement instead of half an hour."""
    set_limits(servers, {"consumer_timeout": 1000, "channel_tick_interval": 300})
    try:
        yield
    finally:
        set_limits(servers, NORMAL_LIMITS)


def set_limits(servers: Servers, limits: dict[str, int]) -> None:
    for name, value in limits.items():
        in_broker(servers, "application", "set_env", f"rabbit, {name}, {value}")


@pytest.mark.usefixtures("impatient_broker")
def test_31_steps_that_outlast_the_brokers_patience_are_redelivered_without_a_second_effect(world: World) -> None:
    began = time.monotonic()
    world.start("order", "payment", provider_latency_ms=2500)
    ids = [str(uuid4()) for _ in range(20)]
    world.publish(*(create(order_id, ("pm_card_visa", "pm_error")[n % 2]) for n, order_id in enumerate(ids)))
    world.publish(*map(cancel, ids[::5]))
    until(lambda: "broker_connection_lost" in world.log("payment"), what="the broker takes the messages back")
    world.wait_at_rest(ids)
    assert world.dead_letters() == []
    reconnections = world.log("payment").count('"connection": "payment-service consumer", "event": "broker_connected"')
    # Each connection but the last one has held a message for the second that the broker waits.
    assert 2 <= reconnections <= 2 + time.monotonic() - began, "the broker lost patience, and no loop was hot"


# 34


@contextmanager
def full_disk(servers: Servers) -> Iterator[None]:
    """The broker takes no message, because its disk has less room than it wants."""
    in_broker(servers, "rabbit_disk_monitor", "set_disk_free_limit", str(MORE_THAN_ANY_DISK))
    try:
        yield
    finally:
        in_broker(servers, "rabbit_disk_monitor", "set_disk_free_limit", str(NORMAL_DISK))


def test_34_a_broker_with_a_full_disk_takes_no_new_work_and_loses_none(world: World) -> None:
    world.start("order", "payment", "gateway", provider_latency_ms=1000)
    ids = [world.post() for _ in range(20)]
    until(lambda: world.rows("payments", "SELECT 1 FROM payments"), what="charges are under way")
    with full_disk(world.servers):
        until(lambda: refused(world), what="a POST is refused")
        for _ in range(3):
            began = time.monotonic()
            answer = world.request("POST", "/orders", json=BODY)
            assert time.monotonic() - began < 2.2
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) >= 1
            assert "did not confirm the command" in answer.json()["detail"]
        approved = "SELECT count(*) AS n FROM payments WHERE status = 'APPROVED'"
        until(lambda: world.rows("payments", approved)[0]["n"] > 0, what="what was begun goes on as far as it can")
        assert world.request("GET", f"/orders/{ids[0]}").status_code == 200
    world.wait_at_rest(ids)
    assert world.dead_letters() == []
    last = world.post()
    world.wait_status(last, "PAID", "APPROVED")


def refused(world: World) -> bool:
    return world.request("POST", "/orders", json=BODY).status_code == 503


def refused_key(world: World) -> httpx.Response | None:
    """The answer to an order with an Idempotency-Key, if it is refused because the order service cannot answer."""
    answer = world.request("POST", "/orders", json=BODY, headers={"Idempotency-Key": str(uuid4())})
    refused = answer.status_code == 503 and "it keeps the Idempotency-Keys" in answer.json()["detail"]
    return answer if refused else None


@contextmanager
def disk_full(world: World) -> Iterator[None]:
    """PostgreSQL itself answers every insert as it does when no disk is left: SQLSTATE 53100."""
    function = (
        "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
        " 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$"
    )
    tables = {"orders": ("orders", "event_log", "idempotency_keys"), "payments": ("payments", "event_log")}
    for role, names in tables.items():
        with psycopg.connect(world.dsn(role), autocommit=True) as connection:
            connection.execute(function)
            for name in names:
                connection.execute(f"CREATE TRIGGER no_space BEFORE INSERT ON {name} EXECUTE FUNCTION no_space()")
    try:
        yield
    finally:
        for role in tables:
            with psycopg.connect(world.dsn(role), autocommit=True) as connection:
                connection.execute("DROP FUNCTION no_space CASCADE")


@pytest.mark.parametrize("trouble", [read_only, disk_full])
def test_34_a_database_that_cannot_be_written_takes_no_new_work_and_loses_none(
    world: World, trouble: Callable[[World], AbstractContextManager[None]]
) -> None:
    world.start("order", "payment", "gateway", provider_latency_ms=500)
    paid = world.post()
    world.wait_status(paid, "PAID", "APPROVED")
    before = [world.post() for _ in range(10)]
    until(lambda: world.rows("payments", "SELECT 1 FROM payments WHERE status = 'PROCESSING'"), what="charges go on")
    with trouble(world):
        answer = until(lambda: refused_key(world), what="what needs the database is refused, with the reason")
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
        meanwhile = [world.post() for _ in range(10)]  # needs only the broker, which keeps it
        assert world.request("GET", f"/orders/{paid}").json()["status"] == "PAID"
        assert [world.find_order(order_id) for order_id in meanwhile] == [None] * 10
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 3, what="it lasts for a while")
        for process in ("order", "payment"):
            assert world.log(process).count('"database_unavailable"') <= 30, "no hot loop"
    world.wait_at_rest([paid, *before, *meanwhile])
    assert world.dead_letters() == []
