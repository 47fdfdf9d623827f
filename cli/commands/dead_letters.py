"""List, show, redrive and discard dead letters."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Protocol
from uuid import UUID

import typer

from cli.commands import counted, echo_fields, echo_json, may_go_on, one_line_errors, run
from cli.commands.options import AsJson, Data, PortOffset, uuid_of
from cli.commands.selection import Selection, apply, look, matching
from cli.commands.target import find
from cli.commands.through_gateway import DeadLettersAtGateway
from cli.printed_tables import Column, echo_table, short_time, text
from cli.terminal import say

if TYPE_CHECKING:
    from choreography.dead_letters import DeadLetterRecord, Wanted
    from cli.commands.selection import Act

app = typer.Typer(
    help="See to the messages that were given up: show, redrive, discard.", no_args_is_help=True, rich_markup_mode=None
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids or unique beginnings of them.")]
All = Annotated[bool, typer.Option("--all", help="All that the filters let through.")]
Reason = Annotated[str | None, typer.Option(help="Only those given up for this reason, such as MALFORMED.")]
QueueOption = Annotated[str | None, typer.Option(help="Only those that failed in this queue.")]
TypeOption = Annotated[str | None, typer.Option(help="Only messages of this type, such as OrderCreated.")]
AnOrder = Annotated[
    UUID | None, typer.Option(parser=uuid_of("an order"), metavar="ID", help="Only messages about this order.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]

_COLUMNS: Final = (
    Column(title="ID"),
    Column(title="FAILED AT", rank=3, short=short_time),
    Column(title="QUEUE", rank=1),
    Column(title="REASON"),
    Column(title="ATTEMPTS", rank=4),
    Column(title="EVENT", rank=2),
    Column(title="ORDER", rank=5),
    Column(title="REDRIVEN", rank=6),
    Column(title="ERROR", prose=True),
)


class DeadLetterStore(Protocol):
    """The part of choreography.dead_letters.DeadLetters that the commands use."""

    async def all(self) -> list[DeadLetterRecord]: ...
    async def redrive(self, wanted: Wanted) -> list[DeadLetterRecord]: ...
    async def discard(self, wanted: Wanted) -> list[DeadLetterRecord]: ...


def _at_broker(url: str) -> DeadLetterStore:
    from choreography.dead_letters import DeadLetters

    for name in ("aio_pika", "aiormq"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # we report the same trouble once
    return DeadLetters(url)


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """How the commands reach dead letters. The context's object can be another one."""

    open_store: Callable[[str], DeadLetterStore] = _at_broker


@app.command("list")
@one_line_errors
def list_dead_letters(
    context: typer.Context,
    reason: Reason = None,
    queue: QueueOption = None,
    event_type: TypeOption = None,
    order: AnOrder = None,
    as_json: AsJson = False,
    data: Data = None,
    port_offset: PortOffset = None,
) -> None:
    """List dead letters, by queue and oldest first. For example: `saga dead-letters list --reason MALFORMED`."""
    records = list(filter(matching(reason, queue, event_type, order), run(_store(context, data, port_offset).all())))
    if as_json:
        from choreography.dead_letter_json import as_json as written

        echo_json({"data": [written(record) for record in records]})
    elif not records:
        say("No dead letters")
    else:
        echo_table(_COLUMNS, map(_row, records))
        say(counted(len(records), "dead letter"))


@app.command("show")
@one_line_errors
def show(
    context: typer.Context,
    dead_letter_id: Annotated[str, typer.Argument(metavar="ID", help="Its id or a unique beginning of it.")],
    as_json: AsJson = False,
    data: Data = None,
    port_offset: PortOffset = None,
) -> None:
    """Show all there is to know of a dead letter, its body too. For example: `saga dead-letters show 7f3c`."""
    selection = Selection(beginnings=[dead_letter_id], wanted=matching(None, None, None, None))
    chosen = run(look(_store(context, data, port_offset).all, selection))
    selection.check_found(chosen)
    from choreography.dead_letter_json import as_json as written

    shown = written(chosen[0])
    if as_json:
        echo_json(shown)
        return
    body = shown.pop("body")
    if chosen[0].properties is not None:
        shown["propertiesText"] = chosen[0].properties.decode("utf-8", "backslashreplace")
    echo_fields(shown)
    print("\n" + (text(body) if isinstance(body, str) else json.dumps(body, indent=2)))


@app.command("redrive")
@one_line_errors
def redrive(
    context: typer.Context,
    ids: Ids = None,
    every: All = False,
    reason: Reason = None,
    queue: QueueOption = None,
    event_type: TypeOption = None,
    order: AnOrder = None,
    data: Data = None,
    port_offset: PortOffset = None,
) -> None:
    """Send dead letters back to the queue they failed in. For example: `saga dead-letters redrive --all --order ID`.

    Safe to interrupt and to run twice: none is lost, and each has its effect once.
    """
    selection = Selection.of(ids, every, reason, queue, event_type, order)
    store = _store(context, data, port_offset)
    if every:
        _tell("Redrove", run(store.redrive(selection.wanted)))
    else:
        _finish("Redrove", store.redrive, selection, run(look(store.all, selection)))


@app.command("discard")
@one_line_errors
def discard(
    context: typer.Context,
    ids: Ids = None,
    every: All = False,
    reason: Reason = None,
    queue: QueueOption = None,
    event_type: TypeOption = None,
    order: AnOrder = None,
    yes: Yes = False,
    data: Data = None,
    port_offset: PortOffset = None,
) -> None:
    """Delete dead letters for good; what arrives meanwhile stays. For example: `saga dead-letters discard 7f3c`."""
    selection = Selection.of(ids, every, reason, queue, event_type, order)
    store = _store(context, data, port_offset)
    chosen = run(look(store.all, selection))
    if chosen and (every or sys.stdin.isatty()):  # a script that names letters means them
        may_go_on(f"Delete {counted(len(chosen), 'dead letter')} for good?", yes=yes)
    _finish("Discarded", store.discard, selection, chosen)


def _store(context: typer.Context, data: Path | None, port_offset: int | None) -> DeadLetterStore:
    target = find(data, port_offset=port_offset)
    if target.gateway and not target.amqp_url:
        return DeadLettersAtGateway(target)
    return context.ensure_object(Wiring).open_store(find(data, "amqp_url", port_offset=port_offset).amqp_url)


def _finish(done: str, act: Act, selection: Selection, chosen: Sequence[DeadLetterRecord]) -> None:
    _tell(done, run(apply(act, chosen)))
    selection.check_found(chosen)


def _tell(done: str, records: Sequence[DeadLetterRecord]) -> None:
    for record in records:
        print(f"{record.id}  {text(record.event_type)}  {text(record.order_id)}  {record.queue}")
    say(f"{done} {counted(len(records), 'dead letter')}")


def _row(record: DeadLetterRecord) -> tuple[object, ...]:
    shown = record.id[:8] if sys.stdout.isatty() else record.id
    names = ("failed_at", "queue", "reason", "attempts", "event_type", "order_id")
    return shown, *(getattr(record, name) for name in names), _redriven(record), record.error


def _redriven(record: DeadLetterRecord) -> str | None:
    """Whether it failed again after it was redriven: how often, when last, and by whom."""
    if not record.redriven:
        return None
    by = f" by {record.redriven_by}" if record.redriven_by else ""
    return f"{counted(record.redriven, 'time')}, last {short_time(record.redriven_at or '?')}{by}"
