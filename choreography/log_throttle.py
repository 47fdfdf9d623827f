"""Log a lasting condition only now and then."""

from __future__ import annotations

import time
from typing import Final

_EVERY: Final = 60.0  # seconds
_MOST: Final = 100  # different conditions; with more than these all are forgotten, and logged again


class LogThrottle:
    """Tells whether to log a condition: at once, and then once a minute while it lasts."""

    def __init__(self) -> None:
        self._said_at: dict[str, float] = {}

    def __call__(self, what: str) -> bool:
        now = time.monotonic()
        if now - self._said_at.get(what, float("-inf")) < _EVERY:
            return False
        if len(self._said_at) >= _MOST:
            self._said_at.clear()
        self._said_at[what] = now
        return True
