"""docs/failures.md, row 52: as many clients as there may be read as fast as they can."""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from statistics import median
from typing import TypeVar

import httpx
import pytest

from bench.crowd import Read, read
from tests.support.freezing import frozen
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.long

Result = TypeVar("Result")

SHARE = 0.6  # of the order service's own rate
TURNS = 5
EARLY = 4.0  # seconds, on a busy machine
SECONDS = 3.0  # of reading, at each place and turn


@pytest.fixture
def readers() -> Iterator[Executor]:
    """A process of their own, since they must not wait for the test."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_many_files) as pool:
        yield pool


def _many_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))


def _read(url: str, path: str, connections: int, seconds: float, headers: Mapping[str, str] | None = None) -> Read:
    return asyncio.run(read(url, path, connections=connections, seconds=seconds, headers=headers))


def paid_order(world: World) -> str:
    world.start("order", "payment", "gateway")
    order_id = world.post()
    world.wait_status(order_id, "PAID", "APPROVED")
    return order_id


def gateway(world: World) -> str:
    return f"http://127.0.0.1:{world.ports['gateway']}"


@pytest.mark.parametrize("connections", [8, 32, 512])
def test_52_readers_get_most_of_what_the_service_itself_would_give_them(
    world: World, readers: Executor, connections: int
) -> None:
    """In turns, and the median of their shares: the rates of a busy machine drift."""
    order_id = paid_order(world)
    service, token = f"http://127.0.0.1:{world.ports['order']}", {"Authorization": "Bearer internal"}
    shares, statuses = [], set()
    for _ in range(TURNS):
        own = readers.submit(_read, service, f"/orders/{order_id}", connections, SECONDS, token).result()
        through = readers.submit(_read, gateway(world), f"/api/orders/{order_id}", connections, SECONDS).result()
        shares.append(through.rate / own.rate)
        statuses |= {*through.answers}
    assert statuses <= ({200, 503} if connections > 100 else {200})
    assert median(shares) >= SHARE, shares


def test_52_commands_and_streams_go_on_beside_512_readers(world: World, readers: Executor) -> None:
    order_id = paid_order(world)
    crowd = readers.submit(_read, gateway(world), f"/api/orders/{order_id}", 512, 12.0)
    took: dict[str, list[float]] = {}
    placed = []
    with httpx.Client(timeout=20, base_url=gateway(world)) as client:
        while not crowd.done():
            placed.append(_timed(took, "POST", world.post))
            cancelled = _timed(took, "cancel", lambda: client.patch(f"/api/orders/{placed[-1]}/cancel"))
            assert cancelled.status_code == 202, cancelled.text
            assert _timed(took, "readyz", lambda: client.get("/readyz")).status_code == 200
            assert "OrderPaid" in _timed(took, "stream", lambda: _story(client, order_id))
    answers, slowest = crowd.result().answers, crowd.result().slowest
    assert {*answers} <= {200, 503}, answers
    assert slowest.get(503, 0.0) < EARLY
    assert len(placed) >= 3
    assert {name: round(median(times), 2) for name, times in took.items() if median(times) > 1} == {}
    for each in placed:
        world.wait_status(each, "CANCELLED")
    world.wait_at_rest([order_id, *placed])


def test_52_whoever_is_not_served_is_refused_early_and_told_when_to_come_again(world: World, readers: Executor) -> None:
    """More than may wait, while the service stands still; it serves them when it goes on."""
    path = f"/api/orders/{paid_order(world)}"
    with frozen(world.processes["order"].pid):
        answers = readers.submit(_asked_at_once, world.ports["gateway"], path, 1_200).result()
    for seconds, head in answers:
        assert head.startswith(b"HTTP/1.1 503 "), head
        assert b"\r\nretry-after: 1\r\n" in head, head
        assert seconds < EARLY
    until(lambda: world.request("GET", path.removeprefix("/api")).status_code == 200, what="it is served again")


def _asked_at_once(port: int, path: str, times: int) -> list[tuple[float, bytes]]:
    """How long each request took, on a connection of its own, and the head of its answer."""

    async def ask() -> tuple[float, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = time.monotonic()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        return time.monotonic() - began, head

    async def all_at_once() -> list[tuple[float, bytes]]:
        return await asyncio.gather(*(ask() for _ in range(times)))

    return asyncio.run(all_at_once())


def _timed(took: dict[str, list[float]], name: str, act: Callable[[], Result]) -> Result:
    began = time.monotonic()
    result = act()
    took.setdefault(name, []).append(time.monotonic() - began)
    return result


def _story(client: httpx.Client, order_id: str) -> str:
    with client.stream("GET", f"/api/orders/{order_id}/stream") as stream:
        return "".join(stream.iter_lines())
