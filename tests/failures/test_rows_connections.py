"""Connections break while work is under way, and the work goes on (docs/failures.md, rows 16, 17, 29 and 36)."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from uuid import uuid4

import psycopg
import pytest

from tests.chaos.proxy import Proxy
from tests.support.broker_outage import away_for
from tests.support.freezing import frozen
from tests.support.messages import METHODS, USER, cancel, create
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.long

CUTS = 8
IN_DOUBT = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()"


def test_16_a_broker_that_is_away_exhausts_nothing(world: World, broker_proxy: Proxy) -> None:
    """The broker is cut off for four seconds, and what waits in the outboxes is forty minutes old then."""
    away_for(world, broker_proxy, seconds=4)


def test_16_a_proxy_that_hangs_up_in_place_of_the_broker_ends_no_process(world: World, broker_proxy: Proxy) -> None:
    world.start("order", "gateway")
    broker_proxy.hang_up()
    for process in ("order", "gateway"):
        until(partial(looked_in_vain, world, process, 12), what=f"{process} has looked for the broker again and again")
    broker_proxy.heal()
    world.start("payment")
    for process in ("order", "gateway"):
        world.wait_ready(process)
    order_id = world.post()
    world.wait_status(order_id, "PAID", "APPROVED")


def test_36_processes_told_to_stop_end_well_though_the_broker_has_fallen_silent(world: World) -> None:
    world.start("order", "payment", "gateway", shutdown_timeout=2)
    world.launch("worker", shutdown_timeout=2)  # it is ready when Temporal is; here it has nobody to tell
    until(lambda: "broker_connected" in world.log("worker"), what="the worker has the broker")
    end_well(world, world.servers.pids()["rabbitmq"])


def test_36_processes_told_to_stop_end_well_though_temporal_has_fallen_silent(
    world: World, temporal: TemporalServer
) -> None:
    world.env["SAGA_TEMPORAL_ADDRESS"] = temporal.address
    world.start("order", "payment", "gateway", "worker", shutdown_timeout=2)
    for coordinator in ("choreography", "orchestration"):
        body = {"userId": USER, "total": 1, "coordinator": coordinator}
        assert world.request("POST", "/orders", json=body).status_code == 202
    assert temporal.pid is not None
    end_well(world, temporal.pid)


def test_36_processes_told_to_stop_end_in_time_though_every_server_has_fallen_silent(
    world: World, temporal: TemporalServer
) -> None:
    """Charges are under way, and one process is still waiting for its database to answer its first query."""
    world.env["SAGA_TEMPORAL_ADDRESS"] = temporal.address
    world.start("order", "payment", "gateway", "worker", shutdown_timeout=2, provider_latency_ms=1000)
    ids = [world.post() for _ in range(20)]
    until(lambda: world.rows("payments", "SELECT 1 FROM payments"), what="charges are under way")
    pids = world.servers.pids()
    assert temporal.pid is not None
    with frozen(pids["postgres"]):
        world.launch("payment2", shutdown_timeout=2)
        until(lambda: is_listening(world.ports["payment2"]), what="another one has begun to start")
        end_well(world, temporal.pid, pids["rabbitmq"], within=2 + 3 + 7)  # the last seven are for a busy machine
    world.start("order", "payment")
    world.wait_at_rest(ids)


def is_listening(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return True


def end_well(world: World, *frozen_pids: int, within: float = 10) -> None:
    """Prove that processes end within their time although servers keep their connections and answer nothing."""
    with ExitStack() as stack:
        for pid in frozen_pids:
            stack.enter_context(frozen(pid))
        began = time.monotonic()
        world.terminate(*world.processes)
        took = time.monotonic() - began
    assert {name: process.returncode for name, process in world.processes.items()} == dict.fromkeys(world.processes, 0)
    assert not [name for name in world.processes if "Traceback" in world.log(name)]
    assert took < within, took


def looked_in_vain(world: World, process: str, times: int) -> bool:
    return world.log(process).count('"event": "broker_unavailable"') >= times


def test_17_one_reset_under_steady_load_costs_one_reconnection(world: World, broker_proxy: Proxy) -> None:
    """Work that began on the old connection ends without closing the new one."""
    world.start("order", "payment", provider_latency_ms=1500)
    ids: list[str] = []
    began, reset = time.monotonic(), False
    while time.monotonic() - began < 5:  # a load that lasts, a few orders at a time
        more = [str(uuid4()) for _ in range(3)]
        world.publish(*map(create, more))
        ids += more
        if not reset and time.monotonic() - began > 1.6:
            broker_proxy.reset()
            reset = True
    world.wait_at_rest(ids)
    connected = '"connection": "payment-service consumer", "event": "broker_connected"'
    assert world.log("payment").count(connected) == 2
    assert world.dead_letters() == []


def test_29_connections_cut_in_mid_transaction_are_retried_without_a_hot_loop(world: World) -> None:
    world.start("order", "payment", batch_limit=20)
    ids = [str(uuid4()) for _ in range(200)]
    world.publish(*(create(order_id, METHODS[n % 4]) for n, order_id in enumerate(ids)))
    world.publish(*map(cancel, ids[::7]))
    for _ in range(CUTS):
        for role in ("orders", "payments"):
            # From now on every transaction that changes an order or a payment waits in the middle.
            with psycopg.connect(world.dsn(role)) as blocking:
                blocking.execute(f"LOCK TABLE {role} IN SHARE ROW EXCLUSIVE MODE")
                cut(world, role)
    world.wait_at_rest(ids)
    assert world.dead_letters() == []
    for process in ("order", "payment"):
        signs = ("database_unavailable", "outbox_not_marked", "relay_waits_for_database", "relay_not_listening")
        lines = sum(world.log(process).count(f'"event": "{sign}"') for sign in signs)
        assert lines <= CUTS * 12, (process, lines)


def cut(world: World, role: str) -> None:
    """End every session of a service, those in the middle of a transaction too."""
    with psycopg.connect(world.servers.admin_dsn, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s AND datname = %s"
            " AND application_name LIKE '%% service'",
            [role, f"{role}_{world.name}"],
        )


def test_29_a_transaction_whose_connection_is_cut_is_applied_once_by_the_next_try(world: World) -> None:
    world.start("order", "payment")
    order_id = str(uuid4())
    world.publish(create(order_id, "pm_slow"))
    until(lambda: world.order(order_id)["status"] == "PENDING_PAYMENT", what="it is stored")
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with psycopg.connect(world.dsn("orders")) as blocking:
        blocking.execute("SELECT 1 FROM orders WHERE id = %s FOR UPDATE", [order_id])
        world.publish(cancel(order_id))
        until(lambda: world.rows("orders", waiting), what="the cancellation is in the middle of its transaction")
        cut(world, "orders")
        until(lambda: world.rows("orders", waiting), what="it is tried again")
    world.wait_status(order_id, "CANCELLED", "CANCELLED")
    world.wait_at_rest([order_id])
    assert world.events("orders", order_id) == ["OrderCreated", "OrderCancelled"]
    assert "database_unavailable" in world.log("order")


def test_29_a_refund_is_made_though_the_commit_that_made_it_due_was_never_confirmed(world: World) -> None:
    """The charge is answered after a cancellation. The commit stands, but the service saw its connection break."""
    world.start("order", "payment", provider_timeout=20)
    order_id = str(uuid4())
    with commit_in_doubt(world, "due = 'refund'"):
        with psycopg.connect(world.dsn("payments")) as books:
            books.execute("LOCK TABLE provider_charges IN EXCLUSIVE MODE")
            world.publish(create(order_id))
            until(lambda: world.find_payment(order_id), what="it is to be charged")
            world.publish(cancel(order_id))
            until(lambda: world.payment(order_id)["due"] == "void", what="its void waits behind its charge")
        until(lambda: world.rows("payments", IN_DOUBT), what="the refund is due, and not confirmed to be")
        cut(world, "payments")
        world.wait_status(order_id, "CANCELLED", "REFUNDED")
    world.wait_at_rest([order_id])
    assert world.books(order_id) == (999, 999)
    assert "database_unavailable" in world.log("payment")


@contextmanager
def commit_in_doubt(world: World, condition: str) -> Iterator[None]:
    """Inside, the first such change to a payment is committed, and then waits for a standby that never answers."""
    with psycopg.connect(world.dsn("payments")) as owner:
        owner.execute("CREATE TABLE doubted ()")
        owner.execute(
            "CREATE FUNCTION doubt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF NOT EXISTS (SELECT FROM doubted) THEN"
            " INSERT INTO doubted DEFAULT VALUES; PERFORM set_config('synchronous_commit', 'on', true);"
            " END IF; RETURN NULL; END $$"
        )
        owner.execute(
            "CREATE TRIGGER doubt AFTER UPDATE ON payments FOR EACH ROW"
            f" WHEN (new.{condition}) EXECUTE FUNCTION doubt()"
        )
    with psycopg.connect(world.servers.admin_dsn, autocommit=True) as admin:
        for role in ("orders", "payments"):
            admin.execute(f"ALTER DATABASE {role}_{world.name} SET synchronous_commit = local")
            cut(world, role)  # its sessions are made anew, with that
        admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        admin.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            admin.execute("SELECT pg_reload_conf()")


def test_29_a_restart_of_postgresql_is_waited_for_without_a_hot_loop(world: World) -> None:
    world.start("order", "payment", provider_latency_ms=200)
    ids = [str(uuid4()) for _ in range(100)]
    world.publish(*map(create, ids))
    until(lambda: world.rows("payments", "SELECT 1 FROM payments"), what="charges are under way")
    before = world.servers.pids()["postgres"]
    world.servers.kill("postgres")
    until(lambda: world.servers.pids()["postgres"] not in (None, before), what="PostgreSQL is started again")
    for process in ("order", "payment"):
        world.wait_ready(process)
    until(lambda: all_known(world, ids), what="every order is known")
    world.wait_at_rest(ids)
    assert world.dead_letters() == []
    for process in ("order", "payment"):
        assert world.log(process).count('"event": "database_unavailable"') <= 20


def all_known(world: World, ids: list[str]) -> bool:
    try:
        return bool(world.rows("orders", "SELECT count(*) AS n FROM orders")[0]["n"] == len(ids))
    except psycopg.OperationalError as error:
        raise OSError(str(error)) from error
