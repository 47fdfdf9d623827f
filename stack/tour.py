"""Drive a handful of orders before the user's eyes, one for each way a saga can end."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
from rich.console import Console
from rich.table import Table

from stack.errors import StackError

_PATIENCE = 30.0  # seconds for one saga to end


@dataclass(frozen=True, kw_only=True)
class Stop:
    """One order of the tour."""

    title: str
    payment_method: str
    cancel: bool
    order: str
    payment: str


STOPS = (
    Stop(title="approved", payment_method="pm_card_visa", cancel=False, order="PAID", payment="APPROVED"),
    Stop(
        title="declined",
        payment_method="pm_card_chargeDeclinedInsufficientFunds",
        cancel=False,
        order="CANCELLED",
        payment="DECLINED",
    ),
    Stop(title="refused", payment_method="pm_error", cancel=False, order="FAILED", payment="FAILED"),
    Stop(
        title="refunded",
        payment_method="pm_card_visa",
        cancel=True,
        order="CANCELLED",
        payment="REFUNDED",
    ),
)


def drive(gateway: str, console: Console) -> None:
    """Create the orders of the tour, wait for their ends and print them. Raises StackError if one ends otherwise."""
    user = str(uuid4())
    with httpx.Client(base_url=f"{gateway}/api", timeout=_PATIENCE) as client, ThreadPoolExecutor() as pool:
        rows = list(pool.map(lambda stop: _drive(client, stop, user), STOPS))
    table = Table(title="Orders and their payments", title_justify="left", box=None, padding=(0, 1, 0, 0))
    for column in ("the order is", "order", "payment", "took", "order id"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _drive(client: httpx.Client, stop: Stop, user: str) -> tuple[str, ...]:
    began = time.monotonic()
    body = {"userId": user, "total": 999, "paymentMethod": stop.payment_method}
    order = _answer(client.post("/orders", json=body, headers={"Prefer": "wait=20"}))
    order_id = order.get("id") or order["orderId"]
    if stop.cancel:
        _answer(client.patch(f"/orders/{order_id}/cancel"))
        # The stream ends when the saga is over, the refund included.
        with client.stream("GET", f"/orders/{order_id}/stream") as stream:
            for _ in stream.iter_lines():
                pass
    order = _answer(client.get(f"/orders/{order_id}"))
    payment = _answer(client.get(f"/payments/order/{order_id}"))
    statuses = order["status"], payment["status"]
    if statuses != (stop.order, stop.payment):
        raise StackError(f"Order {order_id} should have ended {stop.order} and {stop.payment}, not {statuses}")
    took = f"{time.monotonic() - began:.1f} s"
    return stop.title, *statuses, took, order_id


def _answer(answer: httpx.Response) -> Any:
    if answer.is_error:
        raise StackError(
            f"{answer.request.method} {answer.request.url} was answered with {answer.status_code}: {answer.text}"
        )
    return answer.json()
