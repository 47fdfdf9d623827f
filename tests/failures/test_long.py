"""Failures that take minutes are survived: a broker away, chaos in small, a rolling restart (docs/failures.md)."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from temporalio.client import WorkflowExecutionStatus

from tests.chaos.proxy import Proxy
from tests.chaos.run import Chaos, unleash
from tests.chaos.strikes import KILLS, POISONING
from tests.chaos.system import running
from tests.support.broker_outage import away_for
from tests.support.messages import USER
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import Servers, World

pytestmark = pytest.mark.long

SEED: Final = 33
COORDINATORS: Final = ("choreography", "orchestration")
INSTANCES: Final = ("order", "order2", "payment", "payment2", "gateway", "gateway2", "worker", "worker2")
RETRIES: Final = 5
BATCH: Final = 10


def test_16_a_broker_that_is_away_for_a_minute_exhausts_nothing(world: World, broker_proxy: Proxy) -> None:
    away_for(world, broker_proxy, seconds=60)


def test_30_a_saga_that_temporal_no_longer_remembers_is_started_again_without_a_second_effect(
    world: World, temporal: TemporalServer
) -> None:
    """Temporal forgets the closed workflow, as its retention does, and then the client repeats its old request."""
    world.env["SAGA_TEMPORAL_ADDRESS"] = temporal.address
    world.start("order", "payment", "gateway", "worker")
    request: dict[str, Any] = {
        "json": {"userId": USER, "total": 999, "paymentMethod": "pm_card_visa", "coordinator": "orchestration"},
        "headers": {"Idempotency-Key": "kept for good"},
    }
    order_id = world.request("POST", "/orders", **request).json()["orderId"]
    world.wait_status(order_id, "PAID", "APPROVED")
    (first, _) = until(lambda: ended_run(temporal, order_id), what="the saga has ended")
    temporal.forget(order_id)
    assert world.request("POST", "/orders", **request).json()["orderId"] == order_id
    (second, _) = until(lambda: ended_run(temporal, order_id), what="another run has ended")
    assert second != first
    world.wait_at_rest([order_id])
    assert world.books(order_id) == (999, 0)
    assert world.events("orders", order_id) == ["OrderCreated", "OrderPaid"]


def ended_run(temporal: TemporalServer, order_id: str) -> tuple[str, WorkflowExecutionStatus | None] | None:
    run = temporal.run_of(order_id)
    return run if run and run[1] is WorkflowExecutionStatus.COMPLETED else None


@pytest.mark.timeout(600)
def test_33_processes_killed_at_random_every_two_seconds_leave_every_saga_as_it_must_be(
    servers: Servers, tmp_path: Path
) -> None:
    """Three instances of every process, and both coordinators. `make chaos` strikes servers and connections, too."""
    chaos = Chaos(sagas=500, seconds=40, seed=SEED, kinds=KILLS, pause=2.0)
    with running(servers, tmp_path) as system:
        assert unleash(chaos, system, print) == []


@pytest.mark.timeout(600)
def test_37_poison_in_every_queue_while_processes_are_killed_is_set_aside_and_nothing_else_is(
    servers: Servers, tmp_path: Path
) -> None:
    chaos = Chaos(sagas=200, seconds=30, seed=SEED, kinds=(*POISONING, *KILLS), pause=0.5)
    with running(servers, tmp_path) as system:
        assert unleash(chaos, system, print) == []
        assert len(system.poison.doses) > 20


@pytest.mark.timeout(300)
def test_36_a_rolling_restart_under_load_fails_no_request_and_redelivers_next_to_nothing(
    world: World, temporal: TemporalServer
) -> None:
    world.env |= {
        "SAGA_TEMPORAL_ADDRESS": temporal.address,
        "SAGA_PROVIDER_LATENCY_MS": "200",
        "SAGA_BATCH_LIMIT": str(BATCH),
        "SAGA_SHUTDOWN_TIMEOUT": "8",
    }
    world.start(*INSTANCES)
    with Load(world) as load:
        until(lambda: len(load.accepted) > 20, what="the load has begun")
        for name in INSTANCES:
            world.terminate(name)
            assert world.processes[name].returncode == 0, world.log(name)[-2000:]
            assert "Traceback" not in world.log(name)
            world.start(name)
        sofar = len(load.accepted)
        until(lambda: len(load.accepted) > sofar + 20, what="the load has gone on")
    assert load.failed == []
    world.wait_at_rest(load.accepted, within=240)
    assert world.dead_letters() == []
    for queue in ("order-service", "payment-service"):
        # Only the broker knows how often it has delivered; its figures are some seconds old.
        counts = until(partial(all_acknowledged, world, queue), what=f"{queue} has told its figures")
        assert counts.get("redeliver", 0) <= 2 * BATCH, counts


class Load:
    """A few clients place orders for both coordinators, and turn to the other gateway when one does not answer."""

    def __init__(self, world: World) -> None:
        self.accepted: list[str] = []
        self.failed: list[str] = []
        self._urls = [f"http://127.0.0.1:{world.ports[name]}" for name in ("gateway", "gateway2")]
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(4)

    def __enter__(self) -> Load:
        self._clients = [self._pool.submit(self._post_on) for _ in range(4)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for client in self._clients:
            client.result(timeout=60)
        self._pool.shutdown()

    def _post_on(self) -> None:
        while not self._stop.wait(0.1):
            number = next(self._numbers)
            body = {"userId": USER, "total": 999, "paymentMethod": "pm_card_visa"}
            self._post({**body, "coordinator": COORDINATORS[number % 2]}, number)

    def _post(self, body: dict[str, Any], number: int) -> None:
        answers = []
        for attempt in range(RETRIES):
            try:
                answer = httpx.post(f"{self._urls[(number + attempt) % 2]}/api/orders", json=body, timeout=10)
            except httpx.TransportError as error:
                answers.append(repr(error))
            else:
                if answer.status_code == 202:
                    self.accepted.append(answer.json()["orderId"])
                    return
                answers.append(answer.text)
        self.failed.append(f"{body}: {answers}")


def all_acknowledged(world: World, queue: str) -> Mapping[str, int] | None:
    """The broker's counts for a queue, once they include every acknowledgement."""
    counts = world.statistics(queue)
    delivered = counts.get("deliver", 0) + counts.get("redeliver", 0)
    return counts if 0 < counts.get("publish", 0) <= counts.get("ack", 0) <= delivered else None
