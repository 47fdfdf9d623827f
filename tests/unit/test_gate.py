"""A gate admits a number at once, lets a number wait for a while, and refuses the rest at once."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from api.gateway.bulkhead import Bounds, Bulkhead, BulkheadFull

pytestmark = pytest.mark.anyio

LONG = 30.0  # seconds that no test takes


class Visitors:
    """Requests that want to pass, and stay inside until they are told to leave."""

    def __init__(self, gate: Bulkhead) -> None:
        self.gate = gate
        self.inside: list[int] = []
        self.served: list[int] = []
        self.most = 0
        self.leave = asyncio.Event()

    async def visit(self, number: int) -> None:
        async with self.gate.place():
            self.inside.append(number)
            self.served.append(number)
            self.most = max(self.most, len(self.inside))
            await self.leave.wait()
            self.inside.remove(number)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_gate_admits_its_number_at_once_and_the_others_in_their_order() -> None:
    visitors = Visitors(Bulkhead(Bounds(at_once=2, waiting=10, patience=LONG)))
    tasks = [asyncio.create_task(visitors.visit(n)) for n in range(6)]
    await settle()
    assert visitors.inside == [0, 1]

    visitors.leave.set()
    await asyncio.gather(*tasks)

    assert visitors.most == 2


async def test_a_request_that_finds_too_many_waiting_is_refused_at_once() -> None:
    visitors = Visitors(Bulkhead(Bounds(at_once=1, waiting=1, patience=LONG)))
    tasks = [asyncio.create_task(visitors.visit(n)) for n in range(2)]
    await settle()

    began = monotonic()
    with pytest.raises(BulkheadFull, match="1 requests wait already"):
        await visitors.visit(2)

    assert monotonic() - began < 1
    visitors.leave.set()
    await asyncio.gather(*tasks)


async def test_a_request_that_has_waited_too_long_is_refused_and_leaves_its_place_to_others() -> None:
    visitors = Visitors(Bulkhead(Bounds(at_once=1, waiting=1, patience=0.05)))
    first = asyncio.create_task(visitors.visit(0))
    await settle()
    for _ in range(3):
        with pytest.raises(BulkheadFull, match=r"no place became free within 0.05 s"):
            await visitors.visit(1)

    visitors.leave.set()
    await first
    await visitors.visit(2)


async def test_the_first_is_served_first_until_it_has_waited_for_most_of_its_patience() -> None:
    visitors = Visitors(Bulkhead(Bounds(at_once=1, waiting=10, patience=LONG)))
    visitors.leave.set()
    async with visitors.gate.place():
        tasks = [asyncio.create_task(visitors.visit(n)) for n in range(3)]
        await settle()
    await asyncio.gather(*tasks)
    assert visitors.served == [0, 1, 2]


async def test_where_the_first_has_waited_for_long_the_last_is_served_first() -> None:
    now = 0.0
    visitors = Visitors(Bulkhead(Bounds(at_once=1, waiting=10, patience=LONG), clock=lambda: now))
    visitors.leave.set()
    async with visitors.gate.place():
        early = [asyncio.create_task(visitors.visit(n)) for n in range(2)]
        await settle()
        now = 0.9 * LONG
        late = asyncio.create_task(visitors.visit(2))
        await settle()
    await asyncio.gather(*early, late)
    assert visitors.served == [2, 1, 0]


async def test_a_place_given_to_a_request_that_gives_up_at_that_moment_goes_to_the_next() -> None:
    visitors = Visitors(Bulkhead(Bounds(at_once=1, waiting=10, patience=LONG)))
    visitors.leave.set()
    async with visitors.gate.place():
        unlucky = asyncio.create_task(visitors.visit(0))
        lucky = asyncio.create_task(visitors.visit(1))
        await settle()
    unlucky.cancel()
    await lucky
    assert visitors.served == [1]
    await visitors.visit(2)


async def test_a_request_that_gives_up_waiting_takes_no_place() -> None:
    visitors = Visitors(Bulkhead(Bounds(at_once=1, waiting=2, patience=LONG)))
    tasks = [asyncio.create_task(visitors.visit(n)) for n in range(3)]
    await settle()
    tasks[1].cancel()
    await settle()
    visitors.leave.set()
    await asyncio.gather(tasks[0], tasks[2])

    await visitors.visit(3)
    assert visitors.most == 1
