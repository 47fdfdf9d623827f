"""What arrives together is handled together: a little at once, and much after a short moment of gathering."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from activities.batch import Batcher

pytestmark = pytest.mark.anyio


class Handled:
    """A batcher, and the batches that it has handed on."""

    def __init__(self, *, limit: int) -> None:
        self.batches: list[list[int]] = []
        self.takes = 0.0  # seconds
        self.batcher: Batcher[int, int] = Batcher(self._handle, limit=limit)

    async def _handle(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        if self.takes:
            await asyncio.sleep(self.takes)
        return items


@pytest.fixture
async def handled() -> AsyncIterator[Handled]:
    handled = Handled(limit=50)
    running = asyncio.create_task(handled.batcher.run())
    yield handled
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def one_by_one(handled: Handled, *items: int) -> list[asyncio.Future[int]]:
    """Submit each in a turn of the event loop of its own."""
    futures = []
    for item in items:
        futures.append(handled.batcher.submit(item))
        for _ in range(5):
            await asyncio.sleep(0)
    return futures


async def test_a_lone_item_waits_for_nobody(handled: Handled) -> None:
    for future in await one_by_one(handled, 1, 2, 3):
        assert future.done()
    assert handled.batches == [[1], [2], [3]]


async def test_after_a_crowd_the_next_ones_are_gathered(handled: Handled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.batch._LONGEST_PATIENCE", 0.5)  # more than a busy machine takes to submit three
    handled.takes = 0.125
    await asyncio.gather(*(handled.batcher.submit(item) for item in range(10)))
    await asyncio.gather(*await one_by_one(handled, 10, 11, 12))
    await asyncio.gather(*await one_by_one(handled, 13))
    assert handled.batches == [[*range(10)], [10, 11, 12], [13]]


@pytest.fixture
def endless_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """With endless patience, only arrivals end the gathering."""
    monkeypatch.setattr("activities.batch._PATIENCE", 1e9)
    monkeypatch.setattr("activities.batch._LONGEST_PATIENCE", 60.0)


@pytest.mark.usefixtures("endless_patience")
async def test_a_full_batch_is_not_kept_waiting(handled: Handled) -> None:
    futures = [handled.batcher.submit(item) for item in range(120)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert [len(batch) for batch in handled.batches] == [50, 50]
    assert not futures[-1].done()


@pytest.mark.usefixtures("endless_patience")
async def test_gathering_ends_when_enough_wait(handled: Handled) -> None:
    await asyncio.gather(*(handled.batcher.submit(item) for item in range(10)))
    async with asyncio.timeout(30):
        await asyncio.gather(*await one_by_one(handled, *range(50)))
    assert handled.batches == [[*range(10)], [*range(50)]]


async def test_whoever_has_given_up_is_left_out_and_may_ask_again() -> None:
    handled: list[int] = []

    async def handle(items: Sequence[int]) -> Sequence[int]:
        handled.extend(items)
        return items

    batcher: Batcher[int, int] = Batcher(handle)
    futures = [batcher.submit(number) for number in (1, 2, 3)]
    for given_up in futures[:2]:
        given_up.cancel()
    running = asyncio.create_task(batcher.run())
    assert await futures[2] == 3
    for nobody in [batcher.submit(4)]:
        nobody.cancel()
    assert await batcher.submit(5) == 5
    assert handled == [3, 5]
    running.cancel()
