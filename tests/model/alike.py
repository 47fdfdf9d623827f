"""Compare what both coordinators leave for the same inputs (invariant 6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from models.saga import Coordinator
from tests.model.bounds import Budget, Scenario
from tests.model.explore import Explorer
from tests.model.rules import Rules
from tests.model.world import World


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What happens to an order under either coordinator. The exploration tries every moment for it."""

    verdict: str  # the provider's
    cancels: int
    timeouts: int


INPUTS = tuple(
    Inputs(verdict=verdict, cancels=cancels, timeouts=timeouts)
    for verdict, cancels, timeouts in product(("Charged", "Declined", "Refused", "silence"), (0, 1), (0, 1))
)


def left(inputs: Inputs, coordinator: Coordinator) -> frozenset[Any]:
    """Everything that a run of these inputs may leave. Where inputs race, there are several possibilities."""
    scenario = Scenario(
        name="alike",
        coordinator=coordinator,
        publishes=coordinator is Coordinator.CHOREOGRAPHY,
        verdicts=(inputs.verdict,),
        budget=Budget(cancels=inputs.cancels, timeouts=inputs.timeouts),
    )
    report = Explorer(World(scenario, Rules())).run()
    assert report.violation is None, report.violation.broken
    return report.at_rest


def differences(inputs: Inputs) -> Iterator[str]:
    """What only one of the coordinators may leave."""
    choreographed, orchestrated = (left(inputs, coordinator) for coordinator in Coordinator)
    yield from (f"only choreography leaves {each}" for each in choreographed - orchestrated)
    yield from (f"only orchestration leaves {each}" for each in orchestrated - choreographed)
