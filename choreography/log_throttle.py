"""Say what goes on for long only now and then."""

from __future__ import annotations

import time
from typing import Final

_MOST: Final = 100  # different things; beyond that all is forgotten, and said again


class LogThrottle:
    """Whether it is time to say something: at once, and again after `every` seconds if it still goes on."""

    def __init__(self, *, every: float = 60.0) -> None:
        self._every = every
        self._said_at: dict[str, float] = {}

    def __call__(self, what: str) -> bool:
        now = time.monotonic()
        if now - self._said_at.get(what, float("-inf")) < self._every:
            return False
        if len(self._said_at) >= _MOST:
            self._said_at.clear()
        self._said_at[what] = now
        return True
