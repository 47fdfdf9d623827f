"""Measure with tables that are full, with more instances of each service, and with slow providers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from bench.costs import counted, cpu_of_a_saga
from bench.figures import quantile
from bench.fill import Fill, Filled
from bench.instances import more
from bench.load import accepted
from bench.noting import RATES
from bench.own_stack import OwnStack
from bench.reads import ask, questions, total
from bench.report import Notes, Tell
from bench.scene import Scene
from bench.trials import Trial
from bench.watcher import Watcher, misordered
from models.saga import Coordinator

NewStack = Callable[[str, int], OwnStack]  # by the name of its data, and by how far its ports are from the first one's

IDLE: Final = "POST to terminal status at 10 a second, ms"
READS: Final = "GET, ms"
OTHERS: Final = "Costs"
_CHOREOGRAPHY: Final = Coordinator.CHOREOGRAPHY
_BESIDE: Final = 40  # added to the ports of a second stack


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much is measured; times in seconds."""

    repetitions: int = 3
    saturated: float = 8.0
    in_flight: int = 512
    idle_rate: float = 10.0
    idle: float = 20.0
    reads: int = 300
    sizes: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    instances: tuple[int, ...] = (1, 2, 3)
    latencies: tuple[int, ...] = (0, 100, 1500)  # of the provider, ms
    warm_up: float = 4.0


