"""Limit the time of a command, and say what effect a command may still have that took too long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from api.problems import Problem, unavailable, undecided

# What a command may still do to an order.
PLACED: Final = "placed"
CANCELLED: Final = "cancelled"


class PendingCommand:
    """The effect that a command may still have if it takes too long: none, until it has begun."""

    def __init__(self) -> None:
        self._may_be: tuple[UUID, str] | None = None

    def begin(self, order_id: UUID, *, may_be: str) -> None:
        """Note that from now on the command may take effect, even if no confirmation arrives."""
        self._may_be = (order_id, may_be)

    def too_late(self, seconds: float) -> Problem:
        if self._may_be is None:
            return unavailable(f"The command was not confirmed within {seconds:g} s; try again")
        order_id, may_be = self._may_be
        return undecided("This system", order_id, may_be=may_be, within=seconds)


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[PendingCommand]:
    """Raise Problem if the whole command takes longer than this."""
    pending = PendingCommand()
    try:
        async with asyncio.timeout(seconds):
            yield pending
    except TimeoutError as error:
        raise pending.too_late(seconds) from error
