"""Know which orders were accepted a moment ago, and wait for what they have not stored yet."""

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

# Clocks of two gateways differ a little, and ids run ahead of one that was set back: such an id is a new one, too.
_CLOCK_SKEW: Final = timedelta(seconds=10)
_FIRST_PAUSE: Final = 0.1  # seconds, between two questions while the feed tells nothing; it doubles …
_LONGEST_PAUSE: Final = 0.8  # … up to this
_MOST_ACCEPTED_AGAIN: Final = 1000


class RecentOrders:
    """What ids, and this gateway's memory, tell of orders that may not be stored yet."""

    def __init__(self, *, ids: OrderIds, feed: EventFeed, clock: Clock, limits: Limits) -> None:
        self._ids = ids
        self._feed = feed
        self._clock = clock
        self._limits = limits
        self._accepted_again: dict[UUID, datetime] = {}  # the latest last
        self._waiting: Counter[bool] = Counter()  # by whether the order is known to be accepted

    def is_new(self, order_id: UUID, *, seconds: float) -> bool:
        """Whether the order was accepted less than `seconds` ago, if it was accepted, as its id or our memory tells."""
        accepted = self._accepted_again.get(order_id) or minted_at(order_id)
        return accepted is not None and -_CLOCK_SKEW <= self._clock() - accepted < timedelta(seconds=seconds)

    def is_minted_here(self, order_id: UUID) -> bool:
        """Whether a gateway of this system has minted this id, at any time."""
        return self._ids.sealed(order_id)

    def is_accepted(self, order_id: UUID) -> bool:
        """Whether the order is known to be accepted, not so long ago that it must be stored by now."""
        known = order_id in self._accepted_again or self._ids.sealed(order_id)
        return known and self.is_new(order_id, seconds=self._limits.unstored)

    def note_accepted(self, order_id: UUID) -> None:
        """Remember an order that is accepted now under an id that an Idempotency-Key has kept from an earlier try."""
        if self.is_accepted(order_id):
            return  # its id tells
        self._accepted_again.pop(order_id, None)
        self._accepted_again[order_id] = self._clock()
        if len(self._accepted_again) > _MOST_ACCEPTED_AGAIN:
            del self._accepted_again[next(iter(self._accepted_again))]

    async def wait_for(self, order_id: UUID, ask: Callable[[], Awaitable[bytes | None]]) -> bytes | None:
        """What `ask` finds as soon as it is stored; None when that takes too long, or if the order isn't new.

        A stranger's id with a recent time is waited for less long than one that is known to be accepted, and only few
        of them at once. Raises what `ask` raises.
        """
        accepted = self.is_accepted(order_id)
        if accepted:
            patience, places = self._limits.patience, self._limits.waits
        else:
            patience, places = self._limits.grace, self._limits.waits_for_strangers
        if not accepted and not self.is_new(order_id, seconds=self._limits.moment):
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
                # The feed tells when to ask; but on a busy machine it may be slower than the pauses.
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
        """Set when the feed is being listened to, and whenever it tells of this order."""
        news = asyncio.Event()

        async def listen() -> None:
            with suppress(BrokerUnavailable):
                async with self._feed.subscribe(order_id) as events:
                    news.set()  # it may have been stored before
                    async for _ in events:
                        news.set()

        # Beside the questions: a busy broker may take a while to open the feed.
        listening = asyncio.create_task(listen())
        try:
            yield news
        finally:
            listening.cancel()
            await asyncio.wait((listening,))
