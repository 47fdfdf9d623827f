"""List, show, redrive and discard what no retry could help."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, TypeAlias
from uuid import UUID

import typer

from stack.commands import AsJson, counted, echo_fields, echo_json, echo_table, may_go_on, one_line_errors, run, text
from stack.commands.target import DEFAULT_DATA, Data, find
from stack.errors import StackError

if TYPE_CHECKING:
    from choreography.dead_letters import DeadLetterRecord, Wanted

    Act: TypeAlias = Callable[[Wanted], Awaitable[list[DeadLetterRecord]]]

app = typer.Typer(
    help="See to the messages that were given up: show, redrive, discard.", no_args_is_help=True, rich_markup_mode=None
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids or unique beginnings of them.")]
All = Annotated[bool, typer.Option("--all", help="All that the filters let through.")]
Reason = Annotated[str | None, typer.Option(help="Only those given up for this reason, such as MALFORMED.")]
Queue = Annotated[str | None, typer.Option(help="Only those that failed in this queue.")]
EventType = Annotated[str | None, typer.Option(help="Only messages of this type, such as OrderCreated.")]
Order = Annotated[UUID | None, typer.Option(help="Only messages about this order.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]

# Seconds before each look: the broker takes a moment to put back what a listing has just looked at.
_LOOKS: Final = (0.0, 0.2, 0.5, 1.0)
_LOOK_THERE: Final = "it may have been redriven or discarded already: see `saga dead-letters list`"


class DeadLetterStore(Protocol):
    """The part of choreography.dead_letters.DeadLetters that is used."""

    async def all(self) -> list[DeadLetterRecord]: ...
    async def redrive(self, wanted: Wanted) -> list[DeadLetterRecord]: ...
    async def discard(self, wanted: Wanted) -> list[DeadLetterRecord]: ...


Key: TypeAlias = tuple[str, str, bytes]


def _at_broker(url: str) -> DeadLetterStore:
    from choreography.dead_letters import DeadLetters

    for name in ("aio_pika", "aiormq"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they warn of is told once, by us
    return DeadLetters(url)


@dataclass(frozen=True, kw_only=True)
class Ports:
    """How the commands reach dead letters; another one can be given as the context's object."""

    open_store: Callable[[str], DeadLetterStore] = _at_broker


