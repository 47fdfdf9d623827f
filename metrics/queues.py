"""Read what waits at the broker: dead letters, and the events for the mirrors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from choreography.depths import Depths
from choreography.topology import MIRROR_QUEUE, dead_letter_queue
from metrics.exposition import Reading, Source
from workflows.mirror_feed import MirrorFeed


def dead_letters(depths: Depths, queue: str) -> Source:
    """How many messages failed for good in this queue."""

    async def read() -> Sequence[Reading]:
        count = await depths.of(dead_letter_queue(queue))
        if count is None:
            return ()
        about = "Dead letters, by the queue in which they failed."
        return (Reading(name="saga_dead_letters", about=about, value=count, labels={"queue": queue}),)

    return read


def mirrors(depths: Depths, feed: MirrorFeed) -> Source:
    """How far the mirrors are behind."""

    async def read() -> Sequence[Reading]:
        ready = await depths.of(MIRROR_QUEUE)
        if ready is None:
            return ()
        oldest = feed.oldest
        return (
            Reading(
                name="saga_mirror_backlog",
                about="Events that wait for their mirrors, in the queue or in the worker.",
                value=ready + feed.held,
            ),
            Reading(
                name="saga_mirror_lag_seconds",
                about="Time since the event that has waited longest for its mirror; 0 if none waits here.",
                value=0.0 if oldest is None else max(0.0, (datetime.now(UTC) - oldest).total_seconds()),
            ),
        )

    return read
