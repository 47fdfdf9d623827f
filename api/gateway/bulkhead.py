"""Limit how many requests are under way to a service at once, and how many wait for a place."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Final

_LATE: Final = 0.8  # the share of its patience after which a waiter has waited for long


class BulkheadFull(Exception):
    """Too many requests wait already, or this one has waited for as long as it may."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How many requests may be under way at once, how many may wait, and for how many seconds each."""

    at_once: int
    waiting: int
    patience: float


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    turn: asyncio.Future[None]
    since: float  # seconds


class Bulkhead:
    """Lets a limited number of requests through at once. The others wait for a place.

    The first waiter is served first, until it has waited for four fifths of its patience. From then on the last waiter
    is served first. On a machine that can't keep up, serving in order would serve all waiters when their patience is
    almost over, and refuse most. The order is not reversed earlier, because a client that asks again at once would then
    be served before those that have waited.
    """

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        self._free = bounds.at_once
        self._waiters: deque[_Waiter] = deque()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place until the end of the context. Raises BulkheadFull, at once if too many wait already."""
        if self._free:
            self._free -= 1
        else:
            await self._wait()
        try:
            yield
        finally:
            self._release()

    async def _wait(self) -> None:
        if len(self._waiters) >= self._bounds.waiting:
            raise BulkheadFull(f"{len(self._waiters)} requests wait already")
        loop = asyncio.get_running_loop()
        waiter = _Waiter(loop.create_future(), self._clock())
        self._waiters.append(waiter)
        timer = loop.call_later(self._bounds.patience, self._refuse, waiter)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not waiter.turn.cancelled() and waiter.turn.exception() is None:
                self._release()  # it had just got a place
            raise
        finally:
            timer.cancel()

    def _refuse(self, waiter: _Waiter) -> None:
        if not waiter.turn.done():
            self._waiters.remove(waiter)
            waiter.turn.set_exception(BulkheadFull(f"no place became free within {self._bounds.patience:g} s"))

    def _release(self) -> None:
        """Give the place to the next waiter."""
        late = self._clock() - _LATE * self._bounds.patience
        while self._waiters:
            waiter = self._waiters.pop() if self._waiters[0].since < late else self._waiters.popleft()
            if not waiter.turn.done():
                waiter.turn.set_result(None)
                return
        self._free += 1
