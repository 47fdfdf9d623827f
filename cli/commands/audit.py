"""Prove of a running system that no order, event or money is lost, stuck or doubled."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.commands import counted, echo_json, failing_with
from cli.commands.options import AsJson, Data, PortOffset, folder, require_offset
from cli.commands.target import find as find_target
from cli.commands.through_gateway import operate
from cli.hints import here
from cli.printed_tables import Column, echo_table, text
from cli.terminal import complain, say
from embedded.errors import StackError

if TYPE_CHECKING:
    from audit.findings import AuditReport, Check
    from audit.run import Places

_DATABASES: Final = ("SAGA_ORDERS_DATABASE_URL", "SAGA_PAYMENTS_DATABASE_URL")

Grace = Annotated[
    float, typer.Option(min=0, max=31_536_000, help="Seconds without a change after which a saga counts as stuck.")
]
AtRest = Annotated[bool, typer.Option("--at-rest", help="Nothing may be under way, however young.")]
TimelinesOption = Annotated[
    str, typer.Option(metavar="N|all", help="Sagas whose workflows are compared with the logs, at random; 0: none.")
]
MirrorAfter = Annotated[
    float,
    typer.Option(
        min=0,
        envvar="SAGA_MIRROR_AFTER",
        help="As the worker has it: more than 0, and a saga that was over soon needs no mirror.",
    ),
]
Examples = Annotated[int, typer.Option(min=1, max=1000, help="Ids that are shown of each violation.")]


@failing_with(2)
def audit(
    grace: Grace = 1800.0,
    at_rest: AtRest = False,
    timelines: TimelinesOption = "200",
    examples: Examples = 10,
    mirror_after: MirrorAfter = 0.0,
    as_json: AsJson = False,
    data: Data = None,
    port_offset: PortOffset = None,
) -> None:
    """Prove the invariants on a system that runs, changing nothing: exit code 0 if they hold, 1 if one is violated.

    The exit code is 2 if nothing is violated as far as could be read, but something could not be read. With the address
    of a gateway alone, each service audits its own database, and nobody compares them.
    """
    from audit.checks import CHECKS
    from audit.database_audit import Scope
    from audit.run import audit as run

    sample = _sample(timelines)
    if data is None and port_offset is None and _knows_a_gateway_alone(os.environ):
        if at_rest:
            raise StackError(f"--at-rest needs both databases, and a gateway has none; set {' and '.join(_DATABASES)}")
        raise typer.Exit(_audit_through_gateway(as_json=as_json))
    places = find(data, port_offset=port_offset)
    report = run(places, Scope(grace=grace, at_rest=at_rest, keep=examples, mirror_after=mirror_after), sample=sample)
    if as_json:
        echo_json(report.as_json(CHECKS))
    else:
        _print(report, CHECKS, data)
    for source, why in report.unread.items():
        complain(f"could not read {source}: {text(why)}")
    raise typer.Exit(report.exit_code)


def _knows_a_gateway_alone(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("SAGA_GATEWAY_URL")) and not any(environ.get(name) for name in _DATABASES)


def _audit_through_gateway(*, as_json: bool) -> int:
    """Show what each service finds in its own database. Returns the exit code."""
    found = operate(find_target(None, "gateway"), "GET", "audit")
    if as_json:
        echo_json(found)
        return 0 if found["holds"] else 1
    violated = [check for check in found["checks"] if check["violations"]]
    rows = [
        (
            check["invariant"],
            check["check"],
            counted(check["violations"], "violation") if check in violated else "holds",
        )
        for check in found["checks"]
    ]
    echo_table((Column(title="INVARIANT", rank=1), "CHECK", "STATE"), rows)
    for check in violated:
        print()
        say(f"{check['check']}: violated {counted(check['violations'], 'time')}")
        for example in check["examples"]:
            print(f"  {example['id']}  {text(example['detail'])}")
    print()
    say(f"Left out, because a gateway reads no database: {', '.join(found['leftOut'])}")
    return 0 if found["holds"] else 1


def find(data: Path | None, environ: Mapping[str, str] = os.environ, *, port_offset: int | None = None) -> Places:
    """The stores of the system that `--data` or `--port-offset` names, else of the one in the environment.

    The two are never mixed. Raises StackError if the databases aren't known.
    """
    from audit.run import Places
    from embedded import state
    from stack import protection

    chosen = data is not None or port_offset is not None
    if not chosen and any(environ.get(name) for name in _DATABASES):
        originals = environ.get("SAGA_ORIGINAL_SERVICES", "").replace(" ", "").split(",")
        known = [
            "" if service in originals else environ.get(name) or ""
            for service, name in zip(("order", "payment"), _DATABASES, strict=True)
        ]
        for service, name, url in zip(("order", "payment"), _DATABASES, known, strict=True):
            if not url and service not in originals:
                raise StackError(f"An audit needs both databases, and {name} is not set; set it")
        if not any(known):
            raise StackError("SAGA_ORIGINAL_SERVICES names both services, so that there is nothing of ours to audit")
        return Places(
            orders_db=known[0],
            payments_db=known[1],
            amqp=environ.get("SAGA_AMQP_URL", ""),
            temporal=environ.get("SAGA_TEMPORAL_ADDRESS", ""),
            namespace=environ.get("SAGA_TEMPORAL_NAMESPACE") or "default",
            protection=protection.of_temporal(environ),
        )
    data = folder(data)
    urls: Mapping[str, Any] = (state.read(data) or {}).get("urls") or {}
    if not (urls.get("orders_db") and urls.get("payments_db")):
        raise StackError(
            f"No running system found in {data}; start one with `saga up`, or set {' and '.join(_DATABASES)}"
        )
    require_offset(urls.get("gateway") or "", data, port_offset)
    return Places(
        orders_db=urls["orders_db"],
        payments_db=urls["payments_db"],
        amqp=urls.get("amqp") or "",
        temporal=urls.get("temporal") or "",
        namespace=environ.get("SAGA_TEMPORAL_NAMESPACE") or "default",
    )


def _sample(given: str) -> int | None:
    if given == "all":
        return None
    if not (given.isascii() and given.isdigit() and int(given) <= 1_000_000):
        raise typer.BadParameter("it takes a number up to 1000000, or all", param_hint="--timelines")
    return int(given)


def _print(report: AuditReport, checks: tuple[Check, ...], data: Path | None) -> None:
    rows = [(check.invariant, check.name, _state(report, check)) for check in checks]
    echo_table((Column(title="INVARIANT", rank=1), "CHECK", "STATE"), rows)
    print()
    say("Seen: " + ", ".join(f"{number} {what}" for what, number in report.seen.items()))
    for check in checks:
        if check.name in report.tallies:
            _print_violations(report, check, data)
    for source, why in report.left_out.items():
        say(f"Left out: {source}, {why}")
    for note in report.notes:
        print(f"Note: {here(note, data)}")


def _print_violations(report: AuditReport, check: Check, data: Path | None) -> None:
    from audit.findings import INVARIANTS

    tally = report.tallies[check.name]
    print()
    say(f"{check.name}: violated {counted(tally.violations, 'time')}")
    say(f"  invariant {check.invariant}: {INVARIANTS[check.invariant]}")
    for finding in tally.examples:
        print(f"  {finding.id}  {text(finding.detail)}")
    if tally.violations > len(tally.examples):
        say(f"  … and {tally.violations - len(tally.examples)} more; --examples shows them")
    print(f"  do: {here(check.remedy, data)}")


def _state(report: AuditReport, check: Check) -> str:
    state = report.state(check)
    return counted(report.tallies[check.name].violations, "violation") if state == "violated" else state
