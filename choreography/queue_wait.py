"""Estimate how long a new message would wait in a service's queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from choreography.depths import Length
from choreography.subscription import Settlement

_WINDOW: Final = 6.0  # seconds
_ENOUGH: Final = 3.0  # seconds of work before it tells a rate: a burst has hardly begun to be worked on before


class Lengths(Protocol):
    """Tells how long a queue is: choreography.depths.Depths."""

    async def length(self, queue: str) -> Length | None: ...


class QueueWait:
    """The queue's length, divided by how many messages a second all of its readers are done with.

    Each reader is taken to be as quick as this one.
    """

    def __init__(self, lengths: Lengths, queue: str, *, timer: Callable[[], float] = monotonic) -> None:
        self._lengths = lengths
        self._queue = queue
        self._timer = timer
        self._seconds: deque[list[int]] = deque()  # of each second of the timer its number, and the messages

    def settled(self, _queue: str, _settlement: Settlement) -> None:
        """Note that a message is done with."""
        number = int(self._timer())
        if not self._seconds or self._seconds[-1][0] != number:
            self._seconds.append([number, 0])
            self._forget(number)
        self._seconds[-1][1] += 1

    async def seconds(self) -> float | None:
        """How long it would wait; None while too little is done to tell, or while the broker doesn't answer."""
        now = self._timer()
        self._forget(now)
        if not self._seconds or (span := now - self._seconds[0][0]) < _ENOUGH:
            return None
        length = await self._lengths.length(self._queue)
        if length is None or not length.readers:
            return None
        rate = sum(messages for _, messages in self._seconds) / span
        return length.messages / (rate * length.readers)

    def _forget(self, now: float) -> None:
        while self._seconds and now - self._seconds[0][0] > _WINDOW:
            self._seconds.popleft()
