"""Send the same workload and the same kills through both coordinators, in alternating blocks, and report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Final

import psutil

from bench.blocks import Bench, Block, System
from bench.findings import Findings
from bench.lines import lines_needed
from bench.machine import machine
from bench.meters import Reading
from bench.report import Recovery, Report
from bench.strikes import PARTS, strike
from bench.views import VIEWS
from models.saga import Coordinator

_WARM_UP: Final = 60  # orders
_REST: Final = 3.0  # seconds
_LEAST_KILL_RATE: Final = 3.0  # sagas a second: a kill must meet some

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much is measured. Times are in seconds, rates in sagas a second."""

    orders: int = 400  # of a block at saturation, at most
    repetitions: int = 3
    in_flight: int = 200  # sagas under way at saturation
    idle_rate: float = 10.0
    steady: float = 5.0  # how long a block at an even rate takes
    block: float = 12.0  # how long a block at saturation takes orders in, at most
    parts: Sequence[str] = PARTS  # to be killed
    kill_rate: float = 10.0  # at most
    limit: float = 330.0  # after which nothing is repeated, nor anything more killed: a busy machine shows less


QUICK: Final = Plan(orders=150, repetitions=1, steady=3.0, block=5.0, parts=("order", "worker"), limit=inf)


async def contrast(system: System, plan: Plan, tell: Tell) -> Report:
    """Measure both coordinators of a system that does nothing else meanwhile; `tell` is told what comes next.

    Raises TimeoutError when the system stands still.
    """
    began, clock = datetime.now(UTC), time.monotonic()
    busy = psutil.getloadavg()[0]
    async with Bench.of(system) as bench:
        found, recoveries = await _Contrast(bench, plan, tell).run()
        return Report(
            began=began.isoformat(timespec="seconds").replace("+00:00", "Z"),
            seconds=round(time.monotonic() - clock, 1),
            machine=machine(busy),
            settings={
                "orders": plan.orders,
                "repetitions": plan.repetitions,
                "in_flight": plan.in_flight,
                "idle_rate": plan.idle_rate,
                "half_load_rate": round(found.half_load, 1),
                "exact_commit_times": await bench.facts.exact_times(),
            },
            figures=found.figures(),
            latencies=found.latencies,
            cpu=found.cpu,
            cpu_at_rest=found.cpu_at_rest,
            memory=found.memory,
            recoveries=recoveries,
            orders=bench.orders,
            improper=bench.improper,
            lines=lines_needed(),
            views=VIEWS,
        )


class _Contrast:
    def __init__(self, bench: Bench, plan: Plan, tell: Tell) -> None:
        self._bench = bench
        self._plan = plan
        self._tell = tell
        self._found = Findings()
        self._began = time.monotonic()

    async def run(self) -> tuple[Findings, list[Recovery]]:
        await self._warm_up()
        counted = await self._rest()
        for repetition in self._repetitions(until=0.45):
            seed = self._bench.next_seed()
            for coordinator in _alternating(repetition):
                block = await self._saturated(coordinator, repetition, seed)
                if repetition == 0:
                    # The counts of a block lag; once they have settled they are complete, and where the next begins.
                    settled = await self._bench.meters.settled()
                    self._found.note_counts(block, settled - counted)
                    counted = settled
        self._found.note_memory(self._bench.meters.memory())
        await self._steady("at 10 a second", self._plan.idle_rate, until=0.6)
        await self._steady("at half load", self._found.half_load, until=0.75)
        return self._found, await self._kills()

    def _repetitions(self, *, until: float) -> Iterator[int]:
        """One at least; no more once this share of the time is spent."""
        for repetition in range(self._plan.repetitions):
            if repetition == 0 or self._spent < until:
                yield repetition

    @property
    def _spent(self) -> float:
        return (time.monotonic() - self._began) / self._plan.limit

    async def _warm_up(self) -> None:
        self._tell("warming up")
        for coordinator in Coordinator:
            await self._bench.saturated(
                coordinator,
                seed=self._bench.next_seed(),
                orders=min(_WARM_UP, self._plan.orders),
                in_flight=self._plan.in_flight,
                within=self._plan.block,
            )

    async def _rest(self) -> Reading:
        """What the meters say when all is quiet; how much the system uses then is noted."""
        self._tell("at rest, until the servers' counts have settled")
        before = await self._bench.meters.settled()
        quiet = await self._bench.meters.settled(_REST)
        self._found.note_rest(quiet - before)
        return quiet

    async def _saturated(self, coordinator: Coordinator, repetition: int, seed: int) -> Block:
        self._tell(f"at saturation, {coordinator}, {repetition + 1} of {self._plan.repetitions}")
        block = await self._bench.saturated(
            coordinator,
            seed=seed,
            orders=self._plan.orders,
            in_flight=self._plan.in_flight,
            within=self._plan.block,
        )
        self._found.note_saturated(block)
        if repetition == 0:
            events = await self._bench.told.history_events(block.ends, block.began - 1.0)
            self._found.note_history(block, events)
        return block

    async def _steady(self, profile: str, rate: float, *, until: float) -> None:
        for repetition in self._repetitions(until=until):
            seed = self._bench.next_seed()
            for coordinator in _alternating(repetition):
                self._tell(f"{profile} ({rate:.0f}), {coordinator}, {repetition + 1} of {self._plan.repetitions}")
                block = await self._bench.steady(coordinator, seed=seed, rate=rate, seconds=self._plan.steady)
                self._found.note_latency(profile, block)

    async def _kills(self) -> list[Recovery]:
        recoveries: list[Recovery] = []
        for part in self._plan.parts:
            if recoveries and self._spent > 1.0:
                self._tell(f"no time is left to kill {part}")
                continue
            self._tell(f"kill -9 {part}, both coordinators at once")
            rate = max(_LEAST_KILL_RATE, min(self._plan.kill_rate, self._found.half_load))
            recoveries += await strike(self._bench, part, rate=rate)
        return recoveries


def _alternating(repetition: int) -> tuple[Coordinator, ...]:
    """Who goes first changes, so that neither always finds the other's leftovers."""
    both = tuple(Coordinator)
    return both if repetition % 2 == 0 else both[::-1]
