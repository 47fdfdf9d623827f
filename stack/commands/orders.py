"""Create, list, show, cancel and follow orders through the gateway."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

import typer

from models.order import OrderStatus
from models.saga import MAX_TOTAL, Coordinator
from stack.commands import AsJson, echo_fields, echo_table, one_line_errors, table, text
from stack.commands.target import DEFAULT_DATA, Data, Target, ask, client, content, find, given

app = typer.Typer(help="Create orders and follow their sagas.", no_args_is_help=True, rich_markup_mode=None)

OrderId = Annotated[UUID, typer.Argument(metavar="ID", help="The order's id, a full UUID.", show_default=False)]

_COLUMNS: Final = ("ELAPSED", "EVENT", "ACTOR", "CAUSE", "ORDER", "PAYMENT", "SUMMARY")
_SILENCE: Final = 60.0  # seconds without even a heartbeat after which a stream counts as broken
_MOST_FRUITLESS: Final = 5  # streams in a row that end without anything new


@app.command("create")
@one_line_errors
def create(
    total: Annotated[int, typer.Option(min=1, max=MAX_TOTAL, help="In minor units of the currency: 999 is 9.99.")],
    user: Annotated[UUID | None, typer.Option(help="Whose order it is.", show_default="a random UUID")] = None,
    currency: Annotated[str | None, typer.Option(help="ISO 4217 code.", show_default="USD")] = None,
    payment_method: Annotated[str | None, typer.Option(help="Such as pm_card_visa or pm_card_chargeDeclined.")] = None,
    coordinator: Annotated[Coordinator | None, typer.Option(help="Who sequences the saga's steps.")] = None,
    wait: Annotated[int, typer.Option(min=0, max=30, help="Seconds to wait for the saga to be over.")] = 0,
    idempotency_key: Annotated[str | None, typer.Option(help="Repeated with this key, it stays one order.")] = None,
    as_json: AsJson = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Create an order. For example: `saga order create --total 999 --payment-method pm_card_visa --wait 10`."""
    target = find(data, "gateway")
    # The same key must come with the same body, so a user nobody named is derived from it.
    stranger = uuid5(NAMESPACE_OID, idempotency_key) if idempotency_key else uuid4()
    chosen = {"currency": currency, "paymentMethod": payment_method, "coordinator": coordinator}
    body = {"userId": str(user or stranger), "total": total, **given(chosen)}
    headers = given({"Idempotency-Key": idempotency_key, "Prefer": f"wait={wait}" if wait else None})
    url = f"{target.gateway}/api/orders"
    answer = ask("POST", url, bearer=target.api_key, body=body, headers=headers, timeout=wait + 10.0)
    order = content(answer)
    if as_json:
        typer.echo(answer.text)
    elif answer.status_code == 200:
        echo_fields(order)
    else:
        order_id = text(order.get("orderId"))
        typer.echo(f"Order {order_id} is accepted; follow it with `saga order watch {order_id}`")


