"""Drive a few orders while the user watches, one for each way in which a saga can end."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import httpx

from cli import http_clients
from cli.commands.target import bearing
from cli.printed_tables import Column, echo_table
from cli.terminal import WIDE, columns
from embedded.errors import StackError
from stack.settings import Settings
from workflows.naming import workflow_id

_PATIENCE = 30.0  # seconds for one saga to end
_LONGEST_TIMEOUT = 20.0  # seconds; a tour with a longer payment timeout leaves out the order that times out
_MARGIN = 6.5  # seconds that a slow machine may add to the provider's time
_COLUMNS = (
    Column(title="COORDINATOR"),
    Column(title="THE ORDER IS"),
    Column(title="ORDER"),
    Column(title="BECAUSE OF", rank=2),
    Column(title="PAYMENT"),
    Column(title="TOOK", rank=1),
)
_UNANSWERED = "pm_unavailable"  # a charge with it gets no answer; its void does


@dataclass(frozen=True, kw_only=True)
class Stop:
    """One order of the tour, and how it must end."""

    title: str
    payment_method: str
    order: str
    payment: str
    reason: str | None = None
    cancel: bool = False
    coordinator: str = "choreography"


_ENDS = (
    Stop(title="approved", payment_method="pm_card_visa", order="PAID", payment="APPROVED"),
    Stop(
        title="declined",
        payment_method="pm_card_chargeDeclinedInsufficientFunds",
        order="CANCELLED",
        payment="DECLINED",
        reason="PAYMENT_DECLINED",
    ),
    Stop(title="refused", payment_method="pm_error", order="FAILED", payment="FAILED"),
    Stop(
        title="refunded",
        payment_method="pm_card_visa",
        cancel=True,
        order="CANCELLED",
        payment="REFUNDED",
        reason="USER_REQUESTED",
    ),
    Stop(
        title="timed out",
        payment_method=_UNANSWERED,
        order="CANCELLED",
        payment="CANCELLED",
        reason="PAYMENT_TIMEOUT",
    ),
)
STOPS = tuple(
    replace(end, coordinator=coordinator) for coordinator in ("choreography", "orchestration") for end in _ENDS
)


@dataclass(frozen=True, kw_only=True)
class Tour:
    """The orders to drive, and the payment timeout in seconds that the stack gets for them; None: its own."""

    stops: tuple[Stop, ...]
    payment_timeout: float | None

    @classmethod
    def of(cls, settings: Settings) -> Tour:
        """The tour for these settings, which stay as the user has set them. It shows a time-out if they allow it."""
        own = "payment_timeout" in settings.model_fields_set
        if settings.provider == "simulated" and not own:
            # Long enough for all others on a slow machine, and as short as Settings allow, to be watched.
            timeout = max(settings.provider_latency_ms / 1000 + _MARGIN, settings.mirror_after)
            return cls(stops=STOPS, payment_timeout=timeout)
        shown = settings.provider == "simulated" and settings.payment_timeout <= _LONGEST_TIMEOUT
        stops = STOPS if shown else tuple(stop for stop in STOPS if stop.payment_method != _UNANSWERED)
        return cls(stops=stops, payment_timeout=None)

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables for the stack's processes."""
        return {} if self.payment_timeout is None else {"SAGA_PAYMENT_TIMEOUT": f"{self.payment_timeout:g}"}

    @property
    def notice(self) -> str:
        """One line about an unusual setting; empty if there is none."""
        if self.payment_timeout is None:
            return ""
        return (
            f"For the tour, this stack cancels an order whose payment isn't settled within {self.payment_timeout:g} s; "
            "SAGA_PAYMENT_TIMEOUT sets another limit"
        )


def drive(tour: Tour, gateway: str, temporal_ui: str, *, api_key: str = "") -> None:
    """Create the orders of the tour, wait for their ends and print them. Raises StackError if one ends otherwise."""
    user, stops = str(uuid4()), tour.stops
    with (
        http_clients.client(base_url=f"{gateway}/api", timeout=_PATIENCE, headers=bearing(api_key)) as client,
        ThreadPoolExecutor(max_workers=len(stops)) as pool,
    ):
        try:
            rows = list(pool.map(lambda stop: _drive(client, stop, user), stops))
        except httpx.HTTPError as error:
            raise StackError(f"The gateway does not answer ({error}); see its log") from error
    print("Orders and their payments")
    echo_table(_COLUMNS, (row[:-1] for row in rows))
    print("\nEach has a page in the Temporal UI:")
    for coordinator, title, *_, order_id in rows:
        link = f"{temporal_ui}/namespaces/default/workflows/{workflow_id(order_id)}"
        title = f"  {coordinator}, {title}:"
        print(f"{title} {link}" if len(title) + 1 + len(link) <= (columns() or WIDE) else f"{title}\n{link}")


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
    wanted = stop.order, stop.reason or "", stop.payment
    found = _standing(client, order_id)
    while found != wanted and time.monotonic() < began + _PATIENCE:
        time.sleep(0.05)  # a compensation follows its cancellation a moment later
        found = _standing(client, order_id)
    if found != wanted:
        raise StackError(f"Order {order_id} should have ended as {_in_words(wanted)}, not as {_in_words(found)}")
    took = f"{time.monotonic() - began:.1f} s"
    return stop.coordinator, stop.title, *found, took, order_id


def _standing(client: httpx.Client, order_id: str) -> tuple[str, str, str]:
    order = _answer(client.get(f"/orders/{order_id}"))
    payment = _answer(client.get(f"/payments/order/{order_id}"))
    return order["status"], order["cancelReason"] or "", payment["status"]


def _in_words(standing: tuple[str, str, str]) -> str:
    order, reason, payment = standing
    return f"{order}{f' ({reason})' if reason else ''}, its payment {payment}"


def _answer(answer: httpx.Response) -> Any:
    if answer.is_error:
        raise StackError(
            f"{answer.request.method} {answer.request.url} was answered with {answer.status_code}: {answer.text}"
        )
    return answer.json()
