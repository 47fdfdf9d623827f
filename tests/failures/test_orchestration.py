"""Orchestrated sagas reach every outcome through real processes, also when a service or Temporal is away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.support.freezing import frozen
from tests.support.messages import BODY
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.temporal


@pytest.fixture
def running(world: World, temporal: TemporalServer) -> World:
    """All four processes, with Temporal."""
    world.env["SAGA_TEMPORAL_ADDRESS"] = temporal.address
    world.start("order", "payment", "gateway", "worker")
    return world


def post(world: World) -> httpx.Response:
    return world.request("POST", "/orders", json={**BODY, "coordinator": "orchestration"})


def create(world: World, payment_method: str = "pm_card_visa", coordinator: str = "orchestration") -> str:
    return world.post(payment_method, coordinator=coordinator)


def facts(world: World, order_id: str) -> dict[str, Any]:
    """What is known of an order, ids, times and the coordinator's name aside."""
    order, payment = world.order(order_id), world.payment(order_id)
    payment["reason"] = payment["reason"] and payment["reason"].replace(str(payment["id"]), "its id")
    logs = {}
    for role in ("orders", "payments"):
        events = world.rows(
            role,
            "SELECT e.event_type, c.event_type AS cause FROM event_log e"
            " LEFT JOIN event_log c ON c.event_id = e.causation_id WHERE e.order_id = %s ORDER BY e.seq",
            order_id,
        )
        logs[role] = [(event["event_type"], event["cause"]) for event in events]
    apart = {"id", "order_id", "created_at", "updated_at", "coordinator", "transaction_id"}
    return {
        "order": {name: value for name, value in order.items() if name not in apart},
        "payment": {name: value for name, value in payment.items() if name not in apart},
        "charged": payment["transaction_id"] is not None,
        "books": world.books(order_id),
        "logs": logs,
    }


def test_both_coordinators_leave_the_same_facts(running: World) -> None:
    ends = {
        "pm_card_visa": ("PAID", "APPROVED"),
        "pm_card_chargeDeclined": ("CANCELLED", "DECLINED"),
        "pm_error": ("FAILED", "FAILED"),
        "pm_unavailable": ("FAILED", "FAILED"),
        "pm_timeout_then_approve": ("PAID", "APPROVED"),
    }
    pairs = {method: (create(running, method), create(running, method, coordinator="choreography")) for method in ends}
    for method, pair in pairs.items():
        for order_id in pair:
            running.wait_status(order_id, *ends[method])
        twin, original = (facts(running, order_id) for order_id in pair)
        assert twin == original
        assert running.order(pair[0])["coordinator"] == "orchestration"
    twin_of_paid, paid = pairs["pm_card_visa"]
    for order_id in pairs["pm_card_visa"]:
        assert running.request("PATCH", f"/orders/{order_id}/cancel").status_code == 202
        running.wait_status(order_id, "CANCELLED", "REFUNDED")
        assert running.request("PATCH", f"/orders/{order_id}/cancel").status_code == 409
    assert facts(running, twin_of_paid) == facts(running, paid)
    running.wait_at_rest()
    assert running.dead_letters() == []
    lines = running.logged()
    assert "ProviderUnavailable" in {
        line["error"].split(":")[0] for line in lines if line["event"] == "activity_failed"
    }
    assert [line for line in lines if "exception" in line] == [], "nothing here was a fault"


def test_an_orchestrated_order_is_cancelled_while_its_payment_is_under_way(running: World) -> None:
    at_once, under_way = create(running, "pm_slow"), create(running, "pm_slow")
    assert running.request("PATCH", f"/orders/{at_once}/cancel").status_code == 202
    running.wait_status(under_way, "PENDING_PAYMENT", "PROCESSING")
    assert running.request("PATCH", f"/orders/{under_way}", json={"status": "CANCELLED"}).status_code == 202
    for order_id in (at_once, under_way):
        running.wait_status(order_id, "CANCELLED", "CANCELLED")
    running.wait_at_rest()


