"""Create, list, show, cancel and follow orders through the gateway."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

import typer

from cli.commands import echo_fields, one_line_errors
from cli.commands.options import AsJson, Data, PortOffset, uuid_of
from cli.commands.streams import events_of
from cli.commands.target import Target, ask, content, find, given
from cli.hints import saga
from cli.printed_tables import Column, echo_table, fit, framed, short_time, text
from cli.terminal import columns, console, say, say_json
from models.lifecycle import OrderStatus
from models.money import MAX_TOTAL
from models.saga import Coordinator
from models.texts import is_idempotency_key

app = typer.Typer(help="Create orders and follow their sagas.", no_args_is_help=True, rich_markup_mode=None)

TheOrder = Annotated[
    UUID,
    typer.Argument(metavar="ID", parser=uuid_of("an order"), help="The order's id, a full UUID.", show_default=False),
]
User = Annotated[
    UUID | None, typer.Option("--user", parser=uuid_of("a user"), metavar="UUID", help="Only orders of this user.")
]


def _key(given: str) -> str:
    key = given.strip(" ")  # as HTTP does with the value of a header
    if not is_idempotency_key(key):
        raise typer.BadParameter("it must have 1 to 255 printable ASCII characters, and no line break")
    return key


_FIELDS: Final = ("id", "status", "total", "currency", "coordinator", "createdAt", "cancelReason")
_LISTED: Final = (
    Column(title="ID"),
    Column(title="STATUS", rank=1),
    Column(title="TOTAL", rank=2),
    Column(title="CURRENCY", rank=3),
    Column(title="COORDINATOR", rank=5),
    Column(title="CREATED", rank=4, short=short_time),
    Column(title="CANCEL REASON", rank=6),
)
_TOLD: Final = (
    Column(title="ELAPSED"),
    Column(title="EVENT"),
    Column(title="ACTOR", rank=3),
    Column(title="CAUSE", rank=4),
    Column(title="ORDER", rank=1),
    Column(title="PAYMENT", rank=2),
    Column(title="SUMMARY", prose=True),
)


@app.command("create")
@one_line_errors
def create(
    total: Annotated[int, typer.Option(min=1, max=MAX_TOTAL, help="In minor units of the currency: 999 is 9.99.")],
    user: Annotated[
        UUID | None,
        typer.Option(parser=uuid_of("a user"), metavar="UUID", help="Whose order it is.", show_default="a random UUID"),
    ] = None,
    currency: Annotated[str | None, typer.Option(help="ISO 4217 code.", show_default="USD")] = None,
    payment_method: Annotated[str | None, typer.Option(help="Such as pm_card_visa or pm_card_chargeDeclined.")] = None,
    coordinator: Annotated[
        Coordinator | None, typer.Option(metavar="NAME", help="Who sequences the steps: choreography or orchestration.")
    ] = None,
    wait: Annotated[int, typer.Option(min=0, max=30, help="Seconds to wait for the saga to be over.")] = 0,
    idempotency_key: Annotated[
        str | None, typer.Option(parser=_key, metavar="TEXT", help="Repeated with this key, it stays one order.")
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
    port_offset: PortOffset = None,
) -> None:
    """Create an order. For example: `saga order create --total 999 --payment-method pm_card_visa --wait 10`."""
    target = find(data, "gateway", port_offset=port_offset)
    # A repetition with the same key must have the same body. So derive the user from the key if none is named.
    stranger = uuid5(NAMESPACE_OID, idempotency_key) if idempotency_key else uuid4()
    chosen = {"currency": currency, "paymentMethod": payment_method, "coordinator": coordinator}
    body = {"userId": str(user or stranger), "total": total, **given(chosen)}
    headers = given({"Idempotency-Key": idempotency_key, "Prefer": f"wait={wait}" if wait else None})
    url = f"{target.gateway}/api/orders"
    answer = ask("POST", url, bearer=target.api_key, body=body, headers=headers, timeout=wait + 10.0)
    order = content(answer)
    if as_json:
        say_json(answer.text)
    elif answer.status_code == 200:
        echo_fields(order)
    else:
        order_id = text(order.get("orderId"))
        say(f"Order {order_id} is accepted; follow it with")
        print(f"  {saga(f'order watch {order_id}', data)}")


@app.command("list")
@one_line_errors
def list_orders(
    page: Annotated[int, typer.Option(min=1, max=2**31 - 1, help="Which page, from 1.")] = 1,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Orders on a page.")] = 10,
    status: Annotated[
        OrderStatus | None,
        typer.Option(metavar="STATUS", help=f"Only orders with this status: {', '.join(OrderStatus)}."),
    ] = None,
    user: User = None,
    as_json: AsJson = False,
    data: Data = None,
    port_offset: PortOffset = None,
) -> None:
    """List orders, newest first. For example: `saga order list --status PAID --limit 20`."""
    target = find(data, "gateway", port_offset=port_offset)
    params = {"page": page, "limit": limit, "status": status, "userId": user}
    answer = ask("GET", f"{target.gateway}/api/orders", bearer=target.api_key, params=params)
    found = content(answer)
    if as_json:
        say_json(answer.text)
        return
    echo_table(_LISTED, ([order.get(name) for name in _FIELDS] for order in found.get("data") or ()))
    meta = found.get("meta") or {}
    say(f"Page {meta.get('page')} of {meta.get('totalPages')}, {meta.get('total')} in all")


@app.command("get")
@one_line_errors
def get(order_id: TheOrder, as_json: AsJson = False, data: Data = None, port_offset: PortOffset = None) -> None:
    """Show an order. For example: `saga order get 019c5ef4-0d8f-7a3c-9f1e-5b1d2c3e4f50`."""
    target = find(data, "gateway", port_offset=port_offset)
    answer = ask("GET", _url(target, order_id), bearer=target.api_key)
    order = content(answer)
    if as_json:
        say_json(answer.text)
    else:
        echo_fields(order)


@app.command("cancel")
@one_line_errors
def cancel(order_id: TheOrder, as_json: AsJson = False, data: Data = None, port_offset: PortOffset = None) -> None:
    """Ask for an order to be cancelled and its payment refunded. For example: `saga order cancel ID`."""
    target = find(data, "gateway", port_offset=port_offset)
    answer = ask("PATCH", _url(target, order_id) + "/cancel", bearer=target.api_key)
    content(answer)
    if as_json:
        say_json(answer.text)
    else:
        say(f"Cancellation of order {order_id} is accepted; follow it with")
        print(f"  {saga(f'order watch {order_id}', data)}")


@app.command("timeline")
@one_line_errors
def timeline(order_id: TheOrder, as_json: AsJson = False, data: Data = None, port_offset: PortOffset = None) -> None:
    """Show what happened to an order, by whom, why and when. For example: `saga order timeline ID`."""
    target = find(data, "gateway", port_offset=port_offset)
    answer = ask("GET", _url(target, order_id) + "/timeline", bearer=target.api_key)
    told = content(answer)
    if as_json:
        say_json(answer.text)
        return
    echo_table(_TOLD, map(_row, told.get("entries") or ()))
    over = "its saga is over" if told.get("over") else "its saga is under way"
    origin = f"{text(told.get('coordinator'))}, told by the {text(told.get('source'))}"
    say(f"{_standing(order_id, told)}; {over} ({origin})")


@app.command("watch")
@one_line_errors
def watch(order_id: TheOrder, as_json: AsJson = False, data: Data = None, port_offset: PortOffset = None) -> None:
    """Follow an order live until its saga is over; Ctrl-C leaves it alone. For example: `saga order watch ID`."""
    events = events_of(find(data, "gateway", port_offset=port_offset), order_id)
    if as_json:
        for event in events:
            say_json(event)
        return
    entries = (entry for event in events if (entry := _entry(event)) is not None)
    last = _watch_live(entries) if sys.stdout.isatty() else _watch_plainly(entries)
    say(_standing(order_id, last) if last else f"Order {order_id}: nothing has happened yet")


def _watch_live(entries: Iterator[dict[str, Any]]) -> dict[str, Any]:
    from rich.live import Live

    last: dict[str, Any] = {}
    rows: list[list[str]] = []
    with Live(console=console(), vertical_overflow="visible", auto_refresh=False) as live:
        for last in entries:
            rows.append([text(cell) for cell in _row(last)])
            live.update(framed(fit(_TOLD, rows, columns() or 0)), refresh=True)
    return last


def _watch_plainly(entries: Iterator[dict[str, Any]]) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for last in entries:
        print("  ".join(map(text, _row(last))), flush=True)
    return last


def _entry(event: str) -> dict[str, Any] | None:
    """The timeline entry in an event; None for anything else, which later versions may stream."""
    try:
        value = json.loads(event)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "eventType" in value else None


def _row(entry: Mapping[str, Any]) -> tuple[object, ...]:
    elapsed = entry.get("elapsedMs")
    cause = entry.get("cause")
    return (
        f"+{elapsed / 1000:.3f} s" if isinstance(elapsed, int | float) else None,
        entry.get("eventType"),
        str(entry.get("actor") or "").removesuffix("-service"),
        cause.get("name") if isinstance(cause, dict) else cause,
        entry.get("orderStatus"),
        entry.get("paymentStatus"),
        entry.get("summary"),
    )


def _standing(order_id: UUID, told: Mapping[str, Any]) -> str:
    return f"Order {order_id} is {text(told.get('orderStatus'))}, its payment {text(told.get('paymentStatus'))}"


def _url(target: Target, order_id: UUID) -> str:
    return f"{target.gateway}/api/orders/{order_id}"
