"""Do together what arrived together: a lone item never waits for company, a crowd does for a moment."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_CROWD: Final = 4  # items: after a batch of more than these the next one gathers
_ENOUGH: Final = 100  # items: more together are hardly cheaper
_PATIENCE: Final = 4.0  # times as long as the last batch took, the next one gathers
_LONGEST_PATIENCE: Final = 0.1  # seconds


class Batcher(Generic[Item, Result]):
    """Hands whatever is waiting, up to `limit` items in order, to `handle`, one batch at a time.

    A batch costs much the same whatever its size. Under load, therefore, there is a pause between two of them until
    enough wait: they stay large, however many instances share the work. It grows with what a batch takes, which says
    how busy the machine is.

    `handle` answers each item with a result or with the exception that this item's waiter gets; if it raises, every
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
        """Put an item into the next batch; its result comes with the future."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._arrived.set()
        if len(self._waiting) >= self._enough:
            self._enough_waiting.set()
        return future

    async def run(self) -> None:
        """Handle batches until cancelled; what was under way then is finished by nobody, its futures are cancelled."""
        try:
            while True:
                await self._arrived.wait()
                batch = [self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))]
                if not self._waiting:
                    self._arrived.clear()
                began = time.monotonic()
                await self._handle_batch(batch)
                if len(batch) > _CROWD:
                    await self._gather(time.monotonic() - began)
        finally:
            for _, future in self._waiting:
                future.cancel()

    async def _gather(self, took: float) -> None:
        """Wait until enough items do, but no longer than becomes a batch that took so many seconds."""
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
