"""No interleaving within small bounds breaks an invariant; `python -m tests.model` explores larger bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.saga import Coordinator
from tests.model.alike import INPUTS, Inputs, differences, left
from tests.model.bounds import Budget, Scenario
from tests.model.explore import Explorer, Report
from tests.model.rules import Rules
from tests.model.scenarios import QUICK
from tests.model.telling import story
from tests.model.world import World


@pytest.mark.parametrize("scenario", QUICK, ids=lambda each: each.name)
def test_all_invariants_hold_in_every_state(scenario: Scenario) -> None:
    _assert_sound(scenario)


_RACES = [each for each in INPUTS if each.cancels and each.timeouts and each.verdict in ("Charged", "Declined")]


@pytest.mark.parametrize("inputs", _RACES, ids=lambda each: each.verdict)
def test_both_coordinators_leave_the_same_whatever_the_order_of_events(inputs: Inputs) -> None:
    """Invariant 6: where inputs race, several results are possible, and they are the same for both coordinators."""
    assert not [*differences(inputs)]
    assert len(left(inputs, Coordinator.CHOREOGRAPHY)) > 2


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(name="a commit in doubt", verdicts=("Charged",), budget=Budget(recommits=1, cancels=1)),
        Scenario(name="mirror", mirror=True, verdicts=("Declined",), budget=Budget(timeouts=1)),
        Scenario(name="crash", verdicts=("Charged",), budget=Budget(crashes=1)),
    ],
    ids=lambda each: each.name,
)
def test_what_is_explored_alone_leaves_nothing_out(scenario: Scenario) -> None:
    """The reductions lose no state at rest, although they leave out many ways to it."""
    reduced, full = _assert_sound(scenario), _assert_sound(replace(scenario, reduced=False))
    assert reduced.at_rest == full.at_rest
    assert reduced.rests == full.rests
    assert reduced.states < full.states


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(name="mirror", mirror=True, budget=Budget(cancels=1)),
        Scenario(name="mirror, its timer", mirror=True, budget=Budget(timeouts=1)),
        Scenario(
            name="twin", coordinator=Coordinator.ORCHESTRATION, publishes=False, budget=Budget(cancels=1, timeouts=1)
        ),
    ],
    ids=lambda each: each.name,
)
def test_histories_that_are_taken_for_one_go_on_alike(scenario: Scenario) -> None:
    world = World(replace(scenario, verdicts=("Charged",)), Rules())
    Explorer(world).run()
    assert world.workflows.runs.merged > 0
    assert world.workflows.runs.contradictions() == []


def test_a_search_that_meets_its_limit_says_so() -> None:
    report = Explorer(World(QUICK[0], Rules())).run(limit=1000)
    assert not report.exhaustive
    assert report.violation is None


def _assert_sound(scenario: Scenario) -> Report:
    world = World(scenario, Rules())
    report = Explorer(world).run()
    assert report.violation is None, story(world, report.violation)
    assert report.exhaustive
    return report