@app.command("list")
@one_line_errors
def list_dead_letters(
    context: typer.Context,
    reason: Reason = None,
    queue: Queue = None,
    event_type: EventType = None,
    order: Order = None,
    as_json: AsJson = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """List dead letters, by queue and oldest first. For example: `saga dead-letters list --reason MALFORMED`."""
    records = list(filter(_matching(reason, queue, event_type, order), run(_store(context, data).all())))
    if as_json:
        echo_json({"data": [_as_json(record) for record in records]})
    elif not records:
        typer.echo("No dead letters")
    else:
        columns = ("ID", "FAILED AT", "QUEUE", "REASON", "ATTEMPTS", "EVENT", "ORDER", "ERROR")
        echo_table(columns, map(_row, records))
        typer.echo(counted(len(records), "dead letter"))


@app.command("show")
@one_line_errors
def show(
    context: typer.Context,
    dead_letter_id: Annotated[str, typer.Argument(metavar="ID", help="Its id or a unique beginning of it.")],
    as_json: AsJson = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Show all there is to know of a dead letter, its body too. For example: `saga dead-letters show 7f3c`."""
    known = run(_store(context, data).all())
    chosen = _choose(known, [dead_letter_id])
    _check_found(chosen, [dead_letter_id])
    shown = _as_json(chosen[0])
    if as_json:
        echo_json(shown)
        return
    body = shown.pop("body")
    echo_fields(shown)
    typer.echo("\n" + (text(body) if isinstance(body, str) else json.dumps(body, indent=2)))


@app.command("redrive")
@one_line_errors
def redrive(
    context: typer.Context,
    ids: Ids = None,
    every: All = False,
    reason: Reason = None,
    queue: Queue = None,
    event_type: EventType = None,
    order: Order = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Send dead letters back to the queue they failed in. For example: `saga dead-letters redrive --all --order ID`.

    Safe to interrupt and to run twice: none is lost, and each has its effect once.
    """
    _check_choice(ids, every, reason, queue, event_type, order)
    store = _store(context, data)
    if every:
        _tell("Redrove", run(store.redrive(_matching(reason, queue, event_type, order))))
        return
    chosen = _choose(run(store.all()), ids or [])
    _tell("Redrove", run(_apply(store.redrive, chosen)))
    _check_found(chosen, ids or [])


@app.command("discard")
@one_line_errors
def discard(
    context: typer.Context,
    ids: Ids = None,
    every: All = False,
    reason: Reason = None,
    queue: Queue = None,
    event_type: EventType = None,
    order: Order = None,
    yes: Yes = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Delete dead letters for good; what arrives meanwhile stays. For example: `saga dead-letters discard 7f3c`."""
    _check_choice(ids, every, reason, queue, event_type, order)
    known = run((store := _store(context, data)).all())
    chosen = list(filter(_matching(reason, queue, event_type, order), known)) if every else _choose(known, ids or [])
    if chosen:
        may_go_on(f"Delete {counted(len(chosen), 'dead letter')} for good?", yes=yes)
    _tell("Discarded", run(_apply(store.discard, chosen)))
    _check_found(chosen, ids or [])


def _store(context: typer.Context, data: Path) -> DeadLetterStore:
    return context.ensure_object(Ports).open_store(find(data, "amqp_url").amqp_url)


async def _apply(act: Act, chosen: Sequence[DeadLetterRecord]) -> list[DeadLetterRecord]:
    """Act on these, and only these; those that are gone by now are left out."""
    from asyncio import sleep

    done: list[DeadLetterRecord] = []
    for pause in _LOOKS:
        missing = {_key(record) for record in chosen} - {_key(record) for record in done}
        if not missing:
            break
        await sleep(pause)
        done += await act(_among(missing))
    return done


def _among(keys: set[Key]) -> Wanted:
    return lambda record: _key(record) in keys


def _key(record: DeadLetterRecord) -> Key:
    # A message without ids is named by its place in the queue, which may be another one's the next time.
    return record.queue, record.id, record.body


def _choose(known: Sequence[DeadLetterRecord], beginnings: Iterable[str]) -> list[DeadLetterRecord]:
    """Those whose ids start so; a beginning of none is left out. Raises StackError when one fits several."""
    chosen: list[DeadLetterRecord] = []
    for beginning in beginnings:
        if not beginning.strip():
            raise typer.BadParameter("An id must not be empty")
        fitting = [record for record in known if record.id.startswith(beginning)]
        exact = [record for record in fitting if record.id == beginning]
        if len({record.id for record in fitting}) > 1 and not exact:
            raise StackError(f"{len(fitting)} dead letters have an id that starts with {text(beginning)}; give more")
        chosen += exact or fitting
    return chosen


def _check_found(chosen: Sequence[DeadLetterRecord], beginnings: Iterable[str]) -> None:
    """Raises StackError for ids that fitted no dead letter."""
    missing = [beginning for beginning in beginnings if not any(one.id.startswith(beginning) for one in chosen)]
    if missing:
        raise StackError(f"No dead letter has an id that starts with {', '.join(map(text, missing))}; {_LOOK_THERE}")


def _check_choice(ids: list[str] | None, every: bool, *filters: object) -> None:
    if bool(ids) == every:
        raise typer.BadParameter("Name the ids, or add --all for all that the filters let through")
    if ids and any(given is not None for given in filters):
        raise typer.BadParameter("Filters go with --all, not with ids")


def _matching(reason: str | None, queue: str | None, event_type: str | None, order: UUID | None) -> Wanted:
    wanted = {"reason": reason, "queue": queue, "event_type": event_type, "order_id": str(order) if order else None}
    given = {name: value.lower() for name, value in wanted.items() if value is not None}

    def matches(record: DeadLetterRecord) -> bool:
        return all(str(getattr(record, name)).lower() == value for name, value in given.items())

    return matches


def _tell(done: str, records: Sequence[DeadLetterRecord]) -> None:
    for record in records:
        typer.echo(f"{record.id}  {text(record.event_type)}  {text(record.order_id)}  {record.queue}")
    typer.echo(f"{done} {counted(len(records), 'dead letter')}")


def _row(record: DeadLetterRecord) -> tuple[object, ...]:
    shown = record.id[:8] if sys.stdout.isatty() else record.id
    names = ("failed_at", "queue", "reason", "attempts", "event_type", "order_id", "error")
    return shown, *(getattr(record, name) for name in names)


def _as_json(record: DeadLetterRecord) -> dict[str, Any]:
    shown = {_camel(field.name): getattr(record, field.name) for field in fields(record)}
    try:
        shown["body"] = json.loads(record.body)
    except ValueError:
        shown["body"] = record.body.decode("utf-8", "backslashreplace")
    return shown


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)
