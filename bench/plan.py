"""What `make bench` measures, how often and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Part(StrEnum):
    """What can be measured by itself, in the order in which a whole run measures it."""

    SATURATION = "saturation"  # choreographed sagas beside the ceilings of the servers, mirrors off and on
    LATENCY = "latency"  # of choreographed sagas: at 10 a second, and at half load with the mirrors off and on
    COORDINATORS = "coordinators"  # both beside plain workflows: at 5 a second and at saturation
    BACKLOG = "backlog"  # orchestrated sagas behind a backlog of mirrors
    READS = "reads"  # one order over many connections
    LATE = "late"  # with SAGA_MIRROR_AFTER
    SLOW = "slow"  # with a provider that takes 1.5 s


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much is measured; times in seconds."""

    parts: tuple[Part, ...] = tuple(Part)
    repetitions: int = 3
    saturated: float = 8.0
    in_flight: int = 512
    idle_rate: float = 10.0
    idle: float = 20.0
    half_load: float = 10.0
    ceiling: float = 4.0  # of each number of pgbench's clients, and of the broker
    clients: tuple[int, ...] = (8, 16, 32, 64)
    temporal: float = 5.0  # of bare signal-with-start
    trickle_rate: float = 5.0  # of either coordinator, and of plain workflows
    trickle: float = 8.0
    orchestrated: float = 8.0
    orchestrated_in_flight: int = 100  # more only wait for Temporal, until POSTs are refused
    backlog: int = 10_000  # mirrors that still wait when orchestrated sagas are measured behind them
    crowd: float = 5.0  # of reads, at each place and number of connections
    mirror_after: int = 5  # SAGA_MIRROR_AFTER
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
    trickle=4.0,
    orchestrated=2.0,
    backlog=300,
    crowd=1.0,
    slow=4.0,
    slow_in_flight=1000,
    warm_up=1.0,
    rest=2.0,
)
