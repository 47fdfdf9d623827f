"""The checker finds every seeded fault, except those that the rest of the system makes up for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model.__main__ import main
from tests.model.explore import Explorer
from tests.model.faults import ELSEWHERE, FAULTS, Fault
from tests.model.rules import Rules
from tests.model.table import explored, table
from tests.model.telling import diagram, story
from tests.model.world import World

_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: each.name)
def test_a_seeded_fault_breaks_what_it_should(fault: Fault) -> None:
    report = explored(fault)
    if fault.breaks is None:
        assert report.exhaustive
    else:
        assert report.violation is not None, "nothing was found"
        assert report.violation.broken.invariant == fault.breaks


@pytest.mark.parametrize("fault", [each for each in FAULTS if each.rules != Rules()], ids=lambda each: each.name)
def test_without_the_fault_the_same_world_is_sound(fault: Fault) -> None:
    report = Explorer(World(fault.scenario, Rules())).run()
    assert report.violation is None


def test_the_table_in_the_documentation_is_what_the_checker_finds() -> None:
    assert table() in (_ROOT / "docs/model.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("test", ELSEWHERE.values())
def test_faults_beyond_one_order_are_found_by_tests_that_exist(test: str) -> None:
    file, name = test.split("::")
    assert f"def {name}(" in (_ROOT / file).read_text(encoding="utf-8")


def test_a_violation_is_told_as_a_story_and_as_a_diagram() -> None:
    fault = next(each for each in FAULTS if each.name == "an APPROVED payment is not refunded")
    world = World(fault.scenario, fault.rules)
    violation = Explorer(world).run().violation
    assert violation is not None
    told = story(world, violation).splitlines()
    assert told[1] == "Here: the order is CANCELLED, and its payment is APPROVED, nothing due."
    assert any(each.endswith(". ? The client wants the order cancelled: OrderCancelRequested.") for each in told)
    assert any(
        "The provider answers charge: Charged. [provider Charged, captured 999, refunded 0]" in each for each in told
    )
    drawn = diagram(world, violation).splitlines()
    assert drawn[0] == "sequenceDiagram"
    assert "    broker->>payment: OrderCancelled, attempt 1 Stale" in drawn


def test_the_command_line_fails_on_a_violation_and_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--fault", "tombstone"]) == 1
    assert "Here: the order is CANCELLED" in capsys.readouterr().out
    assert main(["--fault", "tombstone", "--trace", "mermaid"]) == 1
    assert "sequenceDiagram" in capsys.readouterr().out


def test_the_command_line_takes_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cancels", "1", "--verdicts", "Charged"]) == 0
    assert "all invariants hold" in capsys.readouterr().out
    assert main(["--crashes", "1", "--limit", "500"]) == 2
    assert "stopped at the limit of 500 states" in capsys.readouterr().out
    assert main(["--fault", "no such fault"]) == 2
    for nonsense in (["--scenario", "no such"], ["--mirror"], ["--cancels", "1", "--quick"]):
        with pytest.raises(SystemExit) as refused:
            main(nonsense)
        assert refused.value.code == 2
