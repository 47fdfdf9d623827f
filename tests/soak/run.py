"""One soak is a steady load with a reading every few seconds, then rest, an audit, and the verdict."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final

from tests.chaos.system import PROCESSES
from tests.soak.load import sales
from tests.soak.measures import rules
from tests.soak.readings import Readings
from tests.soak.verdict import Judgement, Sample, judge
from tests.support.load import Load
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import QUICK, Servers, World

_RETENTION: Final = 300.0  # seconds; not less than what a saga may need with the timeouts below
_SWEEP: Final = 30.0  # seconds between two removals
# Otherwise as in production, with waits that are short enough to end many times in a run.
SETTINGS: Final = {
    "SAGA_INTERNAL_TOKEN": "internal",
    "SAGA_LOG_LEVEL": "warning",
    "SAGA_RETRY_DELAYS": "0.5,1,2,4",
    "SAGA_PROVIDER_LATENCY_MS": "200",
    "SAGA_PROVIDER_TIMEOUT": "2",
    "SAGA_PAYMENT_TIMEOUT": "30",
    "SAGA_COMPENSATION_TIMEOUT": "2",
    "SAGA_RECONCILE_INTERVAL": "10",
    "SAGA_EVENT_LOG_RETENTION": f"{_RETENTION:g}",
    "SAGA_IDEMPOTENCY_RETENTION": f"{_RETENTION:g}",
    "SAGA_RETENTION_INTERVAL": f"{_SWEEP:g}",
}
# From then on as much is removed as is added: the first sweep has removed its rows, and a vacuum has freed them.
FILLED_AFTER: Final = _RETENTION + 2 * _SWEEP + 60
AT_REST_WITHIN: Final = 300.0  # seconds
_BEHIND: Final = 10.0  # seconds of load that may wait for an answer; with more, the system does not keep up
_SHOWN: Final = 20  # kinds of wrong answers
_OPEN_SAGAS: Final = "WorkflowType IN ('OrderSaga', 'SagaMirror') AND ExecutionStatus = 'Running'"
_FAILED: Final = "ExecutionStatus IN ('Failed', 'Terminated', 'TimedOut')"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`rate` orders a second for `seconds`, drawn from the seed, with a reading `every` so many seconds."""

    rate: float
    seconds: float
    seed: int
    every: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was measured, how it was judged, and all that is wrong."""

    samples: Sequence[Sample]
    judgements: Sequence[Judgement]
    findings: Sequence[str]


def soak(plan: Plan, servers: Servers, folder: Path, tell: Callable[[str], None]) -> Outcome:
    """Run the plan on a system of its own, of which only the logs in `folder` are left."""
    world, temporal = World(servers, folder), TemporalServer(folder / "temporal")
    try:
        temporal.start()
        inherited = {name: value for name, value in world.env.items() if name not in QUICK}
        world.env = inherited | SETTINGS | {"SAGA_TEMPORAL_ADDRESS": temporal.address}
        world.start(*PROCESSES)
        tell(f"every process is ready: {plan.rate:g} orders a second for {plan.seconds:g} s")
        return _soak(plan, world, temporal, tell)
    finally:
        world.close()
        temporal.kill()


def _soak(plan: Plan, world: World, temporal: TemporalServer, tell: Callable[[str], None]) -> Outcome:
    load = Load([f"http://127.0.0.1:{world.ports['gateway']}"], patient=False, timeout=20)
    readings, wanted = Readings(world, temporal), islice(sales(Random(plan.seed)), round(plan.rate * plan.seconds))
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load.run, wanted, rate=plan.rate, behind=_BEHIND)
        try:
            samples = _watch(readings, loading, every=plan.every)
        except BaseException:
            load.give_up()  # else the pool waits for the rest of it
            raise
    loading.result()
    tell(f"accepted {len(load.accepted)} orders; answers {dict(load.answers)}; {len(samples)} samples")
    for source, error in readings.failed.items():
        tell(f"could not always be read: {source}, {error}")
    judgements = judge(samples, rules(rate=plan.rate, kept=FILLED_AFTER))
    findings = [
        *(f"{times} times: {what}" for what, times in load.wrong.most_common(_SHOWN)),
        *(f"{each.measure} {each.fault}" for each in judgements if each.fault),
        *(f"{source} was never read" for source in readings.never_read),
    ]
    at_rest = _at_rest(world, temporal, load, tell)
    ended = [f"{name} has ended" for name in PROCESSES if world.processes[name].poll() is not None]
    return Outcome(samples=samples, judgements=judgements, findings=[*findings, *at_rest, *ended])


def _watch(readings: Readings, loading: Future[None], *, every: float) -> list[Sample]:
    """Take a sample `every` so many seconds, until the load has ended."""
    samples: list[Sample] = []
    began = time.monotonic()
    while not loading.done():
        at = time.monotonic() - began
        samples.append(Sample(at=at, values=readings.read()))
        wait([loading], timeout=max(0.0, began + len(samples) * every - time.monotonic()))
    return samples


def _at_rest(world: World, temporal: TemporalServer, load: Load, tell: Callable[[str], None]) -> list[str]:
    """The findings when nothing is under way any more."""
    try:
        world.wait_at_rest(load.accepted, within=AT_REST_WITHIN)
        until(lambda: _no_saga_is_open(world, temporal), within=AT_REST_WITHIN, what="every workflow has ended")
    except AssertionError as error:
        return [str(error)]
    tell("all is at rest")
    failed = temporal.count(_FAILED)
    audit = subprocess.run(
        [sys.executable, "-m", "cli", "audit", "--at-rest", "--grace", "5", "--timelines", "200"],
        env=world.env,
        capture_output=True,
        text=True,
        check=False,
    )
    tell(audit.stdout + audit.stderr)
    return [
        *([f"{failed} workflows have failed"] if failed else []),
        *(f"dead letter {each.reason} in {each.queue}: {each.error}" for each in world.dead_letters()),
        *([f"`saga audit` ended with exit code {audit.returncode}"] if audit.returncode else []),
    ]


def _no_saga_is_open(world: World, temporal: TemporalServer) -> bool:
    assert world.waiting_for_mirrors() == 0
    running = temporal.count(_OPEN_SAGAS)
    assert running == 0, f"{running} are open"
    return True
