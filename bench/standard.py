"""Measure one system as it is shipped, beside the ceilings of the servers that it stands on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import crowd, raw_broker
from bench.backlog import Drained
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
from bench.raw_temporal import RawTemporal, plain_worker
from bench.report import Notes
from bench.scene import Scene
from bench.trials import Trial
from models.saga import Coordinator

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much is measured; times in seconds."""

    repetitions: int = 3
    saturated: float = 8.0
    in_flight: int = 512
    idle_rate: float = 10.0
    idle: float = 20.0
    half_load: float = 10.0
    ceiling: float = 4.0  # of each number of pgbench's clients, and of the broker
    clients: tuple[int, ...] = (8, 16, 32, 64)
    temporal: float = 5.0  # of each ceiling of Temporal
    orchestrated: float = 10.0
    orchestrated_in_flight: int = 100  # more only wait for Temporal, until POSTs are refused
    crowd: float = 5.0  # of reads, at each place and number of connections
    slow: float = 12.0  # with a provider that takes 1.5 s
    slow_in_flight: int = 4000
    warm_up: float = 4.0
    rest: float = 5.0


QUICK: Final = Plan(
    repetitions=1,
    saturated=2.0,
    idle=4.0,
    half_load=3.0,
    ceiling=2.0,
    clients=(16, 32),
    temporal=1.0,
    orchestrated=2.0,
    crowd=1.0,
    slow=4.0,
    slow_in_flight=1000,
    warm_up=1.0,
    rest=2.0,
)


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
        self._tell("starting it again, with a provider that takes 1.5 s")
        running, _ = await self._own.up(SAGA_PROVIDER_LATENCY_MS="1500")
        await self._on(running, self._slowly)

    async def _on(self, running: Running, measure: Callable[[Scene], Awaitable[None]]) -> None:
        async with Scene.of(self._own, running) as scene:
            try:
                await measure(scene)
            finally:
                self._notes.orders += scene.trials.orders
                self._notes.improper += scene.trials.improper

    async def _at_once(self, scene: Scene) -> None:
        await self._warm_up(scene)
        for repetition in range(self._plan.repetitions):
            self._tell(f"repetition {repetition + 1} of {self._plan.repetitions}")
            await self._pgbench(scene)
            await self._broker(scene)
            await self._mirrors_off(scene)
            await self._mirrors_on(scene, counts=repetition == 0)
            await self._signals(scene)
        for _ in range(self._plan.repetitions):
            await self._latencies(scene)
        for _ in range(self._plan.repetitions):
            await self._orchestrated(scene)
        self._tell("reading an order over many connections")
        for _ in range(self._plan.repetitions):
            await crowd.measure(scene.running, self._own.internal_token, self._notes, seconds=self._plan.crowd)

    async def _slowly(self, scene: Scene) -> None:
        trial: Trial | None = None
        for _ in range(self._plan.repetitions):
            if trial is not None:  # that takes minutes, and nothing is measured after the last one
                self._tell("until the last mirror has closed")
                await self._drain(scene, trial)
            self._tell("at saturation, with a provider that takes 1.5 s")
            trial = await scene.trials.saturated(
                Coordinator.CHOREOGRAPHY, seconds=self._plan.slow, in_flight=self._plan.slow_in_flight
            )
            note_rate(self._notes, "slow", trial, name="provider takes 1.5 s")
            note_memory(self._notes, "slow", trial, name=", provider takes 1.5 s")

    async def _warm_up(self, scene: Scene) -> None:
        self._tell("warming up")
        for coordinator in Coordinator:
            trial = await scene.trials.saturated(
                coordinator, seconds=self._plan.warm_up, in_flight=self._plan.orchestrated_in_flight
            )
            if coordinator is Coordinator.CHOREOGRAPHY:
                await self._drain(scene, trial)
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

    async def _mirrors_off(self, scene: Scene) -> None:
        self._tell("at saturation, mirrors switched off")
        async with scene.backlog.switched_off():
            trial = await scene.trials.saturated(
                Coordinator.CHOREOGRAPHY, seconds=self._plan.saturated, in_flight=self._plan.in_flight
            )
        note_rate(self._notes, "off", trial, name="mirrors switched off")
        note_cpu(self._notes, "off", trial, trial.used, self._rest, name="mirrors switched off")

    async def _mirrors_on(self, scene: Scene, *, counts: bool) -> None:
        meters, notes = scene.trials.meters, self._notes
        self._tell("at saturation, mirrors working" + (", counting" if counts else ""))
        before = await (meters.settled() if counts else meters.read())
        log_end = await scene.log.end()
        trial = await scene.trials.saturated(
            Coordinator.CHOREOGRAPHY, seconds=self._plan.saturated, in_flight=self._plan.in_flight
        )
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
        half = (self._notes.median("saturation.on") or 2 * self._plan.idle_rate) / 2
        for profile, rate, seconds in (
            ("idle", self._plan.idle_rate, self._plan.idle),
            ("half", half, self._plan.half_load),
        ):
            name = f"{rate:.0f} a second" + (", half load" if profile == "half" else "")
            self._tell(name)
            trial = await scene.trials.steady(Coordinator.CHOREOGRAPHY, seconds=seconds, rate=rate)
            note_latency(self._notes, profile, trial, name=name)
            await self._drain(scene, trial)

    async def _orchestrated(self, scene: Scene) -> None:
        plan, raw = self._plan, RawTemporal(scene.temporal)
        self._tell("orchestrated sagas at saturation")
        trial = await scene.trials.saturated(
            Coordinator.ORCHESTRATION, seconds=plan.orchestrated, in_flight=plan.orchestrated_in_flight
        )
        note_rate(self._notes, "orchestration", trial, name="orchestrated")
        self._tell("plain workflows of three activities")
        async with plain_worker(scene.running.urls["temporal"]):
            plain = await raw.plain_sagas(seconds=plan.orchestrated, in_flight=plan.orchestrated_in_flight)
        name = "Temporal, plain workflows of three activities, SDK's defaults"
        self._notes.note("ceiling.plain", plain.rate, group=CEILINGS, name=name, unit="a second")

    async def _signals(self, scene: Scene) -> None:
        """What the mirrors are held against, right after them: the rates of a busy machine drift."""
        self._tell("signal-with-start, with and without somebody who works")
        raw = RawTemporal(scene.temporal)
        bare = await raw.signal_with_start(seconds=self._plan.temporal)
        async with plain_worker(scene.running.urls["temporal"]):
            signalled = await raw.signalled(seconds=self._plan.temporal)
        for key, rate, name in (
            ("ceiling.signal", bare, "signal-with-start, nobody working: calls"),
            ("ceiling.signalled", signalled.rate, "workflows that close with their first signal"),
        ):
            self._notes.note(key, rate, group=CEILINGS, name=f"Temporal, {name}", unit="a second")
