"""Publish committed events right after their commit, in order and confirmed. The relay publishes those that fail.

When an event fails, later ones of its order that were on their way may leave before it. Whoever reads them bears that.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import structlog

from activities.crash_points import crash_point
from choreography.broker import Broker
from choreography.log_throttle import LogThrottle
from choreography.outgoing_message import as_message
from models.database import TRANSIENT, Database
from models.late_events import LateEvents
from models.messages import Envelope

log = structlog.get_logger()

_MOST_WAITING: Final = 5_000  # events; more are better kept in the outbox, for the relay


async def forget(database: Database, published: Sequence[int]) -> None:
    """Remove events from the outbox that the broker has confirmed."""
    # This need not wait for the disk: if a crash loses the commit, events are published again, which is harmless.
    await database.query(
        "WITH relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))"
        " DELETE FROM outbox USING relaxed WHERE seq = ANY(%s)",
        [list(published)],
    )


class Publisher:
    """The fast path from the event log to the broker (an `Outlet` of the ledger)."""

    def __init__(self, broker: Broker, database: Database, *, late: LateEvents | None = None) -> None:
        self._broker = broker
        self._as_message = partial(as_message, late=late)
        self._database = database
        self._waiting: deque[tuple[int, Envelope]] = deque()
        self._on_the_way: set[int] = set()
        self._throttle = LogThrottle()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def offer(self, events: Sequence[tuple[int, Envelope]]) -> None:
        if not self._broker.connected or len(self._waiting) + len(events) > _MOST_WAITING:
            return
        self._waiting.extend(events)
        self._on_the_way.update(seq for seq, _ in events)
        self._arrived.set()
        self._idle.clear()

    def carries(self, seq: int) -> bool:
        return seq in self._on_the_way

    async def run(self) -> None:
        """Publish offered events until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            batch = list(self._waiting)
            self._waiting.clear()
            try:
                await self._publish(batch)
            finally:
                self._on_the_way.difference_update(seq for seq, _ in batch)
                if not self._waiting:
                    self._idle.set()

    async def flush(self, timeout: float) -> None:
        """Wait until all offered events have left or failed, for at most `timeout` seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout)

    async def _publish(self, batch: Sequence[tuple[int, Envelope]]) -> None:
        errors = await self._broker.publish_all([self._as_message(envelope) for _, envelope in batch])
        failed = Counter(
            (envelope.event_type, str(error)) for (_, envelope), error in zip(batch, errors, strict=True) if error
        )
        for (event_type, error), events in failed.items():
            if self._throttle(error):
                log.warning("publish_failed", event_type=event_type, events=events, error=error)
        published = [seq for (seq, _), error in zip(batch, errors, strict=True) if error is None]
        crash_point("publisher.confirmed")
        # The events are confirmed before they are forgotten: a crash here repeats some, and loses none.
        try:
            if published:
                await forget(self._database, published)
        except TRANSIENT as error:
            log.warning("outbox_not_marked", events=len(published), error=str(error))
