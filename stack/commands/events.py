"""List and replay what the services' event logs hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from models.times import wire_time
from stack.commands import AsJson, counted, echo_json, echo_table, may_go_on, one_line_errors
from stack.commands.target import DEFAULT_DATA, Data, Need, Target, ask, content, find

if TYPE_CHECKING:
    import httpx

app = typer.Typer(name="events", help="Read the event logs, and publish from them again.", no_args_is_help=True)


class Service(StrEnum):
    """Whose event log."""

    ORDER = "order"
    PAYMENT = "payment"
    BOTH = "both"


_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_NEEDS: Final[dict[Service, tuple[Need, ...]]] = {
    Service.ORDER: ("order_service",),
    Service.PAYMENT: ("payment_service",),
    Service.BOTH: ("order_service", "payment_service"),
}
_FIRST_EVER: Final = "1970-01-01T00:00:00.000Z"

OrderId = Annotated[UUID | None, typer.Option("--order", help="Only events about this order.")]
EventType = Annotated[str | None, typer.Option("--type", help="Only events of this type, such as OrderPaid.")]
_TIME_HELP: Final = "ISO 8601 (UTC unless it has an offset), or how long ago: 15m, 2h, 1d."
Since = Annotated[str | None, typer.Option(help=f"From this time on: {_TIME_HELP}")]
Until = Annotated[str | None, typer.Option(help=f"Before this time: {_TIME_HELP}")]


@app.command("list")
@one_line_errors
def list_events(
    order: OrderId = None,
    event_type: EventType = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Events of each service at most.")] = 100,
    service: Annotated[Service, typer.Option(help="Whose event log.")] = Service.BOTH,
    as_json: AsJson = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """List logged events in the order they occurred, for example `saga events list --type OrderPaid --since 2h`."""
    params = {**_conditions(order, event_type, since, until), "limit": limit}
    target = find(data, *_NEEDS[service], "internal_token")
    logs = [_events(_ask(target, need, "GET", "", params=params)) for need in _NEEDS[service]]
    events = sorted((event for log in logs for event in log), key=lambda event: str(event.get("occurredAt")))
    if as_json:
        echo_json({"data": events})
        return
    echo_table(("OCCURRED AT", "EVENT", "ORDER", "EVENT ID", "CAUSED BY", "COORDINATOR"), map(_row, events))
    more = "; there may be more, raise --limit" if any(len(log) >= limit for log in logs) else ""
    typer.echo(f"{counted(len(events), 'event')}{more}")


@app.command("replay")
@one_line_errors
def replay(
    order: OrderId = None,
    event_type: EventType = None,
    since: Since = None,
    until: Until = None,
    service: Annotated[Service, typer.Option(help="Whose event log.")] = Service.BOTH,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before replaying whole event logs.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Publish logged events again, for example `saga events replay --since 2h`; what already happened stays."""
    conditions = _conditions(order, event_type, since, until)
    target = find(data, *_NEEDS[service], "internal_token")
    if not conditions:
        may_go_on("Replay every event there ever was?", yes=yes)
        conditions = {"since": _FIRST_EVER}  # a service wants at least one condition
    for need in _NEEDS[service]:
        # As long as it takes: a service answers when it has published everything.
        answer = content(_ask(target, need, "POST", "/replay", body=conditions, timeout=None))
        typer.echo(f"Replayed {counted(int(answer.get('replayed') or 0), 'event')} of the {need.replace('_', ' ')}")


def instant(given: str, *, now: datetime) -> datetime:
    """The time meant by ISO 8601 or an age such as 15m, in UTC. Raises typer.BadParameter for anything else."""
    try:
        if age := re.fullmatch(r"([0-9]{1,9})([smhd])", given.strip()):
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        time = datetime.fromisoformat(given.strip())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{given!r} is not a time; write 2026-02-15T01:42:00Z, or an age like 15m") from None


def _conditions(order: UUID | None, event_type: str | None, since: str | None, until: str | None) -> dict[str, Any]:
    now = datetime.now(UTC)
    first = instant(since, now=now) if since is not None else None
    end = instant(until, now=now) if until is not None else None
    if first and end and first >= end:
        raise typer.BadParameter("--since must be before --until")
    conditions = {
        "orderId": order and str(order),
        "eventType": event_type,
        "since": first and wire_time(first),
        "until": end and wire_time(end),
    }
    return {name: value for name, value in conditions.items() if value is not None}


def _ask(target: Target, need: Need, method: str, path: str, **request: Any) -> httpx.Response:
    return ask(method, f"{getattr(target, need)}/events{path}", bearer=target.internal_token, **request)


def _events(answer: httpx.Response) -> Sequence[dict[str, Any]]:
    found = content(answer).get("data")
    return [event for event in found if isinstance(event, dict)] if isinstance(found, list) else []


def _row(event: dict[str, Any]) -> tuple[object, ...]:
    payload = event.get("payload")
    order_id = payload.get("orderId") if isinstance(payload, dict) else None
    names = ("eventId", "causationId", "coordinator")
    return (event.get("occurredAt"), event.get("eventType"), order_id, *map(event.get, names))
