"""Read how much a service has committed and not published yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from metrics.exposition import Reading, Source
from models.database import Database

_MOST_COUNTED: Final = 100_000  # events of an outbox: counting more would take longer than anybody waits
# Events leave in the order of their numbers, nearly: the first is the oldest, but for a moment.
_OUTBOX: Final = f"""
    SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT {_MOST_COUNTED}) AS counted) AS events,
           (SELECT extract(epoch FROM clock_timestamp() - created_at) FROM outbox ORDER BY seq LIMIT 1) AS oldest
"""


def waiting(database: Database) -> Source:
    """How much a service has committed and not published yet."""

    async def read() -> Sequence[Reading]:
        (row,) = await database.query(_OUTBOX)
        oldest = max(0.0, float(row["oldest"] or 0))
        return (
            Reading(
                name="saga_outbox_events",
                about=f"Events that are committed and not yet published; {_MOST_COUNTED} stands for that many or more.",
                value=row["events"],
            ),
            Reading(
                name="saga_outbox_oldest_seconds",
                about="Time since the oldest event in the outbox was committed; 0 if there is none.",
                value=oldest,
            ),
        )

    return read
