"""Read how many sagas wait for an operator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from metrics.exposition import Reading, Source


def flagged(count: Callable[[], Awaitable[int]]) -> Source:
    """`count` asks Temporal. Each worker asks, and all are told the same."""

    async def read() -> Sequence[Reading]:
        about = "Sagas, open or failed, that no step of ours ends: an operator must look."
        return (Reading(name="saga_need_operator", about=about, value=await count()),)

    return read
