"""Every scenario of one table leaves the same facts under both coordinators, on real servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import pytest

from tests.support.messages import USER
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.temporal

COORDINATORS = ("choreography", "orchestration")
Meddling = Callable[[World, str], None]


def nothing(_world: World, _order_id: str) -> None:
    """Leave the saga alone."""


def cancel(world: World, order_id: str) -> None:
    """Ask for the cancellation, through the gateway."""

    def accepted() -> bool:
        assert world.request("PATCH", f"/orders/{order_id}/cancel").status_code in (202, 409)
        return True

    until(accepted)


def cancel_while_charging(world: World, order_id: str) -> None:
    until(lambda: world.payment(order_id)["status"] == "PROCESSING", what="the charge is under way")
    cancel(world, order_id)


def cancel_when_captured(world: World, order_id: str) -> None:
    """The provider has captured the money, and nobody else knows yet, because its answer was lost."""
    until(lambda: world.books(order_id)[0], what="the money is captured")
    cancel(world, order_id)


def cancel_when_paid(world: World, order_id: str) -> None:
    world.wait_status(order_id, "PAID", "APPROVED")
    cancel(world, order_id)


def cancel_twice_when_paid(world: World, order_id: str) -> None:
    cancel_when_paid(world, order_id)
    cancel(world, order_id)


def crash_while_charging(process: str) -> Meddling:
    def crash(world: World, order_id: str) -> None:
        until(lambda: world.payment(order_id)["status"] == "PROCESSING", what="the charge is under way")
        world.kill(process)
        world.start(process, **SLOW)

    return crash


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a coordinator leaves."""

    order: tuple[str, str | None]
    payment: str
    books: tuple[int, int]
    order_events: tuple[str, ...]
    payment_events: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The payment method, what happens during the saga, and what both coordinators must leave."""

    payment_method: str
    meddle: Meddling = nothing
    settings: Mapping[str, object] = field(default_factory=dict)
    leaves: Left


SLOW: Mapping[str, object] = {"provider_latency_ms": 2000, "provider_timeout": 15}
PAID = Left(
    order=("PAID", None),
    payment="APPROVED",
    books=(999, 0),
    order_events=("OrderCreated", "OrderPaid"),
    payment_events=("PaymentApproved",),
)
CANCELLED = Left(
    order=("CANCELLED", "USER_REQUESTED"),
    payment="CANCELLED",
    books=(0, 0),
    order_events=("OrderCreated", "OrderCancelled"),
    payment_events=("PaymentCancelled",),
)
REFUNDED = Left(
    order=("CANCELLED", "USER_REQUESTED"),
    payment="REFUNDED",
    books=(999, 999),
    order_events=("OrderCreated", "OrderPaid", "OrderCancelled"),
    payment_events=("PaymentApproved", "PaymentRefunded"),
)
FAILED = Left(
    order=("FAILED", None),
    payment="FAILED",
    books=(0, 0),
    order_events=("OrderCreated", "OrderFailed"),
    payment_events=("PaymentFailed",),
)
SCENARIOS = {
    "approved": Scenario(payment_method="pm_card_visa", leaves=PAID),
    "declined": Scenario(
        payment_method="pm_card_chargeDeclined",
        leaves=replace(
            CANCELLED, order=("CANCELLED", "PAYMENT_DECLINED"), payment="DECLINED", payment_events=("PaymentDeclined",)
        ),
    ),
    "refused for good": Scenario(payment_method="pm_error", leaves=FAILED),
    "never answered": Scenario(payment_method="pm_unavailable", settings={"provider_timeout": 0.1}, leaves=FAILED),
    "answer lost": Scenario(payment_method="pm_timeout_then_approve", leaves=PAID),
    "cancelled while charging": Scenario(
        payment_method="pm_card_visa", meddle=cancel_while_charging, settings=SLOW, leaves=CANCELLED
    ),
    "cancelled when paid": Scenario(payment_method="pm_card_visa", meddle=cancel_when_paid, leaves=REFUNDED),
    "cancelled twice when paid": Scenario(
        payment_method="pm_card_visa", meddle=cancel_twice_when_paid, leaves=REFUNDED
    ),
    "cancelled when captured but not told": Scenario(
        payment_method="pm_timeout_then_approve",
        meddle=cancel_when_captured,
        settings={"retry_delays": "2,2,2"},
        leaves=replace(
            REFUNDED,
            order_events=CANCELLED.order_events,
            payment_events=("PaymentCancelled", "PaymentRefunded"),
        ),
    ),
    "payment service killed while charging": Scenario(
        payment_method="pm_card_visa", meddle=crash_while_charging("payment"), settings=SLOW, leaves=PAID
    ),
    "order service killed while charging": Scenario(
        payment_method="pm_card_visa", meddle=crash_while_charging("order"), settings=SLOW, leaves=PAID
    ),
    "timed out": Scenario(
        payment_method="pm_slow",
        settings={"payment_timeout": 1, "provider_timeout": 15},
        leaves=replace(CANCELLED, order=("CANCELLED", "PAYMENT_TIMEOUT")),
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_coordinators_leave_the_same(world: World, temporal: TemporalServer, name: str) -> None:
    scenario = SCENARIOS[name]
    world.env["SAGA_TEMPORAL_ADDRESS"] = temporal.address
    world.start("order", "payment", "gateway", "worker", **scenario.settings)
    ids = {}
    for coordinator in COORDINATORS:
        ids[coordinator] = _place(world, scenario, coordinator)
        scenario.meddle(world, ids[coordinator])
    left = {coordinator: _wait_for(world, scenario, order_id) for coordinator, order_id in ids.items()}
    world.wait_at_rest(ids.values())
    assert left["choreography"] == left["orchestration"]
    assert world.dead_letters() == []


def _place(world: World, scenario: Scenario, coordinator: str) -> str:
    body = {"userId": USER, "total": 999, "paymentMethod": scenario.payment_method, "coordinator": coordinator}
    key = {"Idempotency-Key": str(uuid4())}
    answers = [world.request("POST", "/orders", json=body, headers=key) for _ in range(2)]  # the second is a duplicate
    assert [answer.status_code for answer in answers] == [202, 202], answers[0].text
    assert answers[0].json() == answers[1].json()
    return str(answers[0].json()["orderId"])


def _wait_for(world: World, scenario: Scenario, order_id: str) -> dict[str, Any]:
    expected = {
        "order": scenario.leaves.order,
        "payment": (scenario.leaves.payment, None),
        "books": scenario.leaves.books,
        "order_events": list(scenario.leaves.order_events),
        "payment_events": list(scenario.leaves.payment_events),
    }

    def reached() -> bool:
        assert _facts(world, order_id) == expected
        return True

    until(reached, what=f"{order_id} ends as it must")
    order, payment = world.order(order_id), world.payment(order_id)
    return {
        **expected,
        "order row": {name: order[name] for name in ("total", "currency", "payment_method", "user_id")},
        "payment row": {name: payment[name] for name in ("amount", "currency", "payment_method")},
        "reason": (payment["reason"] or "").replace(str(payment["id"]), "<id>"),
    }


def _facts(world: World, order_id: str) -> dict[str, Any]:
    order, payment = world.find_order(order_id), world.find_payment(order_id)
    return {
        "order": order and (order["status"], order["cancel_reason"]),
        "payment": payment and (payment["status"], payment["due"]),
        "books": world.books(order_id),
        "order_events": world.events("orders", order_id),
        "payment_events": world.events("payments", order_id),
    }
