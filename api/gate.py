"""Bound how many requests are under way to a service at once, and how many wait for their turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


class Crowded(Exception):
    """Too many wait already, or this one has waited for as long as it may."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How many may pass at once, how many may wait for that, and for how many seconds each."""

    at_once: int
    waiting: int
    patience: float


class Gate:
    """Lets so many through at once; the others wait in the order in which they came."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._places = asyncio.Semaphore(bounds.at_once)
        self._waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place until the end of the context. Raises Crowded: at once when too many wait already."""
        if self._places.locked():
            await self._wait()
        else:
            await self._places.acquire()  # which is free, so nothing is awaited
        try:
            yield
        finally:
            self._places.release()

    async def _wait(self) -> None:
        if self._waiting >= self._bounds.waiting:
            raise Crowded(f"{self._waiting} requests wait already")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._bounds.patience):
                await self._places.acquire()
        except TimeoutError:
            raise Crowded(f"no place became free within {self._bounds.patience:g} s") from None
        finally:
            self._waiting -= 1
