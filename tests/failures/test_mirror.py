"""Mirrors stay complete while workers and Temporal are killed and wiped (docs/failures.md, rows 22, 26 and 27)."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
from temporalio.client import WorkflowExecutionStatus

from choreography.topology import MIRROR_QUEUE
from tests.support.messages import cancel, create, envelope
from tests.support.operating import replay
from tests.support.paths import METHODS, PATHS
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.temporal


@pytest.fixture
def mirrored(world: World, temporal: TemporalServer) -> World:
    """A world whose processes know where Temporal is."""
    world.env["SAGA_TEMPORAL_ADDRESS"] = temporal.address
    return world


def create_each(world: World, count: int = 1) -> dict[str, str]:
    """Orders of every kind, by id."""
    orders = {str(uuid4()): kind for _ in range(count) for kind in PATHS}
    world.publish(*(create(order_id, METHODS[kind]) for order_id, kind in orders.items()))
    return orders


def wait_mirrored(world: World, temporal: TemporalServer, runs: int) -> None:
    """Wait until every event is with its mirror, and all mirrors have closed."""

    def done() -> bool:
        state = {
            "waiting": world.waiting_for_mirrors(),
            "running": temporal.count("WorkflowType = 'SagaMirror' AND ExecutionStatus = 'Running'"),
            "missing": runs - temporal.count("WorkflowType = 'SagaMirror' AND ExecutionStatus = 'Completed'"),
        }
        assert not any(state.values()), state
        return True

    until(done, what="all mirrors have closed")


def wait_acknowledged(world: World, events: int) -> None:
    """Wait until the feed has acknowledged so many events."""

    def done() -> bool:
        return world.statistics(MIRROR_QUEUE).get("ack", 0) >= events

    until(done, what=f"{events} events are acknowledged")


def prove_timelines(world: World, temporal: TemporalServer, orders: dict[str, str]) -> dict[str, Any]:
    """Prove that every timeline has every logged event exactly once, in causal order."""
    timelines = {order_id: temporal.timeline(order_id) for order_id in orders}
    for order_id, kind in orders.items():
        entries = timelines[order_id]["entries"]
        assert [entry["eventType"] for entry in entries] == PATHS[kind]
        logged = [row for role in ("orders", "payments") for row in logs(world, role, order_id)]
        assert {entry["eventId"] for entry in entries} == {str(row["event_id"]) for row in logged}
        causes = [entry["cause"]["causationId"] for entry in entries[1:]]
        assert causes == [entry["eventId"] for entry in entries[:-1]]
    return timelines


def logs(world: World, role: str, order_id: str) -> list[dict[str, Any]]:
    return world.rows(role, "SELECT * FROM event_log WHERE order_id = %s", order_id)


def test_every_saga_has_one_closed_mirror_with_a_complete_timeline(mirrored: World, temporal: TemporalServer) -> None:
    mirrored.start("order", "payment", "worker")
    orders = create_each(mirrored, 10)
    mirrored.wait_at_rest(orders)
    wait_mirrored(mirrored, temporal, len(orders))
    prove_timelines(mirrored, temporal, orders)
    assert temporal.count("OrderStatus = 'PAID' AND PaymentStatus = 'APPROVED'") == 10
    assert temporal.count("CancelReason = 'PAYMENT_DECLINED'") == 10


def test_22_timers_that_fire_as_approvals_commit_leave_every_order_one_outcome(
    mirrored: World, temporal: TemporalServer
) -> None:
    """A third of the approvals come long before the timers, a third as they fire, and a third long after."""
    mirrored.start("order")
    for name, latency in {"payment": 200, "payment2": 4000, "payment3": 7000}.items():
        mirrored.start(name, provider_latency_ms=latency, provider_timeout=10)
    mirrored.start("worker", payment_timeout=4, compensation_timeout=3)
    orders = [str(uuid4()) for _ in range(60)]
    mirrored.publish(*map(create, orders))
    mirrored.wait_at_rest(orders)
    ends = {order_id: mirrored.order(order_id) or {} for order_id in orders}
    assert {(end["status"], end["cancel_reason"]) for end in ends.values()} == {
        ("PAID", None),
        ("CANCELLED", "PAYMENT_TIMEOUT"),
    }
    running = "WorkflowType = 'SagaMirror' AND ExecutionStatus = 'Running'"
    until(lambda: temporal.count(running) == 0, what="all mirrors have closed")
    for order_id, end in ends.items():
        timeline = temporal.timeline(order_id)
        payment = mirrored.payment(order_id) or {}
        assert (timeline["orderStatus"], timeline["paymentStatus"]) == (end["status"], payment["status"])
    assert mirrored.dead_letters() == []


def test_26_sagas_end_without_temporal_and_mirrors_catch_up_when_it_is_there(
    mirrored: World, temporal: TemporalServer
) -> None:
    temporal.kill()
    mirrored.has_run("worker")
    mirrored.start("order", "payment")
    mirrored.launch("worker")
    orders = create_each(mirrored, 10)
    mirrored.wait_at_rest(orders)
    until(lambda: mirrored.waiting_for_mirrors() >= 3 * len(orders), what="the broker keeps all events")
    temporal.start()
    mirrored.wait_ready("worker")
    wait_mirrored(mirrored, temporal, len(orders))
    prove_timelines(mirrored, temporal, orders)


def test_26_temporal_killed_in_mid_flight_loses_no_event(mirrored: World, temporal: TemporalServer) -> None:
    mirrored.start("order", "payment", "worker", provider_latency_ms=3000)
    orders = create_each(mirrored, 10)
    until(lambda: temporal.count("OrderStatus = 'PENDING_PAYMENT'"), what="the first mirrors are open")
    temporal.kill()
    mirrored.wait_at_rest(orders)
    temporal.start()
    wait_mirrored(mirrored, temporal, len(orders))
    prove_timelines(mirrored, temporal, orders)


def test_26_a_replay_into_a_wiped_temporal_rebuilds_every_timeline(mirrored: World, temporal: TemporalServer) -> None:
    mirrored.start("order", "payment", "worker")
    orders = create_each(mirrored, 3)
    mirrored.wait_at_rest(orders)
    wait_mirrored(mirrored, temporal, len(orders))
    before = prove_timelines(mirrored, temporal, orders)
    temporal.wipe()
    temporal.start()
    replay(mirrored, "order", "payment")
    wait_mirrored(mirrored, temporal, len(orders))
    assert prove_timelines(mirrored, temporal, orders) == before
    mirrored.prove_invariants()


def test_27_a_worker_killed_before_it_acknowledges_opens_no_second_run(
    mirrored: World, temporal: TemporalServer
) -> None:
    mirrored.has_run("worker")
    mirrored.start("order", "payment")
    mirrored.launch("worker", crash_at="mirror.told:4")
    orders = create_each(mirrored, 2)
    mirrored.wait_dead("worker")
    mirrored.start("worker")
    mirrored.wait_at_rest(orders)
    wait_mirrored(mirrored, temporal, len(orders))
    prove_timelines(mirrored, temporal, orders)


def test_27_a_replay_into_closed_mirrors_opens_no_second_run(mirrored: World, temporal: TemporalServer) -> None:
    mirrored.start("order", "payment", "worker")
    orders = create_each(mirrored, 2)
    mirrored.wait_at_rest(orders)
    wait_mirrored(mirrored, temporal, len(orders))
    before = prove_timelines(mirrored, temporal, orders)
    told = sum(len(PATHS[kind]) for kind in orders.values())
    wait_acknowledged(mirrored, told)
    replay(mirrored, "order")
    wait_acknowledged(mirrored, told + 2 * len(orders))  # each order's first event, and its last
    wait_mirrored(mirrored, temporal, len(orders))
    assert prove_timelines(mirrored, temporal, orders) == before


def test_a_paid_order_cancelled_after_temporal_has_forgotten_it_has_a_whole_timeline(
    mirrored: World, temporal: TemporalServer
) -> None:
    mirrored.start("order", "payment", "worker")
    order_id = str(uuid4())
    mirrored.publish(create(order_id))
    mirrored.wait_status(order_id, "PAID", "APPROVED")
    wait_mirrored(mirrored, temporal, 1)
    temporal.forget(order_id)
    mirrored.publish(cancel(order_id))
    mirrored.wait_status(order_id, "CANCELLED", "REFUNDED")
    closed = WorkflowExecutionStatus.COMPLETED
    until(lambda: (temporal.run_of(order_id) or ("", None))[1] is closed, what="its mirror is complete")
    kinds = [entry["eventType"] for entry in temporal.timeline(order_id)["entries"]]
    assert kinds == ["OrderCreated", "PaymentApproved", "OrderPaid", "OrderCancelled", "PaymentRefunded"]


def test_a_standby_worker_takes_over_from_a_killed_one(mirrored: World, temporal: TemporalServer) -> None:
    mirrored.start("order", "payment", "worker", "worker2")
    mirrored.kill("worker")
    orders = create_each(mirrored, 2)
    mirrored.wait_at_rest(orders)
    wait_mirrored(mirrored, temporal, len(orders))
    prove_timelines(mirrored, temporal, orders)


def test_the_cancellation_of_a_paid_order_is_followed_to_its_refund(mirrored: World, temporal: TemporalServer) -> None:
    mirrored.start("order", "payment", "worker")
    order_id = str(uuid4())
    mirrored.publish(create(order_id))
    mirrored.wait_status(order_id, "PAID", "APPROVED")
    wait_mirrored(mirrored, temporal, 1)
    mirrored.publish(cancel(order_id))
    mirrored.wait_status(order_id, "CANCELLED", "REFUNDED")
    wait_mirrored(mirrored, temporal, 2)
    kinds = [entry["eventType"] for entry in temporal.timeline(order_id)["entries"]]
    assert kinds == ["OrderCreated", "PaymentApproved", "OrderPaid", "OrderCancelled", "PaymentRefunded"]


def test_an_order_whose_payment_service_is_away_is_cancelled_when_its_time_is_up(
    mirrored: World, temporal: TemporalServer
) -> None:
    mirrored.start("order")
    mirrored.start("worker", payment_timeout=0.5, compensation_timeout=1)
    order_id = str(uuid4())
    mirrored.publish(create(order_id))
    mirrored.wait_status(order_id, "CANCELLED")
    assert mirrored.order(order_id)["cancel_reason"] == "PAYMENT_TIMEOUT"
    mirrored.start("payment")
    mirrored.wait_at_rest([order_id])
    wait_mirrored(mirrored, temporal, 1)
    assert mirrored.books(order_id) == (0, 0)


def test_a_cancellation_that_the_payment_service_never_heard_of_is_published_again(
    mirrored: World, temporal: TemporalServer
) -> None:
    mirrored.has_run("worker")
    mirrored.start("order", "payment")
    order_id = str(uuid4())
    mirrored.publish(create(order_id))
    mirrored.wait_status(order_id, "PAID", "APPROVED")
    mirrored.terminate("payment")
    mirrored.publish(cancel(order_id))
    mirrored.wait_status(order_id, "CANCELLED")
    until(lambda: mirrored.waiting() == 1, what="the cancellation waits")
    mirrored.purge("payment-service")  # as a broker that loses its disk would
    mirrored.start("payment")
    mirrored.start("worker", compensation_timeout=0.5)
    mirrored.wait_status(order_id, "CANCELLED", "REFUNDED")
    mirrored.wait_at_rest([order_id])
    wait_mirrored(mirrored, temporal, 1)
    assert mirrored.books(order_id) == (999, 999)


def test_what_no_mirror_can_read_becomes_a_dead_letter_and_holds_nobody_up(
    mirrored: World, temporal: TemporalServer
) -> None:
    mirrored.start("order", "payment", "worker")
    shipped = envelope("OrderShipped", {"orderId": str(uuid4())})
    orphan = envelope("OrderPaid", {"orderId": "not an id"})
    mirrored.publish(
        ("orders.exchange", "order.paid", b"poison"),
        ("orders.exchange", "order.paid", orphan),
        ("orders.exchange", "order.shipped", shipped),
    )
    orders = create_each(mirrored, 1)
    mirrored.wait_at_rest(orders)
    wait_acknowledged(mirrored, 3 + 3 * len(orders))
    letters = [letter for letter in mirrored.dead_letters() if letter.queue == MIRROR_QUEUE]
    assert [letter.reason for letter in letters] == ["MALFORMED", "MALFORMED"]
    assert [letter.routing_key for letter in letters] == ["order.paid", "order.paid"]
    prove_timelines(mirrored, temporal, orders)
    shown = temporal.timeline(shipped["payload"]["orderId"])
    assert shown["entries"] == []


def test_events_of_orchestrated_sagas_open_no_mirror(mirrored: World, temporal: TemporalServer) -> None:
    mirrored.start("order", "worker")
    event = envelope("OrderPaid", {"orderId": str(uuid4())}, coordinator="orchestration")
    mirrored.publish(("orders.exchange", "order.paid", json.dumps(event).encode()))
    wait_acknowledged(mirrored, 1)
    assert temporal.count("WorkflowType = 'SagaMirror'") == 0


def test_a_worker_told_to_stop_stops_at_once_even_without_temporal(mirrored: World, temporal: TemporalServer) -> None:
    temporal.kill()
    mirrored.start("order")
    mirrored.launch("worker")
    url = f"http://127.0.0.1:{mirrored.ports['worker']}"

    def checks() -> Any:
        try:
            answer = httpx.get(f"{url}/readyz", timeout=5)
        except httpx.TransportError:
            return None  # it does not listen yet
        assert answer.status_code == 503
        found = answer.json()["checks"]
        return found if found["broker"] == "ok" else None

    assert until(checks, what="the broker is there")["temporal"].startswith("does not answer")
    assert httpx.get(f"{url}/healthz").status_code == 200
    mirrored.terminate("worker")
    assert mirrored.processes["worker"].returncode == 0, mirrored.log("worker")[-2000:]
