"""The console's stream under load: a thousand sagas a second reach each viewer in five frames a second at most."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

import aio_pika
import httpx
import psutil
import pytest
from aio_pika.abc import AbstractChannel

from choreography.frames import FrameWriter, publish_frames
from choreography.outgoing_message import as_message
from choreography.topology import FEED_QUEUES
from models.message_types import ORDERS_EXCHANGE, PAYMENTS_EXCHANGE
from models.messages import envelope_of
from models.saga import Event, OrderCreated, OrderId, OrderPaid, PaymentApproved, UserId
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.long

SAGAS = 1000  # a second, of three events each
SECONDS = 6
LARGEST = 100_000  # bytes of a frame's body
TOGETHER = 20  # sagas whose events are sent in one piece
STREAM = b"GET /api/console/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Seen:
    """What a viewer was told."""

    at: list[float] = field(default_factory=list)
    frames: list[dict[str, object]] = field(default_factory=list)
    bytes: int = 0

    @property
    def events(self) -> int:
        return sum(frame["rates"]["events"] for frame in self.frames)  # type: ignore[index]


@pytest.fixture
def gateway(world: World) -> str:
    """The gateway alone: what it streams comes from the broker. Nobody else hears the events."""

    async def exchanges(channel: AbstractChannel) -> None:
        for name in (ORDERS_EXCHANGE, PAYMENTS_EXCHANGE):
            await channel.declare_exchange(name, "topic", durable=True)

    world.amqp(exchanges)
    world.start("gateway")
    return f"http://127.0.0.1:{world.ports['gateway']}"


@pytest.fixture
def apart() -> Iterator[Executor]:
    """A process of its own, since neither the viewers nor the publisher may hold back the other."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def saga() -> Iterator[Event]:
    order_id = OrderId(uuid4())
    yield OrderCreated(order_id=order_id, user_id=UserId(uuid4()), total=999)
    yield PaymentApproved(order_id=order_id, transaction_id="txn_1")
    yield OrderPaid(order_id=order_id)


def written(event: Event, number: int) -> bytes:
    """The frames that publish this event on a channel."""
    envelope = envelope_of(event, event_id=uuid4(), occurred_at=datetime.now(UTC), correlation_id="load")
    return publish_frames(number, replace(as_message(envelope), mandatory=False), LARGEST)


def publish(url: str, number: int) -> float:
    """Publish the events of so many sagas, SAGAS of them a second. Returns how many seconds it took."""
    return asyncio.run(_publish(url, number))


async def _publish(url: str, number: int) -> float:
    async with await aio_pika.connect(url) as connection:
        channel = await (await connection.channel(publisher_confirms=False)).get_underlay_channel()
        sagas = [b"".join(written(event, channel.number) for event in saga()) for _ in range(number)]
        writer, began = FrameWriter(channel), time.monotonic()
        for place in range(0, number, TOGETHER):
            writer.add(b"".join(sagas[place : place + TOGETHER]))
            await asyncio.sleep(max(0.0, began + (place + TOGETHER) / SAGAS - time.monotonic()))
        took = time.monotonic() - began
        await channel.queue_declare(exclusive=True)  # its answer comes when all before it has been taken
    return took


async def view(gateway: str, seen: Seen) -> None:
    async with httpx.AsyncClient(timeout=30) as client, client.stream("GET", f"{gateway}/api/console/stream") as answer:
        name = ""
        async for line in answer.aiter_lines():
            seen.bytes += len(line)
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            if line.startswith("data: ") and name == "sagas":
                seen.at.append(time.monotonic())
                seen.frames.append(json.loads(line.removeprefix("data: ")))
            assert name != "gap"


def stalled(gateway: str) -> socket.socket:
    """A viewer that asks, and reads nothing."""
    viewer = socket.socket()
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    viewer.connect(("127.0.0.1", int(gateway.rpartition(":")[2])))
    viewer.sendall(STREAM)
    return viewer


async def told(gateway: str, url: str, viewers: int, apart: Executor) -> tuple[list[Seen], float]:
    seen = [Seen() for _ in range(viewers)]
    viewing = [asyncio.create_task(view(gateway, each)) for each in seen]
    await asyncio.sleep(1)
    took = await asyncio.get_running_loop().run_in_executor(apart, publish, url, SAGAS * SECONDS)
    async with asyncio.timeout(30):
        while not all(each.events >= 3 * SAGAS * SECONDS for each in seen):
            await asyncio.sleep(0.1)
            for task in viewing:
                assert not task.done(), task.result()
    for task in viewing:
        task.cancel()
    await asyncio.wait(viewing)
    return seen, took


def test_a_thousand_sagas_a_second_are_five_frames_a_second_for_each_viewer(
    world: World, gateway: str, apart: Executor
) -> None:
    """Others read nothing, and cost the gateway no memory for that."""
    process = psutil.Process(world.processes["gateway"].pid)
    deaf = [stalled(gateway) for _ in range(20)]
    before = process.memory_info().rss
    before_cpu = _used(process)
    seen, took = asyncio.run(told(gateway, world.amqp_url, 5, apart))
    cpu = _used(process) - before_cpu
    grown = process.memory_info().rss - before
    for viewer in deaf:
        viewer.close()
    print(f"{SAGAS * SECONDS} sagas in {took:.1f} s; frames {[len(each.at) for each in seen]},", end=" ")
    print(
        f"{seen[0].bytes / took / 1000:.0f} kB/s a viewer; memory grew by {grown / 1e6:.1f} MB; {cpu / took:.2f} CPUs"
    )
    assert took < SECONDS * 1.5, "the load was less than it should be"
    for each in seen:
        assert len(each.at) <= 5 * (each.at[-1] - each.at[0]) + 2
        assert all(len(frame["sagas"]) <= 100 for frame in each.frames)  # type: ignore[arg-type]
        assert each.events == 3 * SAGAS * SECONDS
        assert sum(frame["rates"]["started"] for frame in each.frames) == SAGAS * SECONDS  # type: ignore[index]
        assert sum(frame["dropped"] for frame in each.frames) > 0  # type: ignore[misc]
    assert grown < 40e6  # 5,000 sagas, and at most a frame for each viewer that does not read


def test_without_viewers_the_events_do_not_reach_the_gateway(world: World, gateway: str, apart: Executor) -> None:
    def queues() -> list[str]:
        answer = httpx.get(f"{world.servers.rabbitmq_api}/queues/{world.name}", params={"columns": "name"}, timeout=20)
        return [queue["name"] for queue in answer.json() if queue["name"].startswith(f"{FEED_QUEUES}.")]

    process = psutil.Process(world.processes["gateway"].pid)
    assert queues() == []
    apart.submit(publish, world.amqp_url, 100).result()
    idle = _cpu(process, lambda: time.sleep(SECONDS))
    loaded = _cpu(process, lambda: apart.submit(publish, world.amqp_url, SAGAS * SECONDS).result())
    print(f"CPU without viewers: idle {idle:.2f} s, under load {loaded:.2f} s")
    assert queues() == []
    assert loaded < idle + 0.3
    with socket.create_connection(("127.0.0.1", int(gateway.rpartition(":")[2]))) as viewer:
        viewer.sendall(STREAM)
        assert viewer.recv(100).startswith(b"HTTP/1.1 200")
        until(lambda: len(queues()) == 1, within=20, what="events are heard while somebody views")


def _cpu(process: psutil.Process, do: Callable[[], object]) -> float:
    before = _used(process)
    do()
    return _used(process) - before


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
