"""Follow a saga: first its logged events, then live ones, each event once, until the saga is over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeAlias
from uuid import UUID

from models.messages import Envelope
from workflows.timeline import Entry, Timeline, build, causes_known

EventLogs: TypeAlias = Callable[[], Awaitable[Iterable[Envelope]]]


class Follower:
    """Follows one saga. `live` must have been subscribed to before the event logs are first read."""

    def __init__(self, live: AsyncIterator[Envelope | None], logs: EventLogs) -> None:
        self._live = live
        self._logs = logs
        self._events: dict[UUID, Envelope] = {}
        self._incomplete = True
        self.timeline: Timeline = build(())

    async def read_logs(self) -> None:
        """Take in the events of the event logs. Raises the errors of reading them."""
        # Mark it first: if a caller gives up waiting for the logs, the next one must read them again.
        self._incomplete = True
        self._take(await self._logs())
        self._incomplete = False

    def begins_now(self) -> None:
        """Say that the saga begins after the subscription, so that the event logs need not be read."""
        self._incomplete = False

    async def advance(self, *, to_the_last_event: bool = True) -> bool:
        """Wait for new events, first from the event logs. Returns False if none can come any more.

        If the saga is over and `to_the_last_event`, read the events that the feed has not brought yet. Raises the
        errors of reading the event logs.
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
        # The event logs have what is missing: every cause was committed before its effect was published.
        at_its_end = self.timeline.over and to_the_last_event
        if event is None or at_its_end or not causes_known(event, self._events):
            await self.read_logs()
        return True

    async def wait_until_over(self) -> bool:
        """Wait until the saga is over. Returns False if no event can come any more. Raises the errors of reading."""
        while not self.timeline.over:
            if not await self.advance(to_the_last_event=False):
                return False
        return True

    def entries_after(self, told: set[UUID]) -> list[Entry]:
        """The entries that are not in `told`, in causal order. They are added to `told`."""
        fresh = [entry for entry in self.timeline.entries if entry.event_id not in told]
        told.update(entry.event_id for entry in fresh)
        return fresh

    def told_up_to(self, event_id: str | None) -> set[UUID]:
        """The events that a reader certainly knows whose last event this was; none if it is no event of this saga.

        These are its causes, and what the same service told before. An event of the other service may have come later,
        though it stands earlier in the timeline. The reader gets that one again, under the same id, rather than never.
        """
        entries = self.timeline.entries
        places = {entry.event_id: n for n, entry in enumerate(entries)}
        last = next((entry.event_id for entry in entries if str(entry.event_id) == event_id), None)
        if last is None:
            return set()
        if self.timeline.over and last == entries[-1].event_id:
            return {*places}  # an EventSource, which comes back at each end, must be told of an end
        told, waiting = set[UUID](), [last]
        while waiting:
            known = waiting.pop()
            told.add(known)
            place, cause = places[known], self._events[known].causation_id
            before = [each.event_id for each in entries[:place] if each.actor == entries[place].actor][-1:]
            waiting += [each for each in (*before, cause) if each in places and each not in told]
        return told

    def _take(self, events: Iterable[Envelope]) -> None:
        self._events.update((event.event_id, event) for event in events)
        self.timeline = build(self._events.values())
