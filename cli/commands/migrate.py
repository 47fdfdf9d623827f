"""Take over from the original services, and go back: databases and queues."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

import typer

from cli.commands import echo_json, one_line_errors
from cli.commands import run as run_async
from cli.commands.options import AsJson
from cli.printed_tables import Column, echo_table, text
from cli.terminal import complain, say
from embedded.errors import StackError

if TYPE_CHECKING:
    from takeover.connections import Ends
    from takeover.cross_check import CrossCheck
    from takeover.queues import QueueState
    from takeover.report import Report

app = typer.Typer(
    help="Take over from the original services, and go back. docs/migrating.md has the order of the steps.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Kind = Literal["orders", "payments"]
Which = Annotated[Kind, typer.Argument(metavar="DATABASE", help="orders or payments")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
Names = Annotated[list[str] | None, typer.Argument(metavar="[QUEUE]...", help="Queues of an original service.")]
Ours = Annotated[str, typer.Option("--of", metavar="SERVICE", help="All queues of ours of order, payment or worker.")]
Wait = Annotated[float, typer.Option("--wait", metavar="SECONDS", min=0, help="Wait until nothing waits in them.")]
Remove = Annotated[bool, typer.Option("--remove", help="Remove them, if all of them are empty and nobody reads any.")]

_MOST_SHOWN: Final = 20  # orders
_COLUMNS: Final = ("STATUS", Column(title="THERE"), Column(title="AMOUNT THERE"), "HERE", "AMOUNT HERE")


@app.command("import")
@one_line_errors
def import_(database: Which, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Take an original service's rows over into our database; again and again, if wanted.

    SAGA_ORIGINAL_ORDERS_DATABASE_URL or SAGA_ORIGINAL_PAYMENTS_DATABASE_URL says where they are. Both services must be
    stopped. The exit code is 1 if something is in the way, and then nothing is done.
    """
    _tell(_run(database, "import", dry_run=dry_run), as_json=as_json, dry_run=dry_run)


@app.command("export")
@one_line_errors
def export(database: Which, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Bring our rows back into the database of the original service; again and again, if wanted."""
    _tell(_run(database, "export", dry_run=dry_run), as_json=as_json, dry_run=dry_run)


@app.command("compare")
@one_line_errors
def compare(database: Which, as_json: AsJson = False) -> None:
    """Compare counts and sums by status in both databases: the exit code is 0 if all are equal."""
    report = _run(database, "compare", dry_run=True)
    _tell(report, as_json=as_json, dry_run=True)
    raise typer.Exit(0 if report.agrees else 1)


@app.command("check")
@one_line_errors
def check(as_json: AsJson = False) -> None:
    """Check every order over all four databases: the exit code is 0 if no money is lost, missing or taken twice.

    Orders that are under way are counted, and not judged.
    """
    from takeover.all_databases import check

    found = check({kind: _ends(kind) for kind in get_args(Kind)})
    if as_json:
        echo_json(found.as_json())
    else:
        _print_check(found)
    raise typer.Exit(0 if found.holds else 1)


@app.command("queues")
@one_line_errors
def queues(
    names: Names = None, of: Ours = "", wait: Wait = 0.0, remove: Remove = False, as_json: AsJson = False
) -> None:
    """Say what waits in queues, and who reads them: the exit code is 0 if nothing waits and nobody reads.

    With --wait it is 0 as soon as nothing waits, whoever reads.
    """
    from stack import settings
    from takeover import queues as at_broker

    configuration = settings.load()
    if of and of not in at_broker.OURS:
        raise typer.BadParameter(f"it takes {', '.join(at_broker.OURS)}", param_hint="--of")
    delays = configuration.retry_delays
    wanted = [*(names or ()), *(at_broker.queues_of(of, delays) if of else ())]
    if not wanted:
        raise typer.BadParameter("name a queue, or a service of ours with --of", param_hint="QUEUE")
    url = configuration.amqp_url.get_secret_value()
    asked = at_broker.remove(url, wanted, delays) if remove else at_broker.look(url, wanted, wait=wait)
    states = run_async(asked)
    _tell_queues(states, as_json=as_json)
    idle = all(state.idle for state in states)
    if remove and not idle:
        complain("nothing is removed: messages wait, or somebody reads")
    raise typer.Exit(0 if idle or (wait and not any(state.messages for state in states)) else 1)


def _tell_queues(states: list[QueueState], *, as_json: bool) -> None:
    if as_json:
        echo_json(
            [{"name": s.name, "messages": s.messages, "consumers": s.consumers, "removed": s.removed} for s in states]
        )
        return
    rows = [
        (text(s.name), "no such queue" if s.messages is None else str(s.messages), str(s.consumers)) for s in states
    ]
    echo_table(("QUEUE", "MESSAGES", "READERS"), rows)
    if any(state.removed for state in states):
        say("Removed.")


def _run(database: Kind, direction: str, *, dry_run: bool) -> Report:
    from takeover.run import Direction, run

    return run(database, Direction(direction), _ends(database), dry_run=dry_run)


def _ends(database: Kind) -> Ends:
    """Raises StackError unless the environment says where both databases are."""
    from takeover.connections import Ends

    found: dict[str, Any] = {}
    for end, name in (("theirs", f"SAGA_ORIGINAL_{database.upper()}"), ("ours", f"SAGA_{database.upper()}")):
        found[end] = os.environ.get(f"{name}_DATABASE_URL")
        if not found[end]:
            raise StackError(f"{name}_DATABASE_URL is not set; set it to the address of that database")
    return Ends(**found)


def _print_check(found: CrossCheck) -> None:
    echo_table(
        ("SUM OVER ALL", "COUNT", "AMOUNT"), [(what, str(n), str(money)) for what, (n, money) in found.sums.items()]
    )
    say(f"Under way: {found.under_way}")
    for what, number in found.behind.items():
        say(f"To be taken over, or brought back: {number} {what}")
    for fault, order_ids in found.faults.items():
        shown = ", ".join(text(each) for each in order_ids[:_MOST_SHOWN])
        complain(f"{fault.value}: {len(order_ids)} orders: {shown}")
    say("All of it holds." if found.holds else "It does not hold.")


def _tell(report: Report, *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        echo_json(report.as_json())
    else:
        _print(report, dry_run=dry_run)
    if report.refusals:
        raise typer.Exit(1)


def _print(report: Report, *, dry_run: bool) -> None:
    rows = [
        (status, *map(str, report.theirs.get(status, (0, 0))), *map(str, report.ours.get(status, (0, 0))))
        for status in sorted({*report.theirs, *report.ours})
    ]
    echo_table(_COLUMNS, rows)
    if report.done:
        say(("Would be: " if dry_run else "Done: ") + ", ".join(f"{n} {what}" for what, n in report.done.items()))
    for why in report.refused:
        complain(text(why))
    if report.refusals:
        complain(f"nothing is done: {report.refusals} in the way")
    say("Both agree." if report.agrees else "They differ.")
