"""Whoever takes as much as the limits let them harms nobody else (docs/failures.md, row 56)."""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack
from typing import TypeAlias
from uuid import uuid4

import psutil
import pytest

from tests.support.messages import BODY, create
from tests.support.waiting import until
from tests.support.world import World

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

IDLE, STREAMS, WAITS = 2_000, 500, 200
RATE = 50.0  # requests a second that each client may make
MODEST = 20.0  # requests a second of the client that keeps to the limits …
HANDS = 20  # requests at once of the client that takes ten times its rate
WINDOWS, SAMPLES = 3, 100  # … whose times are looked at in windows
SLOWER = 3.0  # times the 99th percentile of before
NOISE = 0.05  # seconds: a percentile below this is no harm on two cores that also run the crowd
MOST = 256 * 1024 * 1024  # bytes that the gateway may grow by


ORDER = json.dumps(BODY).encode()

Connection: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Client:
    """Asks from one address of loopback, a request a connection."""

    def __init__(self, port: int, address: str) -> None:
        self._port = port
        self._address = address

    async def open(self) -> Connection:
        return await asyncio.open_connection("127.0.0.1", self._port, local_addr=(self._address, 0))

    async def begin(self, method: str, path: str, body: bytes = b"", fields: str = "") -> Connection:
        """Send a request; its answer is the reader's."""
        reader, writer = await self.open()
        head = f"{method} /api{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"\r\n" + body)
        return reader, writer

    async def ask(self, method: str, path: str, body: bytes = b"") -> int:
        """The status of the complete answer."""
        reader, writer = await self.begin(method, path, body)
        answer = await reader.read()
        writer.close()
        return int(answer.split(b" ", 2)[1])


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 16_384), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def p99(client: Client, known: str) -> float:
    """Seconds, in the quietest window, for reads and orders in turns that all succeed."""

    async def window() -> float:
        times = []
        for n in range(SAMPLES):
            began = time.monotonic()
            status = await (client.ask("POST", "/orders", ORDER) if n % 2 else client.ask("GET", f"/orders/{known}"))
            assert status == (202 if n % 2 else 200)
            times.append(time.monotonic() - began)
            await asyncio.sleep(max(0.0, 1 / MODEST - times[-1]))
        return sorted(times)[int(0.99 * SAMPLES)]

    return min([await window() for _ in range(WINDOWS)])


async def crowd(stack: AsyncExitStack, port: int, pending: list[str]) -> Counter[int]:
    """Everything at once: idle connections, streams, waiting POSTs, and a client at ten times its rate."""
    statuses: Counter[int] = Counter()

    async def held(connection: Awaitable[Connection]) -> asyncio.StreamReader:
        reader, writer = await connection
        stack.callback(writer.close)
        return reader

    idle, streams, waits = (Client(port, f"127.0.1.{n}") for n in (1, 2, 3))
    for _ in range(IDLE):
        await held(idle.open())
    for n in range(STREAMS):
        reader = await held(streams.begin("GET", f"/orders/{pending[n % len(pending)]}/stream"))
        statuses[int((await reader.readline()).split(b" ", 2)[1])] += 1
        await asyncio.sleep(1.2 / RATE)  # within its rate
    for _ in range(WAITS):
        await held(waits.begin("POST", "/orders", ORDER, "Prefer: wait=30\r\n"))
        await asyncio.sleep(1.2 / RATE)
    return statuses


async def greedy(port: int, refused: Counter[int]) -> None:
    client = Client(port, "127.0.1.4")

    async def go_on() -> None:
        while True:
            began = time.monotonic()
            refused[await client.ask("GET", "/orders?limit=1")] += 1
            await asyncio.sleep(max(0.0, HANDS / (10 * RATE) - (time.monotonic() - began)))

    await asyncio.gather(*(go_on() for _ in range(HANDS)))


def test_56_those_who_keep_to_the_limits_are_served_while_others_take_all_they_may(world: World) -> None:
    world.start(
        "order",
        "payment",
        "gateway",
        rate_limit=RATE,
        request_timeout=120,
        provider_latency_ms=60_000,
        provider_timeout=90,
    )
    pending = [str(uuid4()) for _ in range(20)]
    world.publish(*map(create, pending))
    until(lambda: all(map(world.find_order, pending)), what="orders are pending")
    port, process = world.ports["gateway"], psutil.Process(world.processes["gateway"].pid)

    async def measure() -> tuple[float, float, int, Counter[int], Counter[int]]:
        modest, refused = Client(port, "127.0.2.1"), Counter[int]()
        alone = await p99(modest, pending[0])
        before = process.memory_info().rss
        async with AsyncExitStack() as stack:
            streams = await crowd(stack, port, pending)
            asking = asyncio.create_task(greedy(port, refused))
            beside = await p99(modest, pending[0])
            asking.cancel()
            return alone, beside, process.memory_info().rss - before, streams, refused

    alone, beside, grown, streams, refused = asyncio.run(measure())
    print(f"p99 alone {alone:.4f} s, beside the crowd {beside:.4f} s; {grown >> 20} MiB more; {refused}")
    assert streams == {200: STREAMS}
    assert set(refused) == {200, 429}
    assert refused[429] > refused[200]
    assert beside <= max(SLOWER * alone, NOISE), (alone, beside)
    assert grown < MOST, grown
