"""List and replay the events in the services' event logs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from cli.commands import counted, echo_json, may_go_on, one_line_errors
from cli.commands.options import AsJson, Data, PortOffset, uuid_of
from cli.commands.target import Need, Target, ask, content, find
from cli.commands.through_gateway import operate
from cli.hints import here
from cli.printed_tables import Column, echo_table, short_time
from cli.terminal import say
from models.message_types import MESSAGE_TYPES
from models.times import wire_time

if TYPE_CHECKING:
    import httpx

app = typer.Typer(help="Read the event logs, and publish from them again.", no_args_is_help=True, rich_markup_mode=None)


class WhoseLog(StrEnum):
    """The services whose event logs are meant."""

    ORDER = "order"
    PAYMENT = "payment"
    BOTH = "both"


_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_NEEDS: Final[dict[WhoseLog, tuple[Need, ...]]] = {
    WhoseLog.ORDER: ("order_service",),
    WhoseLog.PAYMENT: ("payment_service",),
    WhoseLog.BOTH: ("order_service", "payment_service"),
}
_OF_ORDER: Final[dict[Need, str]] = {
    "order_service": "/orders/{}/events",
    "payment_service": "/payments/order/{}/events",
}
_COLUMNS: Final = (
    Column(title="OCCURRED AT", rank=1, short=short_time),
    Column(title="EVENT"),
    Column(title="ORDER"),
    Column(title="EVENT ID", rank=2),
    Column(title="CAUSED BY", rank=3),
    Column(title="COORDINATOR", rank=4),
)
_NONE_LOGGED: Final = "Nothing here fits; if the saga has ended, its events may be kept no longer: see `saga order get`"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

AnOrder = Annotated[
    UUID | None,
    typer.Option("--order", parser=uuid_of("an order"), metavar="ID", help="Only events about this order."),
]
TypeOption = Annotated[str | None, typer.Option("--type", help="Only events of this type, such as OrderPaid.")]
_TIME_HELP: Final = "ISO 8601 (UTC unless it has an offset), or how long ago: 15m, 2h, 1d."
Since = Annotated[str | None, typer.Option(help=f"From this time on: {_TIME_HELP}")]
Until = Annotated[str | None, typer.Option(help=f"Before this time: {_TIME_HELP}")]


@app.command("list")
@one_line_errors
def list_events(
    order: AnOrder = None,
    event_type: TypeOption = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Events of each service at most.")] = 100,
    service: Annotated[
        WhoseLog, typer.Option(metavar="NAME", help="Whose event log: order, payment or both.")
    ] = WhoseLog.BOTH,
    as_json: AsJson = False,
    data: Data = None,
    port_offset: PortOffset = None,
) -> None:
    """List logged events in the order they occurred. For example: `saga events list --type OrderPaid --since 2h`."""
    conditions = _conditions(order, event_type, since, until)
    target = find(data, *_NEEDS[service], "internal_token", port_offset=port_offset)
    logs = [_log(target, need, conditions, limit) for need in _NEEDS[service]]
    events = sorted((event for log in logs for event in log), key=_occurred_at)
    if as_json:
        echo_json({"data": events})
        return
    echo_table(_COLUMNS, map(_row, events))
    more = "; there may be more, raise --limit" if any(len(log) >= limit for log in logs) else ""
    say(f"{counted(len(events), 'event')}{more}")
    if order is not None and not events:
        print(here(_NONE_LOGGED, data))


@app.command("replay")
@one_line_errors
def replay(
    order: AnOrder = None,
    event_type: TypeOption = None,
    since: Since = None,
    until: Until = None,
    service: Annotated[
        WhoseLog, typer.Option(metavar="NAME", help="Whose event log: order, payment or both.")
    ] = WhoseLog.BOTH,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before replaying whole event logs.")] = False,
    data: Data = None,
    port_offset: PortOffset = None,
) -> None:
    """Publish logged events again; what already happened stays. For example: `saga events replay --since 2h`."""
    conditions = _conditions(order, event_type, since, until)
    target = find(data, port_offset=port_offset)
    through_gateway = bool(target.gateway and not target.order_service and not target.payment_service)
    if through_gateway and service is not WhoseLog.BOTH:
        raise typer.BadParameter("A gateway replays both event logs; leave --service out, or set SAGA_…_SERVICE_URL")
    if not through_gateway:
        target = find(data, *_NEEDS[service], "internal_token", port_offset=port_offset)
    if not conditions:
        may_go_on("Replay every event there ever was?", yes=yes)
        conditions = {"since": wire_time(_EPOCH)}  # a service wants at least one condition
    if through_gateway:
        replayed = int(operate(target, "POST", "events/replay", body=conditions).get("replayed") or 0)
        say(f"Replayed {counted(replayed, 'event')} of both services")
        return
    for need in _NEEDS[service]:
        # There is no timeout: a service answers when it has published everything.
        service_url = getattr(target, need)
        url, alive = f"{service_url}/events/replay", f"{service_url}/healthz"
        answer = content(ask("POST", url, bearer=target.internal_token, body=conditions, timeout=None, alive=alive))
        replayed = int(answer.get("replayed") or 0)
        say(f"Replayed {counted(replayed, 'event')} of the {need.replace('_', ' ')}")
        if order is not None and not replayed:
            print(here(_NONE_LOGGED, data))


def instant(given: str, *, now: datetime) -> datetime:
    """The UTC time of an ISO 8601 text, or of an age such as 15m. Raises typer.BadParameter for anything else."""
    try:
        if age := re.fullmatch(r"([0-9]{1,9})([smhd])", given.strip()):
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        time = datetime.fromisoformat(given.strip())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{given!r} is not a time; write 2026-02-15T01:42:00Z, or an age like 15m") from None


def _conditions(order: UUID | None, event_type: str | None, since: str | None, until: str | None) -> dict[str, Any]:
    now = datetime.now(UTC)
    if event_type is not None and event_type not in MESSAGE_TYPES:
        raise typer.BadParameter(f"--type takes one of {', '.join(sorted(MESSAGE_TYPES))}, not {event_type!r}")
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


def _log(target: Target, need: Need, conditions: Mapping[str, str], limit: int) -> Sequence[dict[str, Any]]:
    """The first `limit` events of a service's log that meet all conditions."""
    address = getattr(target, need)
    if order_id := conditions.get("orderId"):
        # An order has few events: the service gives all of them, and they are filtered here.
        url = f"{address}{_OF_ORDER[need].format(order_id)}"
        found = _events(ask("GET", url, bearer=target.internal_token))
        return [event for event in found if _meets(event, conditions)][:limit]
    params = {**conditions, "limit": limit}
    return _events(ask("GET", f"{address}/events", bearer=target.internal_token, params=params))


def _events(answer: httpx.Response) -> Sequence[dict[str, Any]]:
    found = content(answer).get("data")
    return [event for event in found if isinstance(event, dict)] if isinstance(found, list) else []


def _meets(event: Mapping[str, Any], conditions: Mapping[str, str]) -> bool:
    at = _occurred_at(event)
    return (
        conditions.get("eventType", event.get("eventType")) == event.get("eventType")
        and ("since" not in conditions or datetime.fromisoformat(conditions["since"]) <= at)
        and ("until" not in conditions or at < datetime.fromisoformat(conditions["until"]))
    )


def _occurred_at(event: Mapping[str, Any]) -> datetime:
    """The time at which an event occurred. As text, times of different precision would not sort."""
    try:
        return instant(str(event.get("occurredAt")), now=_EPOCH)
    except typer.BadParameter:
        return _EPOCH


def _row(event: dict[str, Any]) -> tuple[object, ...]:
    payload = event.get("payload")
    order_id = payload.get("orderId") if isinstance(payload, dict) else None
    names = ("eventId", "causationId", "coordinator")
    return (event.get("occurredAt"), event.get("eventType"), order_id, *map(event.get, names))