def test_a_post_may_wait_for_the_end_and_a_repetition_gives_the_same_answer(running: World) -> None:
    body = {**BODY, "coordinator": "orchestration"}
    headers = {"Prefer": "wait=20", "Idempotency-Key": "k1"}
    first = running.request("POST", "/orders", json=body, headers=headers)
    second = running.request("POST", "/orders", json=body, headers=headers)
    assert (first.status_code, first.json()["status"]) == (200, "PAID")
    assert (second.status_code, second.json()) == (200, first.json())
    timeline = running.request("GET", f"/orders/{first.json()['id']}/timeline").json()
    told = [entry["eventType"] for entry in timeline["entries"]]
    assert (timeline["coordinator"], told) == ("orchestration", ["OrderCreated", "PaymentApproved", "OrderPaid"])
    running.wait_at_rest()


@pytest.mark.parametrize("point", ["payment.due", "payment.answered", "ledger.committed"])
def test_a_payment_service_killed_in_a_step_charges_once(world: World, temporal: TemporalServer, point: str) -> None:
    world.env["SAGA_TEMPORAL_ADDRESS"] = temporal.address
    world.start("order", "gateway", "worker")
    world.start("payment", crash_at=point)
    order_id = create(world)
    world.wait_dead("payment")
    world.start("payment")
    world.wait_status(order_id, "PAID", "APPROVED")
    world.wait_at_rest([order_id])


def test_a_saga_is_started_by_the_service_that_works_on_it(running: World, temporal: TemporalServer) -> None:
    until(lambda: temporal.began_beside(create(running)), within=30, what="the order service starts sagas")


@contextmanager
def absent(world: World) -> Iterator[None]:
    """Kill the order service, and start it again at the end."""
    world.kill("order")
    try:
        yield
    finally:
        world.start("order")


@pytest.mark.parametrize("trouble", ["away", "stands still"])
def test_58_orchestrated_orders_are_accepted_while_the_order_service_gives_no_answer(
    running: World, temporal: TemporalServer, trouble: str
) -> None:
    running.wait_status(create(running), "PAID", "APPROVED")
    took, order_ids = [], []
    with absent(running) if trouble == "away" else frozen(running.processes["order"].pid):
        for _ in range(3):
            begin = time.monotonic()
            order_ids.append(create(running))
            took.append(time.monotonic() - begin)
        told = [line["event"] for line in running.logged() if line["event"].startswith("sagas_started_")]
    assert max(took) < 1.5
    assert told == ["sagas_started_directly"], "whoever has not answered in time is not waited for again"
    for order_id in order_ids:
        running.wait_status(order_id, "PAID", "APPROVED")
    running.wait_at_rest(order_ids)
    until(lambda: temporal.began_beside(create(running)), within=30, what="the order service starts sagas again")


def test_without_temporal_only_orchestrated_orders_are_refused_and_nobody_has_to_be_restarted(
    running: World, temporal: TemporalServer
) -> None:
    paid = create(running)
    running.wait_status(paid, "PAID", "APPROVED")
    temporal.kill()
    begin = time.monotonic()
    refused = [post(running), running.request("PATCH", f"/orders/{paid}/cancel")]
    assert time.monotonic() - begin < 4
    assert [answer.status_code for answer in refused] == [503, 503]
    running.wait_status(create(running, coordinator="choreography"), "PAID", "APPROVED")
    for name in ("order", "payment", "gateway"):
        ready = httpx.get(f"http://127.0.0.1:{running.ports[name]}/readyz")
        assert ready.status_code == 200
        assert ready.json()["checks"]["temporal"].startswith("degraded: ")
    temporal.start()
    order_id = until(lambda: accepted(running), what="orchestrated orders are accepted again")
    running.wait_status(order_id, "PAID", "APPROVED")
    running.wait_at_rest()
    of_core = [line["event"] for line in running.logged() if line.get("source", "").startswith("temporalio_")]
    assert 0 < len(of_core) <= 8 * len(running.processes), "an outage is told, and is no flood"


def accepted(world: World) -> str:
    answer = post(world)
    return str(answer.json()["orderId"]) if answer.status_code == 202 else ""
