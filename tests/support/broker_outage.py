"""A broker that is away for long, and the proof that nothing needs help afterwards."""

from __future__ import annotations

import time
from uuid import uuid4

import psycopg

from tests.chaos.proxy import Proxy
from tests.support.messages import METHODS, cancel, create
from tests.support.waiting import until
from tests.support.world import World


def away_for(world: World, broker_proxy: Proxy, *, seconds: float) -> None:
    """Cut the broker off during charges, and prove that everything recovers by itself."""
    world.start("order", "payment", "gateway", provider_latency_ms=500)
    ids = [str(uuid4()) for _ in range(40)]
    world.publish(*(create(order_id, METHODS[n % 4]) for n, order_id in enumerate(ids)))
    world.publish(*map(cancel, ids[::5]))
    until(lambda: world.rows("payments", "SELECT 1 FROM payments"), what="charges are under way")
    broker_proxy.cut()
    cut_at = time.monotonic()
    unpublished = "SELECT count(*) AS n FROM outbox"
    until(lambda: world.rows("payments", unpublished)[0]["n"], what="what was committed waits in the outbox")
    until(lambda: "broker_unavailable" in world.log("order"), what="the order service looks for the broker")
    age(world, minutes=40)
    assert world.request("POST", "/orders", json={"userId": ids[0], "total": 1}).status_code == 503
    until(lambda: time.monotonic() - cut_at > seconds, within=seconds + 5, what="the broker was away for long")
    # The pause between two tries grows to two seconds: a few tries in the beginning, then one in about 1.6 seconds.
    for process in ("order", "payment", "gateway"):
        assert world.processes[process].poll() is None
        tries = world.log(process).count('"event": "broker_unavailable"') / 2  # it has two connections
        assert tries <= 6 + (time.monotonic() - cut_at) / 1.6, (process, tries)
    broker_proxy.heal()
    for process in ("order", "payment", "gateway"):
        world.wait_ready(process)
    world.wait_at_rest(ids)
    assert world.dead_letters() == []
    last = world.post()
    world.wait_status(last, "PAID", "APPROVED")


def age(world: World, *, minutes: int) -> None:
    """Make all that is stored older, as if that time had passed."""
    tables = {
        "orders": {"orders": ("created_at", "updated_at"), "outbox": ("created_at",), "event_log": ("occurred_at",)},
        "payments": {
            "payments": ("created_at", "updated_at"),
            "outbox": ("created_at",),
            "event_log": ("occurred_at",),
        },
    }
    for role, columns_of in tables.items():
        with psycopg.connect(world.dsn(role), autocommit=True) as connection:
            for table, columns in columns_of.items():
                assignments = ", ".join(f"{column} = {column} - interval '{minutes} minutes'" for column in columns)
                connection.execute(f"UPDATE {table} SET {assignments}")
