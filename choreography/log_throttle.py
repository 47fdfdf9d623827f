"""Log a lasting condition only now and then."""

from __future__ import annotations

import time
from typing import Final

_MOST: Final = 100  # different conditions; with more than these all are forgotten, and logged again


class LogThrottle:
    """Tells whether to log a condition: at once, and then every `every` seconds while it lasts."""

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
