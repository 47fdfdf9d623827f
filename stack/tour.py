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
from workflows.naming import workflow_id

_PATIENCE = 30.0  # seconds for one saga to end


@dataclass(frozen=True, kw_only=True)
class Stop:
    """One order of the tour."""

    title: str
    payment_method: str
    coordinator: str = "choreography"
    cancel: bool = False
    order: str
    payment: str


DECLINED = "pm_card_chargeDeclinedInsufficientFunds"
STOPS = tuple(
    Stop(title=title, payment_method=method, cancel=cancel, order=order, payment=payment, coordinator=coordinator)
    for coordinator in ("choreography", "orchestration")
    for title, method, cancel, order, payment in (
        ("approved", "pm_card_visa", False, "PAID", "APPROVED"),
        ("declined", DECLINED, False, "CANCELLED", "DECLINED"),
        ("refused", "pm_error", False, "FAILED", "FAILED"),
        ("refunded", "pm_card_visa", True, "CANCELLED", "REFUNDED"),
    )
)


def drive(gateway: str, temporal_ui: str, console: Console) -> None:
    """Create the orders of the tour, wait for their ends and print them. Raises StackError if one ends otherwise."""
    user = str(uuid4())
    with httpx.Client(base_url=f"{gateway}/api", timeout=_PATIENCE) as client, ThreadPoolExecutor() as pool:
        rows = list(pool.map(lambda stop: _drive(client, stop, user), STOPS))
    table = Table(title="Orders and their payments", title_justify="left", box=None, padding=(0, 1, 0, 0))
    for column in ("coordinator", "the order is", "order", "payment", "took"):
        table.add_column(column, no_wrap=True)
    for *row, _ in rows:
        table.add_row(*row)
    console.print(table)
    console.print("\nEach has a page in the Temporal UI:")
    for coordinator, title, *_, order_id in rows:
        link = f"{temporal_ui}/namespaces/default/workflows/{workflow_id(order_id)}"
        console.print(f"  {coordinator}, {title}: {link}", soft_wrap=True)


def _drive(client: httpx.Client, stop: Stop, user: str) -> tuple[str, ...]:
    began = time.monotonic()
    body = {
        "userId": user,
        "total": 999,
        "paymentMethod": stop.payment_method,
        "coordinator": stop.coordinator,
    }
    order = _answer(client.post("/orders", json=body, headers={"Prefer": "wait=20"}))
    order_id = order.get("id") or order["orderId"]
    if stop.cancel:
        _answer(client.patch(f"/orders/{order_id}/cancel"))
    statuses = _statuses(client, order_id)
    while statuses != (stop.order, stop.payment) and time.monotonic() < began + _PATIENCE:
        time.sleep(0.05)  # a compensation follows its cancellation a moment later
        statuses = _statuses(client, order_id)
    if statuses != (stop.order, stop.payment):
        raise StackError(f"Order {order_id} should have ended {stop.order} and {stop.payment}, not {statuses}")
    took = f"{time.monotonic() - began:.1f} s"
    return stop.coordinator, stop.title, *statuses, took, order_id


def _statuses(client: httpx.Client, order_id: str) -> tuple[str, str]:
    order = _answer(client.get(f"/orders/{order_id}"))
    payment = _answer(client.get(f"/payments/order/{order_id}"))
    return order["status"], payment["status"]


def _answer(answer: httpx.Response) -> Any:
    if answer.is_error:
        raise StackError(
            f"{answer.request.method} {answer.request.url} was answered with {answer.status_code}: {answer.text}"
        )
    return answer.json()
