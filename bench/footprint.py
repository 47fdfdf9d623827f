"""Watch how much memory our processes hold while they work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Self

import psutil

_EVERY: Final = 1.0  # seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """Bytes of memory of one process: resident, and the share of it that is its own (Linux's PSS)."""

    resident: int
    proportional: int


@dataclass(kw_only=True, slots=True)
class Footprint:
    """The memory by process, for each look."""

    looks: list[Mapping[str, Held]] = field(default_factory=list)

    @property
    def peak(self) -> Mapping[str, Held]:
        """The look with the most resident memory of all processes together. It is empty if there was no look."""
        return max(self.looks, key=lambda look: sum(each.resident for each in look.values()), default={})

    @property
    def resident_mib(self) -> float:
        """Resident memory of all of them together at their peak."""
        return sum(each.resident for each in self.peak.values()) / 2**20

    @classmethod
    @asynccontextmanager
    async def watched(cls, pids: Callable[[], Mapping[str, int]], names: Sequence[str]) -> AsyncIterator[Self]:
        """Look every second until the end of the context, and once more at its end."""
        seen = cls()
        watching = asyncio.create_task(seen._watch(pids, names))
        try:
            yield seen
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            seen.looks.append(look(pids(), names))

    async def _watch(self, pids: Callable[[], Mapping[str, int]], names: Sequence[str]) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            self.looks.append(look(pids(), names))


def look(pids: Mapping[str, int], names: Sequence[str]) -> dict[str, Held]:
    """The memory of these processes now, without those that have ended."""
    held = {}
    for name in names:
        with suppress(psutil.Error, KeyError):
            info = psutil.Process(pids[name]).memory_full_info()
            held[name] = Held(resident=info.rss, proportional=info.pss)
    return held
