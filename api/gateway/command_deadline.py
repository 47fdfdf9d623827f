"""Give a command its time, and say what may still come of one that has taken too long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from api.problems import Problem, unavailable, undecided

# What may still become of an order.
PLACED: Final = "placed"
CANCELLED: Final = "cancelled"


class PendingCommand:
    """What a command that takes too long may still come to: nothing, until it has begun."""

    def __init__(self) -> None:
        self._may_be: tuple[UUID, str] | None = None

    def begin(self, order_id: UUID, *, may_be: str) -> None:
        """From now on, what is asked may be done although nobody hears of it."""
        self._may_be = (order_id, may_be)

    def too_late(self, seconds: float) -> Problem:
        if self._may_be is None:
            return unavailable(f"The command was not confirmed within {seconds:g} s; try again")
        order_id, may_be = self._may_be
        return undecided("This system", order_id, may_be=may_be, within=seconds)


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[PendingCommand]:
    """Raise Problem when a command takes longer, all that is asked for it together."""
    pending = PendingCommand()
    try:
        async with asyncio.timeout(seconds):
            yield pending
    except TimeoutError as error:
        raise pending.too_late(seconds) from error
