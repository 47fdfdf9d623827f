"""The disk is full, and processes and servers come back once it is freed (docs/failures.md, row 51)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any, Final

import aio_pika
import httpx
import pytest

from choreography.topology import PAYMENT_QUEUE
from embedded import state
from tests.support.disks import fill, small_disk
from tests.support.freezing import frozen
from tests.support.messages import BODY
from tests.support.own_stack import OwnStack
from tests.support.ports import OFFSET
from tests.support.waiting import until
from tests.support.world import World

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

READS: Final = ("/api/orders", "/api/payments", "/api/payments/stats", "/healthz")
SERVICES: Final = ("order", "payment", "gateway", "worker")
SERVERS: Final = ("postgres", "rabbitmq", "temporal")
SEGMENT: Final = 4096  # entries of a quorum queue's log that one of its files holds


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[OwnStack]:
    """On a disk of 500 MB."""
    with small_disk(tmp_path / "disk", 500) as disk:
        stack = OwnStack(disk / "data", OFFSET + 400)
        stack.up()
        try:
            yield stack
        finally:
            stack.down()


class Clients:
    """Clients that place orders and read, and count the answers."""

    def __init__(self, gateway: str) -> None:
        self.told, self.accepted = Counter[int](), list[str]()
        self._gateway, self._over = gateway, Event()

    def ask(self) -> None:
        with httpx.Client(base_url=self._gateway, timeout=15) as http:
            while not self._over.is_set():
                with suppress(httpx.TransportError):  # the gateway, too, is killed
                    answer = http.post("/api/orders", json=BODY)
                    self.told[answer.status_code] += 1
                    if answer.status_code == 202:
                        self.accepted.append(answer.json()["orderId"])
                for path in (*READS, *(f"/api/orders/{each}" for each in self.accepted[:1])):
                    with suppress(httpx.TransportError):
                        self.told[http.get(path).status_code] += 1

    def leave(self) -> None:
        self._over.set()


def test_51_a_full_disk_ends_nothing_for_good_answers_no_500_and_loses_no_order(stack: OwnStack) -> None:
    """Processes are restarted at once, servers as soon as there is room, and every order ends."""
    clients = Clients(stack.urls["gateway"])
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(clients.ask) for _ in range(4)]
        try:
            until(lambda: len(clients.accepted) >= 50, within=60, what="orders are accepted")
            make_room = fill(stack.data.parent)
            until(lambda: clients.told[503] >= 20, within=60, what="what cannot be done is refused")
            killed = stack.living()
            for name in (*SERVICES, *SERVERS):
                os.kill(killed[name], signal.SIGKILL)
            until(lambda: not set(SERVERS) & stack.living().keys(), what="the servers wait for room")
            until(lambda: started_again(stack, killed), what="our own processes run again")
            refused = clients.told[503]
            until(lambda: clients.told[503] > refused + 20, within=60, what="the gateway is there, and refuses")
            assert not set(SERVERS) & stack.living().keys()
            make_room()
            stack.wait_ready()
            taken = len(clients.accepted)
            until(lambda: len(clients.accepted) >= taken + 50, within=60, what="orders are accepted again")
        finally:
            clients.leave()
    for each in asking:
        each.result()
    assert clients.told.keys() <= {200, 202, 503}, clients.told
    for name in SERVERS:
        assert "MiB of free disk left: make room" in stack.log(name), "said where one looks for it"
    stack.wait_over(clients.accepted)
    stack.audit_holds()


def test_51_processes_whose_log_nobody_takes_go_on(world: World, tmp_path: Path) -> None:
    """Standard error leads to a disk that is full."""
    for name in ("order", "payment", "gateway"):
        (tmp_path / f"{name}.log").symlink_to("/dev/full")
    world.start("order", "payment", "gateway")
    paid, failed = world.post(), world.post("pm_error")
    world.wait_status(paid, "PAID", "APPROVED")
    world.wait_status(failed, "FAILED", "FAILED")
    assert [process.poll() for process in world.processes.values()] == [None] * 3
    world.terminate("gateway", "order", "payment")
    assert [process.returncode for process in world.processes.values()] == [0] * 3


def test_51_a_queue_that_rabbitmq_cannot_recover_is_set_aside_and_what_was_in_it_told_again(stack: OwnStack) -> None:
    """A full disk can leave a hole in the log of a queue. The stack comes up all the same, and says so."""
    known = stack.post(**BODY)
    stack.wait_over([known], "PAID")
    with frozen(stack.living()["payment"]):
        give_entries(stack, known, 2 * SEGMENT + 500)  # ends in the middle of a file
    until(lambda: waiting(stack) == 0, within=120, what="all of it is read: there is a snapshot")
    with frozen(stack.living()["payment"]):
        orders = [stack.post(**BODY) for _ in range(20)]
        until(lambda: waiting(stack) >= 20, what="the orders' events wait")
        give_entries(stack, known, 2 * SEGMENT)
        stack.down()
    write_segments(stack)
    hole = tear(stack)
    stack.up()
    assert "could not recover payment-service" in stack.log("rabbitmq")
    assert "saga events replay --since 1h" in stack.said()
    (kept,) = (stack.data / "rabbitmq" / "set-aside").glob("*/payment-service/config")
    assert kept.is_file()
    assert not hole.exists()
    assert [stack.status(each) for each in orders] == ["PENDING_PAYMENT"] * 20
    stack.saga("events", "replay", "--since", "1h")
    stack.wait_over([*orders, stack.post(**BODY)], "PAID")
    stack.audit_holds()


def started_again(stack: OwnStack, killed: dict[str, int]) -> bool:
    """Whether each of our own processes runs again under another pid."""
    living = stack.living()
    return all(living.get(name, killed[name]) != killed[name] for name in SERVICES)


def give_entries(stack: OwnStack, order_id: str, entries: int) -> None:
    """Send an order's first event to the payment service again and again: each is an entry of the queue's log."""
    chosen = ("--service", "order", "--order", order_id, "--type", "OrderCreated")  # the payment service is frozen
    listed = stack.saga("events", "list", *chosen, "--json")
    (created,) = json.loads(listed.stdout)["data"]

    async def publish() -> None:
        message = aio_pika.Message(json.dumps(created).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        async with await aio_pika.connect(stack.urls["amqp"]) as connection:
            exchange = (await connection.channel()).default_exchange
            for _ in range(0, entries, 500):
                await asyncio.gather(*(exchange.publish(message, PAYMENT_QUEUE) for _ in range(500)))

    asyncio.run(publish())
    until(lambda: waiting(stack) >= entries, what="the broker has counted them")


def waiting(stack: OwnStack) -> int:
    queue: dict[str, Any] = httpx.get(
        f"{stack.urls['rabbitmq_ui']}/api/queues/%2F/{PAYMENT_QUEUE}", auth=login(stack), timeout=20
    ).json()
    return int(queue.get("messages", -1))


def login(stack: OwnStack) -> tuple[str, str]:
    user, _, password = stack.urls["amqp"].removeprefix("amqp://").partition("@")[0].partition(":")
    return user, password


def write_segments(stack: OwnStack) -> None:
    """Start and stop RabbitMQ alone, which moves the rest of its common log into the queues' own files."""
    servers = [sys.executable, "-m", "tests.support.servers", str(stack.data), str(stack.offset)]
    with subprocess.Popen(servers) as process:
        until(lambda: bool((state.read(stack.data) or {}).get("ready")), within=120, what="the servers are ready")
        process.terminate()


def segments(stack: OwnStack) -> list[Path]:
    """The files of the payment service's queue, oldest first."""
    for config in (stack.data / "rabbitmq" / "mnesia").glob("*/quorum/*/*/config"):
        if f"'%2F_{PAYMENT_QUEUE}'".encode() in config.read_bytes():
            return sorted(config.parent.glob("*.segment"))
    raise AssertionError("the queue has no files")


def tear(stack: OwnStack) -> Path:
    """Remove the oldest file, which has the entries behind the snapshot. Returns the damaged folder."""
    oldest, *others = segments(stack)
    assert others, "there is something behind the hole"
    oldest.unlink()
    return oldest.parent
