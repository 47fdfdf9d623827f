"""Hear all events once for all viewers of the console, and give each the newest state, a few times a second."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from secrets import token_hex
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec

from api.gateway.console.moving_sagas import Facts, MovingSagas, Tally
from api.gateway.dependencies import Clock, EventFeed
from models.messages import Envelope
from models.originals import Originals

LookUp: TypeAlias = Callable[[UUID], Awaitable[Facts | None]]

EVERY: Final = 0.2  # seconds between two ticks, and so between two frames of a viewer
_GATHER: Final = 0.02  # seconds for which the first event after a pause waits for the next ones
_MOST_SAGAS: Final = 100  # in a frame
_MOST_LOOK_UPS: Final = 200  # orders that wait to be looked up
_LINGER: Final = 30.0  # seconds for which events are heard after the last viewer left, who may come back


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """A moment up to which viewers are told; those who know the tick before it are all told the same frame."""

    version: int
    when: float  # the loop's clock
    tallies: Mapping[UUID | None, Tally]
    before: int = 0  # the version of the tick before
    frames: Mapping[UUID | None, bytes | None] = field(default_factory=dict)


class Live:
    """What moves now. It hears events only while somebody views it, and a moment longer.

    Nothing is queued for a viewer: who reads slowly is told less often, and then of the newest state. `epoch` names
    the time since which it has heard, and changes when it begins anew.
    """

    def __init__(
        self, *, feed: EventFeed, clock: Clock, look_up: LookUp, originals: Originals, linger: float = _LINGER
    ) -> None:
        self.clock = clock
        self.is_closed = False
        self._feed = feed
        self._look_up = look_up
        self._linger = linger
        self._originals = originals
        self._viewers: Counter[UUID | None] = Counter()
        self._listening: AsyncExitStack | None = None
        self._switching = asyncio.Lock()
        self._next: asyncio.TimerHandle | None = None
        self._unknown: dict[UUID, None] = {}  # orders of which the beginning was not heard
        self._background: set[asyncio.Task[None]] = set()
        self._ticked = asyncio.Event()
        self._begin()

    def _begin(self) -> None:
        self.epoch = token_hex(4)
        self.sagas = MovingSagas(originals=self._originals)
        self.tick = Tick(version=0, when=0.0, tallies={})

    # what the feed tells

    def heard(self, event: Envelope) -> None:
        saga = self.sagas.take(event)
        if saga is None:
            return
        if saga.user_id is None and saga.order_id not in self._unknown and len(self._unknown) < _MOST_LOOK_UPS:
            self._unknown[saga.order_id] = None
            if len(self._unknown) == 1:
                self._in_background(self._complete())
        self._schedule()

    def missed(self) -> None:
        self.sagas.miss()
        self._schedule()

    def closed(self) -> None:
        self.is_closed = True
        self._wake()

    # what viewers do

    @asynccontextmanager
    async def viewed(self, user_id: UUID | None) -> AsyncIterator[None]:
        """Hear the events inside the context, and count this user's. Raises BrokerUnavailable."""
        self._viewers[user_id] += 1
        self.sagas.count_for(user_id)
        try:
            await self._listen()
            self.sagas.count_for(user_id)  # it may have begun anew
            yield
        finally:
            self._viewers[user_id] -= 1
            if not self._viewers[user_id]:
                del self._viewers[user_id]
                self._count_no_more(user_id)
            if not self._viewers:
                asyncio.get_running_loop().call_later(self._linger, self._leave_if_idle)

    async def after(self, version: int) -> None:
        """Wait for a tick with news after this version, or for the end."""
        while self.tick.version <= version and not self.is_closed:
            await self._ticked.wait()

    def frame(self, user_id: UUID | None, since: int, tally: Tally, when: float) -> bytes | None:
        """What changed since a version, as JSON, with counts since a tally was taken; None if it is nothing."""
        changed = self.sagas.changed_since(since, user_id)
        newest = [saga.as_json(self._originals) for saga in islice(changed, _MOST_SAGAS)]
        now = self.sagas.tally(user_id)
        if not newest and now == tally:
            return None
        content: dict[str, Any] = {
            "sagas": newest[::-1],
            "rates": {
                "started": now.started - tally.started,
                "ended": now.ended - tally.ended,
                "events": now.events - tally.events,
                "seconds": round(asyncio.get_running_loop().time() - when, 3),
            },
            "dropped": sum(1 for _ in changed),
        }
        return msgspec.json.encode(content)

    def _count_no_more(self, user_id: UUID | None) -> None:
        """Forget this user's counts, also those of the last tick: whoever comes back is counted for from zero."""
        if user_id is not None:
            self.sagas.count_no_more(user_id)
            tallies = {each: tally for each, tally in self.tick.tallies.items() if each != user_id}
            self.tick = replace(self.tick, tallies=tallies)

    async def _listen(self) -> None:
        async with self._switching:
            if self._listening is not None:
                return
            self._begin()
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self._feed.listen(self))
                self._listening = stack.pop_all()

    def _leave_if_idle(self) -> None:
        if not self._viewers:
            self._in_background(self._leave())

    async def _leave(self) -> None:
        async with self._switching:
            if self._listening is not None and not self._viewers:
                listening, self._listening = self._listening, None
                await listening.aclose()

    def _schedule(self) -> None:
        if self._next is None:
            loop = asyncio.get_running_loop()
            self._next = loop.call_at(max(loop.time() + _GATHER, self.tick.when + EVERY), self._take_tick)

    def _take_tick(self) -> None:
        self._next = None
        before, now = self.tick, asyncio.get_running_loop().time()
        frames = {
            user_id: self.frame(user_id, before.version, before.tallies.get(user_id, Tally()), before.when)
            for user_id in self._viewers
        }
        self.tick = Tick(
            version=self.sagas.version,
            when=now,
            tallies={user_id: self.sagas.tally(user_id) for user_id in (None, *self._viewers)},
            before=before.version,
            frames=frames,
        )
        self._wake()

    def _wake(self) -> None:
        self._ticked.set()
        self._ticked = asyncio.Event()

    async def _complete(self) -> None:
        """Look up the orders that are not known, one after the other."""
        while self._unknown:
            order_id = next(iter(self._unknown))
            facts = await self._look_up(order_id)
            if facts is not None:
                self.sagas.complete(order_id, facts)
                self._schedule()
            self._unknown.pop(order_id, None)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
