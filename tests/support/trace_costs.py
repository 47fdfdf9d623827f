"""Measure what traces cost: `python -m tests.support.trace_costs` runs real processes without and with them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from statistics import median
from typing import Final

import psutil

from tests.support import otlp
from tests.support.ports import OFFSET
from tests.support.servers import running
from tests.support.world import Servers, World

PROCESSES: Final = ("order", "payment", "gateway")
SAGAS: Final = 1500
ROUNDS: Final = 3
_ONE_IN_A_HUNDRED: Final = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}


def main() -> None:
    """Print the CPU time of the processes for one choreographed saga: the median of the rounds."""
    numbers = count()
    with tempfile.TemporaryDirectory() as data, otlp.receiver() as receiver:
        on = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        ways: dict[str, Mapping[str, str]] = {"off": {}, "on": on, "one in a hundred": on | _ONE_IN_A_HUNDRED}
        took: dict[str, list[float]] = {name: [] for name in ways}
        with running(Path(data) / "servers", OFFSET) as servers:
            for _ in range(ROUNDS):
                for name, env in ways.items():
                    logs = Path(data) / str(next(numbers))
                    logs.mkdir()
                    took[name].append(_of_one_saga(servers, logs, env))
    for name, each in took.items():
        print(f"{name:18} {median(each):.2f} ms of CPU a saga ({', '.join(f'{one:.2f}' for one in each)})")


def _of_one_saga(servers: Servers, logs: Path, env: Mapping[str, str]) -> float:
    """Milliseconds."""
    world = World(servers, logs)
    world.env |= env
    try:
        world.start(*PROCESSES)
        _run(world, SAGAS // 5)
        before = _cpu(world)
        _run(world, SAGAS)
        return (_cpu(world) - before) / SAGAS * 1000
    finally:
        world.close()


def _run(world: World, sagas: int) -> None:
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda _: world.post(), range(sagas)))
    world.wait_at_rest(within=120)
    time.sleep(1.5)  # until the last spans have left


def _cpu(world: World) -> float:
    return sum(sum(psutil.Process(world.processes[name].pid).cpu_times()[:2]) for name in PROCESSES)


if __name__ == "__main__":
    main()
