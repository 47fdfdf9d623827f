"""Handle items in batches: a lone item is handled at once, under load items are gathered for a moment."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_CROWD: Final = 4  # items; after a larger batch, the next batch is gathered
_ENOUGH: Final = 100  # items; a larger batch is hardly cheaper per item
_PATIENCE: Final = 4.0  # the next batch is gathered for at most this many times as long as the last one took
_LONGEST_PATIENCE: Final = 0.1  # seconds


class Batcher(Generic[Item, Result]):
    """Hands all waiting items, at most `limit` and in order, to `handle`, one batch at a time.

    The cost of a batch hardly depends on its size. Under load, the batcher therefore pauses between two batches until
    enough items wait. So batches stay large, however many instances share the work. The pause is longer if batches
    take longer, because that shows that the machine is busy.

    `handle` returns for each item a result, or the exception that this item's waiter gets. If `handle` raises, every
    waiter of the batch gets that error.
    """

    def __init__(
        self, handle: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]], *, limit: int = 300
    ) -> None:
        self._handle = handle
        self._limit = limit
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._arrived = asyncio.Event()
        self._enough = min(limit, _ENOUGH)
        self._enough_waiting = asyncio.Event()

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Put an item into the next batch. The future holds its result."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._arrived.set()
        if len(self._waiting) >= self._enough:
            self._enough_waiting.set()
        return future

    async def run(self) -> None:
        """Handle batches until cancelled. The batch under way is then abandoned, and all futures are cancelled."""
        try:
            while True:
                await self._arrived.wait()
                batch = self._next_batch()
                if not self._waiting:
                    self._arrived.clear()
                if not batch:
                    continue
                began = time.monotonic()
                await self._handle_batch(batch)
                if len(batch) > _CROWD:
                    await self._gather(time.monotonic() - began)
        finally:
            for _, future in self._waiting:
                future.cancel()

    def _next_batch(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        """The next items. Whoever has given up waiting asks again, so that item is left out."""
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        while self._waiting and len(batch) < self._limit:
            if not (waiting := self._waiting.popleft())[1].done():
                batch.append(waiting)
        return batch

    async def _gather(self, took: float) -> None:
        """Wait until enough items wait, for a time in proportion to the seconds that the last batch took."""
        if len(self._waiting) >= self._enough:
            return
        self._enough_waiting.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._enough_waiting.wait(), min(_LONGEST_PATIENCE, _PATIENCE * took))

    async def _handle_batch(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        results: Sequence[Result | Exception]
        try:
            results = await self._handle([item for item, _ in batch])
        except Exception as error:
            results = [error] * len(batch)
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue  # its waiter has given up
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
