"""Send the same workload and the same kills through both coordinators, in alternating blocks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from bench.compared import Compared
from bench.meters import Reading
from bench.report import Notes, Tell
from bench.strikes import PARTS, strike
from bench.trials import Trial, Trials
from models.saga import Coordinator

_WARM_UP: Final = 60  # orders
_REST: Final = 3.0  # seconds
_LEAST_KILL_RATE: Final = 3.0  # sagas a second: a kill must meet some


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


class Contrast:
    """One run, on a system that does nothing else meanwhile; `tell` is told what comes next."""

    def __init__(self, trials: Trials, plan: Plan, tell: Tell) -> None:
        self._trials = trials
        self._plan = plan
        self._tell = tell
        self._began = time.monotonic()

    async def run(self) -> tuple[Notes, float]:
        """What was found, and the rate of half load. Raises TimeoutError when the system stands still."""
        await self._warm_up()
        rest, counted = await self._rest()
        found = Compared(rest)
        for repetition in self._repetitions(until=0.45):
            seed = self._trials.next_seed()
            for coordinator in _alternating(repetition):
                trial = await self._saturated(found, coordinator, repetition, seed)
                if repetition == 0:
                    # The counts of a block lag; once they have settled they are complete, and where the next begins.
                    settled = await self._trials.meters.settled()
                    found.note_counts(trial, settled - counted)
                    counted = settled
        found.note_memory(self._trials.meters.memory())
        await self._steady(found, "at 10 a second", self._plan.idle_rate, until=0.6)
        await self._steady(found, "at half load", found.half_load, until=0.75)
        await self._kills(found)
        found.notes.orders, found.notes.improper = self._trials.orders, self._trials.improper
        return found.notes, found.half_load

    def _repetitions(self, *, until: float) -> Iterator[int]:
        """The repetitions: one at least, and no more once this share of the time is spent."""
        for repetition in range(self._plan.repetitions):
            if repetition == 0 or self._spent < until:
                yield repetition

    @property
    def _spent(self) -> float:
        return (time.monotonic() - self._began) / self._plan.limit

    async def _warm_up(self) -> None:
        self._tell("warming up")
        for coordinator in Coordinator:
            await self._trials.saturated(
                coordinator,
                orders=min(_WARM_UP, self._plan.orders),
                in_flight=self._plan.in_flight,
                seconds=self._plan.block,
            )

    async def _rest(self) -> tuple[Reading, Reading]:
        """The use of the system at rest, and the reading of the meters after it."""
        self._tell("at rest, until the servers' counts have settled")
        before = await self._trials.meters.settled()
        quiet = await self._trials.meters.settled(_REST)
        return quiet - before, quiet

    async def _saturated(self, found: Compared, coordinator: Coordinator, repetition: int, seed: int) -> Trial:
        self._tell(f"at saturation, {coordinator}, {repetition + 1} of {self._plan.repetitions}")
        trial = await self._trials.saturated(
            coordinator,
            seed=seed,
            orders=self._plan.orders,
            in_flight=self._plan.in_flight,
            seconds=self._plan.block,
        )
        found.note_saturated(trial)
        if repetition == 0:
            found.note_history(trial, await self._trials.told.history_events(trial.ends, trial.began - 1.0))
        return trial

    async def _steady(self, found: Compared, profile: str, rate: float, *, until: float) -> None:
        for repetition in self._repetitions(until=until):
            seed = self._trials.next_seed()
            for coordinator in _alternating(repetition):
                self._tell(f"{profile} ({rate:.0f}), {coordinator}, {repetition + 1} of {self._plan.repetitions}")
                trial = await self._trials.steady(coordinator, seed=seed, rate=rate, seconds=self._plan.steady)
                found.note_latency(profile, trial)

    async def _kills(self, found: Compared) -> None:
        for part in self._plan.parts:
            if found.notes.recoveries and self._spent > 1.0:
                self._tell(f"no time is left to kill {part}")
                continue
            self._tell(f"kill -9 {part}, both coordinators at once")
            rate = max(_LEAST_KILL_RATE, min(self._plan.kill_rate, found.half_load))
            found.notes.recoveries += await strike(self._trials, part, rate=rate)


def _alternating(repetition: int) -> tuple[Coordinator, ...]:
    """Take turns at going first, so that no coordinator always runs after the other."""
    both = tuple(Coordinator)
    return both if repetition % 2 == 0 else both[::-1]
