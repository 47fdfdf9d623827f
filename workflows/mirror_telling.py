"""Tell an order's mirror of events, until Temporal knows them or has refused them too often."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias

import structlog

from workflows.temporal_errors import is_away

log = structlog.get_logger()

_FIRST_PAUSE: Final = 0.1  # seconds
_LONGEST_PAUSE: Final = 5.0  # seconds
_MOST_REFUSALS: Final = 8


class Mirrors(Protocol):
    async def record(self, order_id: str, events: Sequence[dict[str, Any]]) -> None:
        """Record these events in the order's mirror. Raises Temporal's errors."""


# Called when Temporal has refused something: it repairs what Temporal may lack.
Repair: TypeAlias = Callable[[], Awaitable[None]]


class EventsRefused(Exception):
    """Temporal was there, and has refused these events each time."""


class Telling:
    """Tells mirrors, of several orders at once. While Temporal is away, it tries again with growing pauses."""

    def __init__(self, mirrors: Mirrors, repair: Repair) -> None:
        self._mirrors = mirrors
        self._repair = repair
        self._trouble: str | None = None  # Temporal's last error, until a call succeeds again

    async def tell(
        self, order_id: str, events: Sequence[dict[str, Any]], *, wanted: Callable[[], bool]
    ) -> float | None:
        """Tell the mirror. Returns the seconds that the call took; None if nobody wants it any more.

        Raises EventsRefused.
        """
        pause, refusals = _FIRST_PAUSE, 0
        loop = asyncio.get_running_loop()
        while wanted():
            began = loop.time()
            try:
                await self._mirrors.record(order_id, events)
            except Exception as error:  # whatever the error is, the events must not be lost
                self._note_trouble(order_id, error)
                refusals += not is_away(error)
                if refusals >= _MOST_REFUSALS:
                    raise EventsRefused(f"{type(error).__name__}: {error}") from error
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
                pause = min(pause * 2, _LONGEST_PAUSE)
                if not is_away(error):
                    await self._try_repair()
            else:
                self._note_success()
                return loop.time() - began
        return None

    async def _try_repair(self) -> None:
        try:
            await self._repair()
        except Exception as error:  # the next attempt will show whether the repair is still needed
            log.warning("mirror_repair_failed", error=str(error))

    def _note_trouble(self, order_id: str, error: Exception) -> None:
        told = f"{type(error).__name__}: {error}"
        if self._trouble is None or not is_away(error):
            log.warning("mirror_not_told", order_id=order_id, error=told)
        self._trouble = told

    def _note_success(self) -> None:
        if self._trouble is not None:
            log.info("mirrors_told_again")
        self._trouble = None
