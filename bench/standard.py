"""Measure one system as it is shipped, beside the ceilings of the servers that it stands on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from bench import crowd, raw_broker
from bench.backlog import Drained
from bench.coordinators import Coordinators
from bench.meters import Reading
from bench.noting import (
    CEILINGS,
    STARTS,
    note_counts,
    note_cpu,
    note_drained,
    note_latency,
    note_memory,
    note_rate,
)
from bench.own_stack import OwnStack, Running
from bench.pgbench import ONE_STATEMENT_EACH, STATEMENT_BY_STATEMENT, Pgbench, scratch_folder
from bench.plan import Part, Plan
from bench.raw_temporal import RawTemporal
from bench.report import Notes, Tell
from bench.scene import Scene
from bench.trials import Trial
from choreography.topology import MIRROR_QUEUE
from models.saga import Coordinator

_WARMING_MIRRORS: Final = 200


class Standard:
    """One run: the system as it is shipped, with both a quick and a slow provider."""

    def __init__(self, own: OwnStack, plan: Plan, notes: Notes, tell: Tell) -> None:
        self._own = own
        self._plan = plan
        self._notes = notes
        self._tell = tell
        self._rest: Reading | None = None
        self._best: dict[str, int] = {}  # pgbench's best number of clients, by ceiling

    async def run(self) -> None:
        """Start the stack, measure, stop it. Raises StackFailed, PgbenchFailed, or TimeoutError if it stands still."""
        try:
            await self._run()
        finally:
            await self._own.down()

    async def _run(self) -> None:
        self._tell("starting a stack of its own: on no data, then on known data")
        running, seconds = await self._own.up(SAGA_PROVIDER_LATENCY_MS="0")
        self._notes.note("start.fresh", seconds, group=STARTS, name="on no data", unit="s")
        await self._own.keep_times(running)
        await self._own.down()
        running, seconds = await self._own.up(SAGA_PROVIDER_LATENCY_MS="0")
        self._notes.note("start.warm", seconds, group=STARTS, name="on known data", unit="s")
        await self._on(running, self._at_once)
        await self._own.down()
        for part, measure, settings in (
            (
                Part.LATE,
                self._late,
                {"SAGA_PROVIDER_LATENCY_MS": "0", "SAGA_MIRROR_AFTER": str(self._plan.mirror_after)},
            ),
            (Part.SLOW, self._slowly, {"SAGA_PROVIDER_LATENCY_MS": "1500"}),
        ):
            if part in self._plan.parts:
                self._tell(
                    f"starting it again, with {', '.join(f'{name}={value}' for name, value in settings.items())}"
                )
                running, _ = await self._own.up(**settings)
                await self._on(running, measure)
                await self._own.down()

    async def _on(self, running: Running, measure: Callable[[Scene], Awaitable[None]]) -> None:
        async with Scene.of(self._own, running, self._notes) as scene:
            await measure(scene)

    async def _at_once(self, scene: Scene) -> None:
        await self._warm_up(scene)
        both = Coordinators(scene, self._plan, self._notes, self._tell, self._rest)
        for _ in self._repetitions(Part.SATURATION):
            await self._pgbench(scene)
            await self._broker(scene)
            await self._mirrors_off(scene)
            await self._mirrors_on(scene)
            await self._signals(scene)
        for _ in self._repetitions(Part.LATENCY):
            await self._latencies(scene)
        for _ in self._repetitions(Part.COORDINATORS):
            await both.idle()
            await both.saturated()
        for _ in self._repetitions(Part.BACKLOG):
            await both.behind_backlog()
        if Part.BACKLOG in self._plan.parts:
            await both.drained()
        for _ in self._repetitions(Part.READS):
            self._tell("reading an order over many connections")
            await crowd.measure(scene.running, self._own.internal_token, self._notes, seconds=self._plan.crowd)

    async def _late(self, scene: Scene) -> None:
        """Mirrors of quick sagas left out, in turns with mirrors switched off."""
        name = f"mirrors of sagas longer than {self._plan.mirror_after} s"
        await self._saturated(scene)
        await scene.trials.meters.until_empty(MIRROR_QUEUE, within=scene.trials.patience)
        await self._read_at_rest(scene)
        for _ in self._repetitions(Part.LATE):
            await self._mirrors_off(scene, "late.off", f"mirrors switched off, in turns with {name}")
            self._tell(f"at saturation, {name}")
            before = await scene.trials.meters.read()
            trial = await self._saturated(scene)
            note_rate(self._notes, "late", trial, name=name)
            await scene.trials.meters.until_empty(MIRROR_QUEUE, within=scene.trials.patience)
            used = await scene.trials.meters.read() - before
            note_cpu(self._notes, "late", trial, used, self._rest, name=name)

    async def _slowly(self, scene: Scene) -> None:
        trial: Trial | None = None
        for _ in self._repetitions(Part.SLOW):
            if trial is not None:  # that takes minutes, and nothing is measured after the last one
                self._tell("until the last mirror has closed")
                await self._drain(scene, trial)
            self._tell("at saturation, with a provider that takes 1.5 s")
            trial = await scene.trials.saturated(
                Coordinator.CHOREOGRAPHY, seconds=self._plan.slow, in_flight=self._plan.slow_in_flight
            )
            note_rate(self._notes, "slow", trial, name="provider takes 1.5 s")
            note_memory(self._notes, "slow", trial, name=", provider takes 1.5 s")

    def _repetitions(self, part: Part) -> Iterator[int]:
        """None of a part that is not asked for."""
        for repetition in range(self._plan.repetitions if part in self._plan.parts else 0):
            self._tell(f"{part}, {repetition + 1} of {self._plan.repetitions}")
            yield repetition

    async def _saturated(self, scene: Scene) -> Trial:
        return await scene.trials.saturated(
            Coordinator.CHOREOGRAPHY, seconds=self._plan.saturated, in_flight=self._plan.in_flight
        )

    async def _warm_up(self, scene: Scene) -> None:
        self._tell("warming up")
        plan, trials = self._plan, scene.trials
        async with scene.backlog.switched_off():  # their mirrors would be told for minutes
            await trials.saturated(Coordinator.CHOREOGRAPHY, seconds=plan.warm_up, in_flight=plan.in_flight)
        trial = await trials.saturated(
            Coordinator.CHOREOGRAPHY, seconds=plan.warm_up, in_flight=plan.in_flight, orders=_WARMING_MIRRORS
        )
        await self._drain(scene, trial)
        await trials.saturated(Coordinator.ORCHESTRATION, seconds=plan.warm_up, in_flight=plan.orchestrated_in_flight)
        await self._read_at_rest(scene)

    async def _read_at_rest(self, scene: Scene) -> None:
        before = await scene.trials.meters.settled()
        self._rest = await scene.trials.meters.settled(self._plan.rest) - before

    async def _drain(self, scene: Scene, trial: Trial) -> Drained | None:
        """Wait until the mirror of every saga has closed; None if they stand still."""
        try:
            return await scene.backlog.drained(sagas=trial.sagas, since=trial.began)
        except TimeoutError as error:
            self._notes.troubles.append(str(error))
            return None

    async def _pgbench(self, scene: Scene) -> None:
        ceilings = {
            "ceiling.pgbench": (STATEMENT_BY_STATEMENT, "pgbench, statement by statement: sagas"),
            "ceiling.pgbench.single": (ONE_STATEMENT_EACH, "pgbench, one statement a transaction: sagas"),
        }
        async with self._own.scratch_database(scene.running, "bench_ceiling") as url:
            with scratch_folder() as folder:
                pgbench = Pgbench(url, Path(folder))
                await pgbench.prepare()
                for key, (script, name) in ceilings.items():
                    self._tell(name)
                    clients = (self._best[key],) if key in self._best else self._plan.clients
                    rate, self._best[key] = await pgbench.best(script, clients=clients, seconds=self._plan.ceiling)
                    self._notes.note(key, rate, group=CEILINGS, name=name, unit="a second")

    async def _broker(self, scene: Scene) -> None:
        self._tell("the broker with messages alone")
        rate = await raw_broker.sagas_per_second(scene.running.urls["amqp"], seconds=self._plan.ceiling)
        name = f"RabbitMQ, {raw_broker.PUBLISHED} messages a saga, nothing else done: sagas"
        self._notes.note("ceiling.broker", rate, group=CEILINGS, name=name, unit="a second")

    async def _mirrors_off(self, scene: Scene, key: str = "off", name: str = "mirrors switched off") -> None:
        self._tell(f"at saturation, {name}")
        async with scene.backlog.switched_off():
            trial = await self._saturated(scene)
        note_rate(self._notes, key, trial, name=name)
        note_cpu(self._notes, key, trial, trial.used, self._rest, name=name)

    async def _mirrors_on(self, scene: Scene) -> None:
        meters, notes = scene.trials.meters, self._notes
        counts = notes.median("messages.published") is None  # once: they take long to settle
        self._tell("at saturation, mirrors working" + (", counting" if counts else ""))
        before = await (meters.settled() if counts else meters.read())
        log_end = await scene.log.end()
        trial = await self._saturated(scene)
        note_rate(notes, "on", trial, name="mirrors working")
        note_memory(notes, "", trial, name="")
        self._tell("until the last mirror has closed")
        if (drained := await self._drain(scene, trial)) is not None:
            note_drained(notes, drained)
            used = await meters.read() - before
            note_cpu(notes, "on", trial, used, self._rest, name="mirrors working, until they had closed")
        if counts:
            wal = await scene.log.bytes_since(log_end)
            settled = await meters.settled() - before
            note_counts(notes, settled, wal, trial.sagas, expected=raw_broker.PUBLISHED)

    async def _latencies(self, scene: Scene) -> None:
        if self._notes.median("saturation.on") is None:
            await self._mirrors_off(scene)
            await self._mirrors_on(scene)
        plan, half = self._plan, (self._notes.median("saturation.on") or 2 * self._plan.idle_rate) / 2
        await self._latency(scene, "idle", plan.idle_rate, plan.idle, f"{plan.idle_rate:.0f} a second")
        name = f"{half:.0f} a second, half load"
        async with scene.backlog.switched_off():
            await self._latency(scene, "half.off", half, plan.half_load, f"{name}, mirrors switched off")
        await self._latency(scene, "half", half, plan.half_load, name)

    async def _latency(self, scene: Scene, key: str, rate: float, seconds: float, name: str) -> None:
        self._tell(name)
        trial = await scene.trials.steady(Coordinator.CHOREOGRAPHY, seconds=seconds, rate=rate)
        note_latency(self._notes, key, trial, name=name)
        if not key.endswith("off"):
            await self._drain(scene, trial)

    async def _signals(self, scene: Scene) -> None:
        """What the mirrors are held against, right after them: the rates of a busy machine drift."""
        self._tell("bare signal-with-start")
        rate = await RawTemporal(scene.temporal).signal_with_start(seconds=self._plan.temporal)
        name = "Temporal, signal-with-start, nobody working: calls"
        self._notes.note("ceiling.signal", rate, group=CEILINGS, name=name, unit="a second")
