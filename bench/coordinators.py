"""Measure both coordinators beside plain workflows of three activities: idle, at saturation, and behind a backlog."""

from __future__ import annotations

from typing import Final

from bench.load import accepted
from bench.meters import Reading
from bench.noting import CEILINGS, MIRRORS, note_cpu, note_drained, note_latency, note_percentiles, note_rate
from bench.plan import Plan
from bench.raw_temporal import RawTemporal, plain_worker
from bench.report import Notes, Tell
from bench.scene import Scene
from bench.trials import Trial
from bench.waits import waits
from models.saga import Coordinator
from workflows.naming import workflow_id

_PLAIN: Final = "plain workflows of three activities, SDK's defaults"
_MORE: Final = 1.1  # times the mirrors that are asked for: some are told while the others gather
_LONGEST: Final = 60.0  # seconds for which they gather


class Coordinators:
    """Measurements on one running system; each method is one repetition."""

    def __init__(self, scene: Scene, plan: Plan, notes: Notes, tell: Tell, rest: Reading | None) -> None:
        self._scene = scene
        self._plan = plan
        self._notes = notes
        self._tell = tell
        self._rest = rest  # what the system uses when nothing is asked of it
        self._raw = RawTemporal(scene.temporal)
        self._left = 0  # sagas whose mirrors were left to wait …
        self._since = 0.0  # … since then, in seconds since the epoch

    async def idle(self) -> None:
        """Measure a trickle of sagas of each coordinator, and of plain workflows."""
        plan, rate = self._plan, f"{self._plan.trickle_rate:g} a second"
        for coordinator in Coordinator:
            trial = await self._trickle(coordinator, f"trickle.{coordinator}", f"{coordinator}, {rate}")
            if coordinator is Coordinator.CHOREOGRAPHY:
                await self._scene.backlog.drained(sagas=trial.sagas, since=trial.began)
        self._tell(f"{_PLAIN}, {rate}")
        async with plain_worker(self._scene.running.urls["temporal"]):
            ended = await self._raw.plain_at_rate(seconds=plan.trickle, rate=plan.trickle_rate)
        note_percentiles(self._notes, "trickle.plain", list(ended.values()), name=f"plain, {rate}", series="plain")
        self._notes.note_waits(f"plain, {rate}", await waits(self._scene.temporal, ended))

    async def saturated(self) -> None:
        """Measure as many orchestrated sagas as the system can take, then as many plain workflows."""
        await self._saturated("orchestration", "orchestrated")
        self._tell(f"{_PLAIN}, at saturation")
        async with plain_worker(self._scene.running.urls["temporal"]):
            plain = await self._raw.plain_sagas(
                seconds=self._plan.orchestrated, in_flight=self._plan.orchestrated_in_flight
            )
        self._notes.note("ceiling.plain", plain, group=CEILINGS, name=f"Temporal, {_PLAIN}", unit="a second")

    async def behind_backlog(self) -> None:
        """Orchestrated sagas while mirrors wait, which are left for the next time; the first time, before that, too."""
        mirrors = f"{self._plan.backlog:,} mirrors"
        name = f"orchestrated, behind {mirrors}"
        if not self._left:
            for _ in range(self._plan.repetitions):
                await self._trickle(Coordinator.ORCHESTRATION, "before", f"orchestrated, before {mirrors}")
                await self._saturated("before", f"orchestrated, before {mirrors}")
        await self._leave_mirrors()
        trickle = await self._trickle(Coordinator.ORCHESTRATION, "behind", name)
        saturated = await self._saturated("behind", name)
        for key, number, what in (
            ("refused.behind", trickle.refused + saturated.refused, f"POSTs refused, {name}"),
            ("backlog.left", await self._waiting(), f"mirrors that still waited, {name}"),
        ):
            self._notes.note(key, number, group=MIRRORS, name=what, unit="")

    async def drained(self) -> None:
        """Wait until the last mirror that was left has closed. Raises TimeoutError if they stand still."""
        self._tell("until the last mirror has closed")
        note_drained(self._notes, await self._scene.backlog.drained(sagas=self._left, since=self._since))

    async def _leave_mirrors(self) -> None:
        """Have choreographed sagas leave as many as are asked for; some are told meanwhile."""
        missing = round(_MORE * self._plan.backlog) - await self._waiting()
        self._tell(f"leaving {missing:,} mirrors")
        trial = await self._scene.trials.saturated(
            Coordinator.CHOREOGRAPHY, seconds=_LONGEST, orders=missing, in_flight=self._plan.in_flight
        )
        note_rate(self._notes, "leaving", trial, name="choreographed, leaving mirrors behind")
        self._since = self._since or trial.began
        self._left += trial.sagas

    async def _waiting(self) -> int:
        return self._left - await self._scene.backlog.closed(self._since) if self._left else 0

    async def _trickle(self, coordinator: Coordinator, key: str, name: str) -> Trial:
        self._tell(name)
        plan, scene = self._plan, self._scene
        trial = await scene.trials.steady(coordinator, seconds=plan.trickle, rate=plan.trickle_rate)
        note_latency(self._notes, key, trial, name=name)
        if coordinator is Coordinator.ORCHESTRATION:
            ids = [workflow_id(order_id) for order_id in accepted(trial.placed)]
            self._notes.note_waits(name, await waits(scene.temporal, ids))
        return trial

    async def _saturated(self, key: str, name: str) -> Trial:
        self._tell(f"{name}, at saturation")
        trial = await self._scene.trials.saturated(
            Coordinator.ORCHESTRATION, seconds=self._plan.orchestrated, in_flight=self._plan.orchestrated_in_flight
        )
        note_rate(self._notes, key, trial, name=name)
        note_cpu(self._notes, key, trial, trial.used, self._rest, name=name)
        return trial
