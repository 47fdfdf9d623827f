"""Tell which orders were accepted a moment ago, and wait until they are stored."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from api.gateway.dependencies import Clock, EventFeed, Limits
from api.gateway.order_ids import OrderIds
from choreography.outgoing_message import BrokerUnavailable
from models.ids import minted_at

# An id's time may be in the future: clocks of gateways differ, and ids run ahead of a clock that was set back.
_CLOCK_SKEW: Final = timedelta(seconds=10)
_FIRST_PAUSE: Final = 0.1  # seconds between two queries while the feed brings no event; it doubles …
_LONGEST_PAUSE: Final = 0.8  # … up to this
_MOST_ACCEPTED_AGAIN: Final = 1000
_MOST_PLACED: Final = 10_000


class RecentOrders:
    """Knows recent orders from their ids, and from this gateway's memory."""

    def __init__(self, *, ids: OrderIds, feed: EventFeed, clock: Clock, limits: Limits) -> None:
        self._ids = ids
        self._feed = feed
        self._clock = clock
        self._limits = limits
        self._accepted_again: dict[UUID, datetime] = {}  # the latest last
        self._placed_by: dict[UUID, UUID] = {}  # users by the orders that this gateway has accepted; the latest last
        self._waiting: Counter[bool] = Counter()  # by whether the order is known to be accepted

    def _is_new(self, order_id: UUID, *, seconds: float) -> bool:
        """Whether the order, if it was accepted at all, was accepted less than `seconds` ago."""
        accepted = self._accepted_again.get(order_id) or minted_at(order_id)
        return accepted is not None and -_CLOCK_SKEW <= self._clock() - accepted < timedelta(seconds=seconds)

    def is_minted_here(self, order_id: UUID) -> bool:
        """Whether a gateway of this system has minted this id, at any time."""
        return self._ids.sealed(order_id)

    def is_accepted(self, order_id: UUID) -> bool:
        """Whether the order is known to be accepted, so recently that it may not be stored yet."""
        known = order_id in self._accepted_again or self._ids.sealed(order_id)
        return known and self._is_new(order_id, seconds=self._limits.unstored)

    def note_accepted(self, order_id: UUID) -> None:
        """Remember an order that is accepted now under an older id, which an Idempotency-Key has kept."""
        if self.is_accepted(order_id):
            return  # its id tells that
        self._accepted_again.pop(order_id, None)
        self._accepted_again[order_id] = self._clock()
        if len(self._accepted_again) > _MOST_ACCEPTED_AGAIN:
            del self._accepted_again[next(iter(self._accepted_again))]

    def note_placed(self, order_id: UUID, user_id: UUID) -> None:
        """Remember for a while whose order this is."""
        self._placed_by[order_id] = user_id
        if len(self._placed_by) > _MOST_PLACED:
            del self._placed_by[next(iter(self._placed_by))]

    def placed_by(self, order_id: UUID) -> UUID | None:
        """The user for whom this gateway has accepted the order lately; None: nobody knows here."""
        return self._placed_by.get(order_id)

    async def wait_for(self, order_id: UUID, ask: Callable[[], Awaitable[bytes | None]]) -> bytes | None:
        """Call `ask` until it finds something. Returns None if that takes too long, or if the order isn't new.

        An id that only has a recent time is waited for less long than that of an accepted order, and only few such
        waits are allowed at once. Raises the errors of `ask`.
        """
        accepted = self.is_accepted(order_id)
        if accepted:
            patience, places = self._limits.patience, self._limits.waits
        else:
            patience, places = self._limits.grace, self._limits.waits_for_strangers
        if not accepted and not self._is_new(order_id, seconds=self._limits.moment):
            return None
        if self._waiting[accepted] >= places:
            return None
        self._waiting[accepted] += 1
        try:
            return await self._when_stored(order_id, ask, patience)
        finally:
            self._waiting[accepted] -= 1

    async def _when_stored(
        self, order_id: UUID, ask: Callable[[], Awaitable[bytes | None]], patience: float
    ) -> bytes | None:
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + patience, _FIRST_PAUSE
        async with self._news(order_id) as news:
            while (left := deadline - loop.time()) > 0:
                # Ask when the feed brings an event, and after each pause: on a busy machine the feed may be slow.
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(pause, left)):
                        await news.wait()
                news.clear()
                pause = min(2 * pause, _LONGEST_PAUSE)
                if (found := await ask()) is not None:
                    return found
        return None

    @asynccontextmanager
    async def _news(self, order_id: UUID) -> AsyncIterator[asyncio.Event]:
        """An event that is set when the subscription begins, and at every event of this order."""
        news = asyncio.Event()

        async def listen() -> None:
            with suppress(BrokerUnavailable):
                async with self._feed.subscribe(order_id) as events:
                    news.set()  # the order may have been stored before
                    async for _ in events:
                        news.set()

        # In a task of its own, because a busy broker may take a while to open the feed.
        listening = asyncio.create_task(listen())
        try:
            yield news
        finally:
            listening.cancel()
            await asyncio.wait((listening,))
