"""The table of seeded faults in docs/model.md says what each fault breaks, and how short the way there is."""

from __future__ import annotations

from tests.model.explore import Explorer, Report
from tests.model.faults import ELSEWHERE, FAULTS, Fault
from tests.model.world import World

_explored: dict[str, Report] = {}


def table() -> str:
    """The rows as Markdown. A fault that no single order can show has the name of the test that finds it."""
    rows = ["| seeded fault | found by | broken | moves |", "|---|---|---|---|"]
    for fault in FAULTS:
        report = explored(fault)
        rows.append(f"| {fault.name} | {_finder(fault)} | {_broken(report)} | {_moves(report)} |")
    rows += [f"| {name} | `{test}` | | |" for name, test in ELSEWHERE.items()]
    return "\n".join(rows)


def explored(fault: Fault) -> Report:
    """The result of the fault's own scenario under its rules."""
    if fault.name not in _explored:
        _explored[fault.name] = Explorer(World(fault.scenario, fault.rules)).run()
    return _explored[fault.name]


def _finder(fault: Fault) -> str:
    return "the checker" if fault.breaks else "nothing: it is tolerated"


def _broken(report: Report) -> str:
    return report.violation.broken.invariant if report.violation else "none"


def _moves(report: Report) -> str:
    return str(len(report.violation.trace)) if report.violation else ""
