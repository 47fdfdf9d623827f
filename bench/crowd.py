"""Read one order over many connections at once: through the gateway, and from the order service itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid4

from bench.http_client import HttpClient
from bench.load import post
from bench.own_stack import Running
from bench.report import Notes
from bench.workload import MIX, Sale
from models.saga import Coordinator

GROUP: Final = "One order, read over many connections at once"
CONNECTIONS: Final = (8, 32, 512)
_STORED_WITHIN: Final = 30.0  # seconds
_PAUSE: Final = 0.05  # seconds


@dataclass(kw_only=True, slots=True)
class Read:
    """The answers by status, 0 for no answer, and for each status the seconds of the slowest one."""

    seconds: float
    answers: Counter[int] = field(default_factory=Counter)
    slowest: dict[int, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """The orders read a second, without refusals."""
        return self.answers[200] / self.seconds


async def read(
    url: str, path: str, *, connections: int, seconds: float, headers: Mapping[str, str] | None = None
) -> Read:
    """Read one path as fast as answers come, with one request at a time on each connection."""
    found = Read(seconds=seconds)
    until = time.perf_counter() + seconds
    async with HttpClient(url, headers=headers) as client:

        async def one_after_another() -> None:
            while (began := time.perf_counter()) < until:
                status = (await client.request("GET", path)).status
                if (ended := time.perf_counter()) <= until:  # an answer after the end is not in time
                    found.answers[status] += 1
                    found.slowest[status] = max(found.slowest.get(status, 0.0), ended - began)

        await asyncio.gather(*(one_after_another() for _ in range(connections)))
    return found


async def stored_order(gateway: str) -> UUID:
    """A new order that can be read. Raises RuntimeError unless it is accepted, TimeoutError unless it is stored."""
    sale = Sale.of(MIX[0], Coordinator.CHOREOGRAPHY, user_id=uuid4(), total=999)
    async with HttpClient(gateway) as client, asyncio.timeout(_STORED_WITHIN):
        placed = await post(client, sale, time.time())
        if (order_id := placed.order_id) is None:
            raise RuntimeError(f"The order to read was answered with {placed.status}")
        while (await client.request("GET", f"/api/orders/{order_id}")).status != 200:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(_PAUSE)
    return order_id


async def measure(running: Running, token: str, notes: Notes, *, seconds: float) -> None:
    """Note, for each number of connections, how many orders a second are read at either place.

    One right after the other: the rates of a busy machine drift. Raises what `stored_order` raises.
    """
    gateway, service = running.urls["gateway"], f"http://127.0.0.1:{running.ports['order']}"
    order_id, headers = await stored_order(gateway), {"Authorization": f"Bearer {token}"}
    for number in CONNECTIONS:
        direct = await read(service, f"/orders/{order_id}", connections=number, seconds=seconds, headers=headers)
        through = await read(gateway, f"/api/orders/{order_id}", connections=number, seconds=seconds)
        _note(notes, number, gateway=through, service=direct)


def _note(notes: Notes, connections: int, gateway: Read, service: Read) -> None:
    """Note how many orders a second were read at each place over so many connections, and all other answers."""
    for key, name, found in (
        ("gateway", "through the gateway", gateway),
        ("service", "from the order service", service),
    ):
        what = f"{name}, {connections} connections"
        notes.note(f"crowd.{connections}.{key}", found.rate, group=GROUP, name=what, unit="a second")
        if others := {status: number for status, number in found.answers.items() if status != 200}:
            told = ", ".join(f"{number} with {status or 'nothing'}" for status, number in sorted(others.items()))
            notes.troubles.append(f"Reading {what}: {sum(others.values())} were not answered with 200 ({told})")
