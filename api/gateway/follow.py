"""Follow a saga: what the event logs have, then what happens, each event once, until the saga is over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeAlias
from uuid import UUID

from models.messages import Envelope
from workflows.timeline import Entry, Timeline, build, causes_known

EventLogs: TypeAlias = Callable[[], Awaitable[Iterable[Envelope]]]


class Follower:
    """One saga as it becomes known; `live` must have been subscribed to before the event logs are first read."""

    def __init__(self, live: AsyncIterator[Envelope | None], logs: EventLogs) -> None:
        self._live = live
        self._logs = logs
        self._events: dict[UUID, Envelope] = {}
        self._incomplete = True
        self.timeline: Timeline = build(())

    async def read_logs(self) -> None:
        """Take in what the event logs have. Raises what reading them raises."""
        # Marked first: whoever gives up waiting for the logs leaves a gap, which the next one fills.
        self._incomplete = True
        self._take(await self._logs())
        self._incomplete = False

    def begins_now(self) -> None:
        """Nothing has happened before the subscription: the event logs have nothing to add to what is live."""
        self._incomplete = False

    async def advance(self, *, to_the_last_event: bool = True) -> bool:
        """Wait for news, at first from the event logs; False when there will be none. Raises what reading raises.

        When the saga is over, what the feed has not brought yet is read from the event logs, if that is wanted.
        """
        if self._incomplete:
            await self.read_logs()
            return True
        try:
            event = await anext(self._live)
        except StopAsyncIteration:
            return False
        if event is not None:
            self._take([event])
        # The event logs are complete: every cause was committed before its effect was published.
        at_its_end = self.timeline.over and to_the_last_event
        if event is None or at_its_end or not causes_known(event, self._events):
            await self.read_logs()
        return True

    async def wait_until_over(self) -> bool:
        """Return when the saga is over; False when there will be no news of it. Raises what reading raises."""
        while not self.timeline.over:
            if not await self.advance(to_the_last_event=False):
                return False
        return True

    def entries_after(self, told: set[UUID]) -> list[Entry]:
        """The entries not yet told, in causal order; from now on they count as told."""
        fresh = [entry for entry in self.timeline.entries if entry.event_id not in told]
        told.update(entry.event_id for entry in fresh)
        return fresh

    def told_up_to(self, event_id: str | None) -> set[UUID]:
        """What a reader has seen whose last event this was: nothing, if it is no event of this saga."""
        ids = [entry.event_id for entry in self.timeline.entries]
        place = next((n for n, known in enumerate(ids) if str(known) == event_id), -1)
        return set(ids[: place + 1])

    def _take(self, events: Iterable[Envelope]) -> None:
        self._events.update((event.event_id, event) for event in events)
        self.timeline = build(self._events.values())