@app.command("list")
@one_line_errors
def list_orders(
    page: Annotated[int, typer.Option(min=1, max=2**31 - 1, help="Which page, from 1.")] = 1,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Orders on a page.")] = 10,
    status: Annotated[OrderStatus | None, typer.Option(help="Only orders with this status.")] = None,
    user: Annotated[UUID | None, typer.Option(help="Only orders of this user.")] = None,
    as_json: AsJson = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """List orders, newest first. For example: `saga order list --status PAID --limit 20`."""
    target = find(data, "gateway")
    params = {"page": page, "limit": limit, "status": status, "userId": user}
    answer = ask("GET", f"{target.gateway}/api/orders", bearer=target.api_key, params=params)
    found = content(answer)
    if as_json:
        typer.echo(answer.text)
        return
    columns = {"ID": "id", "STATUS": "status", "TOTAL": "total", "": "currency", "COORDINATOR": "coordinator"}
    columns |= {"CREATED": "createdAt", "CANCEL REASON": "cancelReason"}
    echo_table(tuple(columns), ([order.get(name) for name in columns.values()] for order in found.get("data") or ()))
    meta = found.get("meta") or {}
    typer.echo(f"Page {meta.get('page')} of {meta.get('totalPages')}, {meta.get('total')} in all")


@app.command("get")
@one_line_errors
def get(order_id: OrderId, as_json: AsJson = False, data: Data = DEFAULT_DATA) -> None:
    """Show an order. For example: `saga order get 019c5ef4-0d8f-7a3c-9f1e-5b1d2c3e4f50`."""
    target = find(data, "gateway")
    answer = ask("GET", _url(target, order_id), bearer=target.api_key)
    order = content(answer)
    if as_json:
        typer.echo(answer.text)
    else:
        echo_fields(order)


@app.command("cancel")
@one_line_errors
def cancel(order_id: OrderId, as_json: AsJson = False, data: Data = DEFAULT_DATA) -> None:
    """Ask for an order to be cancelled and its payment refunded. For example: `saga order cancel ID`."""
    target = find(data, "gateway")
    answer = ask("PATCH", _url(target, order_id) + "/cancel", bearer=target.api_key)
    content(answer)
    if as_json:
        typer.echo(answer.text)
    else:
        typer.echo(f"Cancellation of order {order_id} is accepted; follow it with `saga order watch {order_id}`")


@app.command("timeline")
@one_line_errors
def timeline(order_id: OrderId, as_json: AsJson = False, data: Data = DEFAULT_DATA) -> None:
    """Show what happened to an order, by whom, why and when. For example: `saga order timeline ID`."""
    target = find(data, "gateway")
    answer = ask("GET", _url(target, order_id) + "/timeline", bearer=target.api_key)
    told = content(answer)
    if as_json:
        typer.echo(answer.text)
        return
    echo_table(_COLUMNS, map(_row, told.get("entries") or ()))
    over = "its saga is over" if told.get("over") else "its saga is under way"
    origin = f"{text(told.get('coordinator'))}, told by the {text(told.get('source'))}"
    typer.echo(f"{_standing(order_id, told)}; {over} ({origin})")


@app.command("watch")
@one_line_errors
def watch(order_id: OrderId, as_json: AsJson = False, data: Data = DEFAULT_DATA) -> None:
    """Follow an order live until its saga is over; Ctrl-C leaves it alone. For example: `saga order watch ID`."""
    events = _stream(find(data, "gateway"), order_id)
    if as_json:
        for event in events:
            print(event, flush=True)
        return
    entries = (entry for event in events if (entry := _entry(event)) is not None)
    last = _watch_live(entries) if sys.stdout.isatty() else _watch_plainly(entries)
    typer.echo(_standing(order_id, last) if last else f"Order {order_id}: nothing has happened yet")


def _watch_live(entries: Iterator[dict[str, Any]]) -> dict[str, Any]:
    from rich.live import Live

    last: dict[str, Any] = {}
    shown = table(_COLUMNS, ())
    with Live(shown, vertical_overflow="visible", auto_refresh=False) as live:
        for last in entries:
            shown.add_row(*map(_as_plain, _row(last)))
            live.refresh()
    return last


def _watch_plainly(entries: Iterator[dict[str, Any]]) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for last in entries:
        print("  ".join(map(text, _row(last))), flush=True)
    return last


def _as_plain(cell: object) -> Any:
    from rich.text import Text

    return Text(text(cell))


def _stream(target: Target, order_id: UUID) -> Iterator[str]:
    """The data of each event until the saga is over, each once.

    A stream may end before: asked to go on after the last event, the gateway answers 204 when nothing is left to tell.
    """
    seen: set[str] = set()
    last, fruitless = "", 0
    while fruitless < _MOST_FRUITLESS:
        time.sleep(1.0 if fruitless else 0.0)
        fruitless += 1
        for event_id, event in _events(target, order_id, after=last):
            if event_id is None:
                return
            if (event_id or event) not in seen:
                seen.add(event_id or event)
                last, fruitless = event_id, 0
                yield event


def _events(target: Target, order_id: UUID, *, after: str) -> Iterator[tuple[str | None, str]]:
    """Id and data of each server-sent event, read as the WHATWG's HTML standard says; the id None is the end."""
    import httpx

    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
    timeout = httpx.Timeout(_SILENCE, connect=5.0)
    with (
        client(target.gateway, target.api_key) as http,
        http.stream("GET", _url(target, order_id) + "/stream", headers=headers, timeout=timeout) as answer,
    ):
        if not answer.is_success:
            answer.read()
            answer.raise_for_status()
        if answer.status_code == 204:
            yield None, ""
        event_id, lines = "", list[str]()
        for line in answer.iter_lines():
            field, _, value = line.partition(":")
            if field == "id":
                event_id = value.removeprefix(" ")
            elif field == "data":
                lines.append(value.removeprefix(" "))
            elif not line and lines:
                yield event_id, "\n".join(lines)
                lines = []


def _entry(event: str) -> dict[str, Any] | None:
    """The timeline entry that an event carries; streams may come to carry other things."""
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