QUICK: Final = Plan(
    repetitions=1,
    saturated=2.0,
    idle=3.0,
    reads=30,
    sizes=(1_000, 20_000),
    instances=(1, 3),
    latencies=(0, 1500),
    warm_up=1.0,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """A system that is asked questions about known orders, and how its answers' times are noted."""

    scene: Scene
    known: Filled
    key: str
    name: str


class Scale:
    """One run. The mirrors are switched off: what is compared is the choreography with itself.

    What is compared is measured in turns, for a machine is not as fast in one minute as in the next. Full tables have
    a second stack beside them, made anew each time: for reads one with the fewest orders, for sagas one with none.
    """

    def __init__(self, new_stack: NewStack, plan: Plan, notes: Notes, tell: Tell, *, port_offset: int) -> None:
        self._new_stack = new_stack
        self._plan = plan
        self._notes = notes
        self._tell = tell
        self._port_offset = port_offset
        self._environ: Mapping[str, str] = {}

    async def run(self, environ: Mapping[str, str]) -> None:
        """Start, measure, stop. Raises StackFailed, or TimeoutError if a system stands still."""
        self._environ = environ
        async with self._system("full") as full:
            await self._sizes(full)
        for latency in self._plan.latencies:
            async with self._system("small", latency=latency) as scene:
                if latency == 0:
                    await self._instances(scene)
                await self._latency(scene, latency)

    @asynccontextmanager
    async def _system(self, name: str, *, latency: int = 0, beside: bool = False) -> AsyncIterator[Scene]:
        self._tell(f"starting a stack of its own, {name}, whose provider takes {latency} ms")
        own = self._new_stack(name, _BESIDE if beside else 0)
        # The reconciler would go through all that the filling has cancelled, as it would through nothing else at once.
        settings = {"SAGA_PROVIDER_LATENCY_MS": str(latency), "SAGA_RECONCILE_INTERVAL": "86400"}
        try:
            running = await own.up_keeping_times(**settings)
            async with Scene.of(own, running, self._notes) as scene:
                yield scene
        finally:
            await own.down()

    async def _sizes(self, full: Scene) -> None:
        fill = _fill_of(full)
        for size in self._plan.sizes:
            await self._questions(full, await self._filled(full, fill, size), size)
            async with (
                self._system(f"empty-{size}", beside=True) as empty,
                empty.backlog.switched_off(),
                full.backlog.switched_off(),
            ):
                await self._core(empty, full, size)
        if not await fill.consistent():
            self._notes.troubles.append("In the end the totals are not what the rows come to")

    async def _filled(self, full: Scene, fill: Fill, size: int) -> Filled:
        self._tell(f"filling the tables up to {size:,} orders")
        began = time.monotonic()
        known = await fill.up_to(size)
        await full.log.checkpoint()
        seconds = time.monotonic() - began
        self._notes.note(f"fill.{size}", seconds, group=OTHERS, name=f"filling up to {size:,}", unit="s")
        stored = await fill.stored_bytes() / size
        self._notes.note(f"stored.{size}", stored, group=OTHERS, name=f"on disk an order, {size:,}", unit="bytes")
        if not await fill.consistent():
            self._notes.troubles.append(f"At {size:,} orders the totals are not what the rows come to")
        if (told := await total(full.trials.client)) != size:
            self._notes.troubles.append(f"GET /orders tells of {told} orders, and there are {size}")
        return known

    async def _core(self, empty: Scene, full: Scene, size: int) -> None:
        name = f"{size:,} orders"
        pair = ((empty, f"scale.beside.{size}", f"no orders before, beside {name}"), (full, f"scale.rate.{size}", name))
        for scene, _, _ in pair:
            await self._saturated(scene, seconds=self._plan.warm_up)
        for repetition in range(self._plan.repetitions):
            self._tell(f"at saturation and at {self._plan.idle_rate:g} a second, {name}, {repetition + 1}")
            # Whoever is second has the first one's clearing up beside it: each is it in turn.
            for scene, key, condition in pair if repetition % 2 else pair[::-1]:
                trial = await self._saturated(scene)
                self._note_rate(key, trial, condition)
                self._note_costs(key, trial, condition)
            idle = await full.trials.steady(_CHOREOGRAPHY, seconds=self._plan.idle, rate=self._plan.idle_rate)
            self._note_quantiles(f"scale.idle.{size}", idle.latencies, IDLE, name)
            self._notes.note_latencies(name, _CHOREOGRAPHY.value, idle.latencies)

    def _note_costs(self, key: str, trial: Trial, name: str) -> None:
        cpu = cpu_of_a_saga(trial.used, None, trial.sagas)
        self._notes.cpu.setdefault(name, []).append(cpu)
        self._notes.note(f"{key}.cpu", counted(cpu), group=OTHERS, name=f"CPU a saga, {name}", unit="ms")
        log = trial.used.wal_bytes / trial.sagas
        self._notes.note(f"{key}.wal", log, group=OTHERS, name=f"log a saga, {name}", unit="bytes")

    async def _questions(self, full: Scene, known: Filled, size: int) -> None:
        name, fewest = f"{size:,} orders", min(self._plan.sizes)
        many = _Asked(scene=full, known=known, key=str(size), name=name)
        if size == fewest:
            await self._reads([many])
            return
        async with self._system(f"few-{size}", beside=True) as small:
            first = await _fill_of(small).up_to(fewest)
            condition = f"{fewest:,} orders, beside {name}"
            few = _Asked(scene=small, known=first, key=f"beside.{size}", name=condition)
            await self._reads([few, many])

    async def _reads(self, all_asked: Sequence[_Asked]) -> None:
        for each in all_asked:  # a process that has just started answers more slowly
            for path in questions(each.known).values():
                await ask(each.scene.trials.client, path, times=self._plan.reads)
        for repetition in range(self._plan.repetitions):
            self._tell(f"GET, {' and '.join(each.name for each in all_asked)}, {repetition + 1}")
            for each in all_asked:
                for question, path in questions(each.known).items():
                    asked = await ask(each.scene.trials.client, path, times=self._plan.reads)
                    if asked.refused:
                        trouble = f"{asked.refused} of {self._plan.reads} GET {path} were not answered, {each.name}"
                        self._notes.troubles.append(trouble)
                    key, name = f"read.{question}.{each.key}", f"{question}, {each.name}"
                    self._note_quantiles(key, asked.milliseconds, READS, name)

    async def _instances(self, scene: Scene) -> None:
        for repetition in range(self._plan.repetitions):
            for number in self._plan.instances:
                self._tell(f"{number} of each service, {repetition + 1}")
                environ = {**self._environ, "SAGA_PROVIDER_LATENCY_MS": "0"}
                async with (
                    more(scene.running, number - 1, port_offset=self._port_offset, environ=environ),
                    scene.backlog.switched_off(),  # after their start, for with that they bind the queue again
                ):
                    await self._saturated(scene, seconds=self._plan.warm_up)
                    trial = await self._saturated(scene)
                    self._note_rate(f"instances.{number}", trial, f"{number} of each service")
                    await self._note_order(scene, number)

    async def _note_order(self, scene: Scene, number: int) -> None:
        async with Watcher.listening(scene.running.urls["amqp"]) as watcher:
            trial = await self._saturated(scene, seconds=self._plan.warm_up)
            await watcher.wait(orders := accepted(trial.placed), within=scene.trials.patience)
        wrong = misordered(watcher.heard, orders)
        what = f"orders whose events came out of order, {number} of each service"
        self._notes.note(f"instances.{number}.misordered", len(wrong), group=OTHERS, name=what, unit="")

    async def _latency(self, scene: Scene, latency: int) -> None:
        in_flight = self._plan.in_flight + round(2.5 * latency)  # enough for some 2,000 sagas a second
        name = f"provider takes {latency} ms"
        async with scene.backlog.switched_off():
            await self._saturated(scene, in_flight, seconds=self._plan.warm_up + 3 * latency / 1000)
            for _ in range(self._plan.repetitions):
                self._tell(f"at saturation, {name}, {in_flight} sagas under way")
                trial = await self._saturated(scene, in_flight, seconds=self._plan.saturated + 3 * latency / 1000)
                self._note_rate(f"provider.{latency}", trial, name)
                held = trial.footprint.resident_mib
                what = f"memory of the four processes, {name}"
                self._notes.note(f"provider.{latency}.rss", held, group=OTHERS, name=what, unit="MiB")

    async def _saturated(self, scene: Scene, in_flight: int | None = None, *, seconds: float | None = None) -> Trial:
        return await scene.trials.saturated(
            _CHOREOGRAPHY, seconds=seconds or self._plan.saturated, in_flight=in_flight or self._plan.in_flight
        )

    def _note_rate(self, key: str, trial: Trial, name: str) -> None:
        self._notes.note(key, trial.rate, group=RATES, name=name, unit="a second")

    def _note_quantiles(self, key: str, values: Sequence[float], group: str, name: str) -> None:
        for percentile, share in (("p50", 0.5), ("p99", 0.99)) if values else ():
            value = quantile(values, share)
            self._notes.note(f"{key}.{percentile}", value, group=group, name=f"{name}, {percentile}", unit="ms")


def _fill_of(scene: Scene) -> Fill:
    return Fill(scene.running.urls["orders_db"], scene.running.urls["payments_db"])
