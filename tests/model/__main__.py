"""Explore from the command line: `python -m tests.model --help`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from typing import Final

from models.saga import Coordinator
from tests.model.alike import INPUTS, differences
from tests.model.bounds import Budget, Scenario
from tests.model.explore import Explorer, Report
from tests.model.faults import FAULTS
from tests.model.invariants import TEXTS
from tests.model.rules import Rules
from tests.model.scenarios import FULL, QUICK
from tests.model.table import table
from tests.model.telling import diagram, story
from tests.model.world import World


@dataclass(frozen=True, kw_only=True)
class Found:
    """The result of one scenario, with the story of a violation."""

    scenario: Scenario
    report: Report
    told: str | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 if no invariant is broken, 1 if one is, 2 if the limit of states ended the search."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.table:
        print(table())
        return 0
    if asked.fault is not None:
        fault = next((each for each in FAULTS if asked.fault in each.name), None)
        if fault is None:
            names = "\n  ".join(each.name for each in FAULTS)
            print(f"There is no seeded fault called {asked.fault!r}; there are:\n  {names}", file=sys.stderr)
            return 2
        return _tell_all([fault.scenario], fault.rules, asked)
    scenarios = _scenarios(asked, parser)
    status = _tell_all(scenarios, Rules(), asked)
    return (_tell_differences() or status) if scenarios == FULL else status


def explore(scenario: Scenario, *, rules: Rules, limit: int | None, trace: str) -> Found:
    """Explore one scenario to its end, or to the first violation."""
    world = World(scenario, rules)
    report = Explorer(world).run(limit)
    told = None
    if report.violation is not None:
        told = diagram(world, report.violation) if trace == "mermaid" else story(world, report.violation)
    return Found(scenario=scenario, report=report, told=told)


def _tell_all(scenarios: Sequence[Scenario], rules: Rules, asked: argparse.Namespace) -> int:
    began, states, status = time.monotonic(), 0, 0
    run = partial(explore, rules=rules, limit=asked.limit, trace=asked.trace)
    print(f"{'scenario':40}{'states':>10}{'moves':>11}{'at rest':>9}{'depth':>7}{'CPU s':>8}  bounds")
    with ProcessPoolExecutor(asked.jobs) if asked.jobs > 1 else _InThisProcess() as pool:
        for found in pool.map(run, scenarios):
            report = found.report
            states += report.states
            print(_line(found), flush=True)
            if found.told is not None:
                status = 1
                print(f"\n{found.told}\n")
            elif not report.exhaustive:
                status = status or 2
                print(f"  stopped at the limit of {asked.limit:,} states")
    print(
        f"{states:,} states in {time.monotonic() - began:.0f} s; "
        + ("all invariants hold" if status == 0 else "see above")
    )
    return status


def _tell_differences() -> int:
    """Check invariant 6 for every combination of inputs."""
    found = [f"  {inputs}: {each}" for inputs in INPUTS for each in differences(inputs)]
    print(f"{len(INPUTS)} combinations of inputs: both coordinators " + ("leave the same" if not found else "differ"))
    print("\n".join(found), end="")
    return int(bool(found))


class _InThisProcess:
    """A pool that works in this process."""

    map = staticmethod(map)

    def __enter__(self) -> _InThisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _line(found: Found) -> str:
    report, scenario = found.report, found.scenario
    numbers = f"{report.states:>10,}{report.transitions:>11,}{report.rests:>9,}{report.depth:>7}{report.seconds:>8.1f}"
    return f"{scenario.name:40}{numbers}  {bounds(scenario)}"


def bounds(scenario: Scenario) -> str:
    """How often each event may happen, and what else limits the world."""
    budget = [
        f"{each.name} {count}" for each, count in zip(fields(Budget), scenario.budget.left(), strict=True) if count
    ]
    return ", ".join([*budget, f"verdicts {'/'.join(scenario.verdicts)}", f"retries {scenario.retries}"])


_SHAPE: Final = (
    *("coordinator", "mirror", "together", "verdicts", "retries", "prefetch"),
    *("order_services", "payment_services"),
)


def _scenarios(asked: argparse.Namespace, parser: argparse.ArgumentParser) -> Sequence[Scenario]:
    budget = {each.name: getattr(asked, each.name) for each in fields(Budget)}
    of_its_own = any(count is not None for count in budget.values())
    if ignored := [
        f"--{name.replace('_', '-')}"
        for name in (("scenario", "quick") if of_its_own else _SHAPE)
        if getattr(asked, name) != parser.get_default(name)
    ]:
        why = "names a scenario of the list" if of_its_own else "needs a bound, such as --cancels 1"
        parser.error(f"{', '.join(ignored)} {why}; see --help")
    if of_its_own:
        return [
            Scenario(
                name="as asked for",
                coordinator=Coordinator(asked.coordinator),
                mirror=asked.mirror,
                together=asked.together,
                verdicts=tuple(asked.verdicts.split(",")),
                retries=asked.retries,
                prefetch=asked.prefetch,
                order_services=asked.order_services,
                payment_services=asked.payment_services,
                budget=Budget(**{name: count or 0 for name, count in budget.items()}),
            )
        ]
    listed = QUICK if asked.quick else FULL
    chosen = tuple(each for each in listed if asked.scenario in each.name)
    if not chosen:
        parser.error(f"no scenario is called {asked.scenario!r}; there are: {', '.join(each.name for each in listed)}")
    return chosen


def _parser() -> argparse.ArgumentParser:
    invariants = "\n".join(f"  {name:10} {text}" for name, text in TEXTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.model",
        description="Explore every interleaving of one order's saga, within bounds. docs/model.md says more.",
        epilog=f"What must hold:\n{invariants}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="the small scenarios that the test suite explores")
    parser.add_argument("--scenario", default="", help="only scenarios with this in their name")
    parser.add_argument("--fault", help="with a seeded fault, in its own scenario: part of its name")
    parser.add_argument("--table", action="store_true", help="print the table of seeded faults for docs/model.md")
    parser.add_argument("--trace", choices=("story", "mermaid"), default="story", help="how a violation is told")
    parser.add_argument("--limit", type=int, default=8_000_000, help="most states of a scenario (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="scenarios explored at once, a process each")
    own = parser.add_argument_group("a scenario of your own: how often may happen what")
    for each in fields(Budget):
        own.add_argument(f"--{each.name}", type=int, metavar="N")
    own.add_argument("--coordinator", choices=[each.value for each in Coordinator], default="choreography")
    own.add_argument("--mirror", action="store_true", help="let the real SagaMirror take part")
    own.add_argument("--together", action="store_true", help="let a workflow learn two things in one task")
    own.add_argument("--verdicts", default="Charged,Declined,Refused,silence", help="what a charge may come to")
    own.add_argument("--retries", type=int, default=1)
    own.add_argument("--prefetch", type=int, default=2)
    own.add_argument("--order-services", type=int, default=1)
    own.add_argument("--payment-services", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
