"""What a saga costs: the use while sagas ran, less the use at rest, divided by the sagas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bench.meters import Reading

LOAD_GENERATOR: Final = "load generator"
_NOT_COUNTED: Final = frozenset({"temporal", LOAD_GENERATOR})


def cpu_of_a_saga(used: Reading, rest: Reading | None, sagas: int) -> dict[str, float]:
    """Milliseconds of CPU a saga by process, less what the process uses at rest in the same time."""
    net = {}
    for name, seconds in used.cpu.items():
        idle = rest.cpu.get(name, 0.0) / rest.at * used.at if rest else 0.0
        net[name] = max(0.0, 1000 * (seconds - idle)) / sagas
    return net


def counted(cpu: Mapping[str, float]) -> float:
    """The sum over every process of the system but the load generator and Temporal."""
    return sum(milliseconds for name, milliseconds in cpu.items() if name not in _NOT_COUNTED)


def predicted_rate(cpu: Mapping[str, float], cores: int) -> float:
    """Sagas a second that these cores can do if a saga takes nothing but CPU (`cpu` in milliseconds)."""
    return 1000 * cores / sum(cpu.values())
