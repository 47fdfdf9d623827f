"""Run stretches of load whose sagas all end PAID, and take down how fast they were and what they used."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any, Final
from uuid import UUID

from bench.blocks import Bench
from bench.facts import End
from bench.footprint import Footprint
from bench.load import Placed, accepted, at_rate, saturate
from bench.meters import Reading
from bench.own_stack import SERVICES
from bench.workload import MIX, Kind, Sale, sales
from models.saga import Coordinator

# One kind of order: every saga has the same steps, so that what one saga costs is a number.
PAID: Final[Sequence[Kind]] = (Kind(payment_method="pm_card_visa", weight=1, ends=MIX[0].ends),)
_POLL: Final = 0.02  # seconds between two looks at how many sagas are over
_EDGE: Final = 0.1  # of all sagas: that many at either end of a stretch are not what it keeps up with


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One stretch of load: the orders placed, how they ended, what that used, and the memory our processes held."""

    began: float  # seconds since the epoch
    placed: Sequence[Placed]
    ends: Mapping[UUID, End]
    sagas: int  # how many ran; a POST that was refused for want of an answer may have started one all the same
    used: Reading  # until the last of them was over
    own_cpu_ms: float  # of the load generator, for each order
    footprint: Footprint

    @property
    def rate(self) -> float:
        """Sagas a second while the system was full: from the first tenth of the ends to the last."""
        return steady_rate([end.order_at for end in self.ends.values() if end.over])

    @property
    def latencies(self) -> list[float]:
        """Milliseconds from the moment each order was due to be sent until the commit of its last status."""
        orders = accepted(self.placed)
        return [1000 * (end.order_at - orders[order_id].at) for order_id, end in self.ends.items() if end.over]


def steady_rate(ends: Sequence[float]) -> float:
    """Ends a second between the first and the last tenth of them; 0 if they are too few to tell. Times in seconds."""
    ordered = sorted(ends)
    first = int(len(ordered) * _EDGE)
    last = len(ordered) - 1 - first
    passed = ordered[last] - ordered[first] if last > first else 0.0
    return (last - first) / passed if passed > 0 else 0.0


class Trials:
    """Stretches of load on one running system, one after another."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._seed = 0

    async def saturated(self, coordinator: Coordinator, *, seconds: float, in_flight: int) -> Trial:
        """As many sagas as the system keeps up with, for so long, `in_flight` of them under way at any moment."""
        deadline = time.monotonic() + seconds
        wanted = takewhile(lambda _: time.monotonic() < deadline, self._sales(coordinator))
        client, over = self.bench.client, self.bench.facts.over
        return await self._trial(saturate(client, wanted, in_flight=in_flight, over=over))

    async def steady(self, coordinator: Coordinator, *, seconds: float, rate: float) -> Trial:
        """Sagas at an even rate, for so long."""
        wanted = islice(self._sales(coordinator), max(1, round(rate * seconds)))
        return await self._trial(at_rate(self.bench.client, wanted, rate=rate))

    def _sales(self, coordinator: Coordinator) -> Iterator[Sale]:
        self._seed += 1
        return sales(coordinator, seed=self._seed, mix=PAID)

    async def _trial(self, load: Coroutine[Any, Any, list[Placed]]) -> Trial:
        bench = self.bench
        over, stored = await bench.facts.over(), await bench.facts.stored()
        before, began, own = await bench.meters.read(), time.time(), time.process_time()
        async with Footprint.watched(bench.system.pids, SERVICES) as footprint:
            placed = await load
            own = time.process_time() - own
            orders = accepted(placed)
            if not orders:
                raise TimeoutError(f"Not one of {len(placed)} orders was accepted; see the logs of the gateway")
            await self._until_over(over + len(orders))
        used = await bench.meters.read() - before
        await bench.at_rest()  # what is still to be published must not be met by what comes next
        return Trial(
            began=began,
            placed=placed,
            ends=await bench.ended(placed),
            sagas=await bench.facts.stored() - stored,
            used=used,
            own_cpu_ms=1000 * own / len(placed),
            footprint=footprint,
        )

    async def _until_over(self, wanted: int) -> None:
        """Wait until so many orders are over; what takes too long is told when the ends are looked at one by one."""
        deadline = time.monotonic() + self.bench.patience
        while await self.bench.facts.over() < wanted and time.monotonic() < deadline:  # noqa: ASYNC110 - databases don't tell
            await asyncio.sleep(_POLL)
