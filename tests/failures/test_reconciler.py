"""The reconciler ends the sagas that everything else forgot (docs/failures.md, rows 25, 26 and 41)."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.support.messages import cancel, create
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World
from workflows.naming import workflow_id

pytestmark = pytest.mark.temporal


@pytest.fixture
def reconciled(world: World, temporal: TemporalServer) -> World:
    """A world with a sweep every second. The test starts the worker once everything else has failed."""
    world.env |= {
        "SAGA_TEMPORAL_ADDRESS": temporal.address,
        "SAGA_RECONCILE_INTERVAL": "1",
        "SAGA_COMPENSATION_TIMEOUT": "0.5",
    }
    return world


def lose_everything_under_way(world: World) -> None:
    """Lose all messages, as a broker does that loses its disk."""
    for queue in {"order-service", "payment-service", "saga-mirror"} & world.queues().keys():
        world.purge(queue)


def kill_before_the_charge(world: World) -> str:
    """An order whose payment is PROCESSING, and for which neither a process nor a message is left."""
    world.start("order")
    world.start("payment", crash_at="payment.due")
    order_id = str(uuid4())
    world.publish(create(order_id))
    world.wait_dead("payment")
    until(lambda: world.waiting() == 1, what="the message is back in its queue")
    lose_everything_under_way(world)
    return order_id


def test_25_a_payment_left_in_processing_is_charged_once_and_its_order_paid(
    reconciled: World, temporal: TemporalServer
) -> None:
    order_id = kill_before_the_charge(reconciled)
    reconciled.start("payment", "worker")
    reconciled.wait_status(order_id, "PAID", "APPROVED")
    reconciled.wait_at_rest([order_id])
    assert reconciled.books(order_id) == (999, 0)
    assert reconciled.dead_letters() == []
    assert temporal.count("WorkflowType = 'Reconciler' AND ExecutionStatus = 'Failed'") == 0


def test_25_a_payment_left_in_processing_is_never_charged_once_its_order_is_cancelled(reconciled: World) -> None:
    order_id = kill_before_the_charge(reconciled)
    reconciled.publish(cancel(order_id))
    reconciled.wait_status(order_id, "CANCELLED", "PROCESSING")
    until(lambda: reconciled.waiting() == 1, what="the cancellation waits for the payment service")
    lose_everything_under_way(reconciled)
    reconciled.start("payment", "worker")
    reconciled.wait_status(order_id, "CANCELLED", "CANCELLED")
    reconciled.wait_at_rest([order_id])
    assert reconciled.books(order_id) == (0, 0)


def test_25_an_order_past_its_deadline_that_no_mirror_has_heard_of_is_cancelled(
    reconciled: World, temporal: TemporalServer
) -> None:
    reconciled.has_run("payment", "worker")
    reconciled.start("order")
    order_id = str(uuid4())
    reconciled.publish(create(order_id))
    reconciled.wait_status(order_id, "PENDING_PAYMENT")
    until(lambda: reconciled.waiting_for_mirrors() == 1, what="its event is published")
    lose_everything_under_way(reconciled)
    reconciled.start("payment")
    reconciled.start("worker", payment_timeout=1)
    reconciled.wait_status(order_id, "CANCELLED", "CANCELLED")
    order = reconciled.order(order_id)
    assert order
    assert order["cancel_reason"] == "PAYMENT_TIMEOUT"
    reconciled.wait_at_rest([order_id])
    assert reconciled.books(order_id) == (0, 0)
    assert "cancel_order" not in steps_of(temporal, order_id), "a mirror has cancelled it"


def steps_of(temporal: TemporalServer, order_id: str) -> list[str]:
    """The steps that the order's own workflow took."""

    async def question(client: object) -> list[str]:
        history = await client.get_workflow_handle(workflow_id(order_id)).fetch_history()  # type: ignore[attr-defined]
        return [event.activity_task_scheduled_event_attributes.activity_type.name for event in history.events]

    return [name for name in temporal.ask(question) if name]


def test_25_a_cancelled_order_whose_payment_stayed_approved_is_refunded(reconciled: World) -> None:
    reconciled.start("order", "payment")
    order_id = str(uuid4())
    reconciled.publish(create(order_id))
    reconciled.wait_status(order_id, "PAID", "APPROVED")
    reconciled.terminate("payment")
    reconciled.publish(cancel(order_id))
    reconciled.wait_status(order_id, "CANCELLED")
    until(lambda: reconciled.waiting() == 1, what="the cancellation waits")
    lose_everything_under_way(reconciled)
    reconciled.start("payment", "worker")
    reconciled.wait_status(order_id, "CANCELLED", "REFUNDED")
    reconciled.wait_at_rest([order_id])
    assert reconciled.books(order_id) == (999, 999)


def test_25_an_approval_that_the_order_service_never_heard_of_pays_the_order_after_all(reconciled: World) -> None:
    reconciled.has_run("payment")
    reconciled.start("order")
    order_id = str(uuid4())
    reconciled.publish(create(order_id))
    reconciled.wait_status(order_id, "PENDING_PAYMENT")
    reconciled.terminate("order")
    reconciled.start("payment")
    until(lambda: reconciled.payment(order_id)["status"] == "APPROVED", what="it is charged")
    until(lambda: reconciled.waiting() == 1, what="the approval waits")
    lose_everything_under_way(reconciled)
    reconciled.start("order")
    reconciled.start("worker", payment_timeout=1)
    reconciled.wait_status(order_id, "PAID", "APPROVED")
    reconciled.wait_at_rest([order_id])
    assert reconciled.books(order_id) == (999, 0)


UNREADABLE = "UPDATE event_log SET correlation_id = %s WHERE order_id = %s AND event_type = %s RETURNING seq"


@pytest.mark.parametrize("correlation_id", ["", "x" * 300])
def test_41_a_saga_whose_event_nobody_could_read_goes_on(
    reconciled: World, temporal: TemporalServer, correlation_id: str
) -> None:
    """An earlier version left this saga cancelled, under an id that its own reader refused, with the money kept."""
    reconciled.has_run("worker")
    reconciled.start("order", "payment")
    order_id, other = str(uuid4()), str(uuid4())
    reconciled.publish(create(order_id), create(other))
    for each in (order_id, other):
        reconciled.wait_status(each, "PAID", "APPROVED")
    reconciled.terminate("payment")
    reconciled.publish(cancel(order_id))
    reconciled.wait_status(order_id, "CANCELLED")
    until(lambda: reconciled.waiting() == 1, what="the cancellation waits")
    lose_everything_under_way(reconciled)
    assert reconciled.rows("orders", UNREADABLE, correlation_id, order_id, "OrderCancelled")
    assert reconciled.rows("orders", UNREADABLE, correlation_id, other, "OrderPaid")
    reconciled.start("payment", "worker")
    reconciled.wait_status(order_id, "CANCELLED", "REFUNDED")
    reconciled.wait_at_rest([order_id, other])
    assert reconciled.books(order_id) == (999, 999)
    reconciled.start("gateway")
    paid = {"OrderCreated", "PaymentApproved", "OrderPaid"}
    for each, events in ((order_id, paid | {"OrderCancelled", "PaymentRefunded"}), (other, paid)):
        told = [entry["eventType"] for entry in reconciled.request("GET", f"/orders/{each}/timeline").json()["entries"]]
        assert events <= {*told}
    assert reconciled.dead_letters() == []


def test_26_an_orchestrated_saga_that_temporal_has_forgotten_is_brought_to_its_end(
    reconciled: World, temporal: TemporalServer
) -> None:
    reconciled.start("order", "gateway", "worker")
    order_id = reconciled.post(coordinator="orchestration")
    reconciled.wait_status(order_id, "PENDING_PAYMENT")
    temporal.wipe()
    reconciled.terminate("worker")
    temporal.start()
    reconciled.start("payment")
    reconciled.start("worker", payment_timeout=1)
    reconciled.wait_status(order_id, "CANCELLED", "CANCELLED")
    reconciled.wait_at_rest([order_id])


def test_26_the_reconciler_is_scheduled_again_in_a_store_that_was_wiped_beside_its_worker(
    reconciled: World, temporal: TemporalServer
) -> None:
    reconciled.start("order", "payment", "worker")
    temporal.wipe()
    temporal.start()
    swept = "WorkflowType = 'Reconciler' AND ExecutionStatus = 'Completed'"
    until(lambda: temporal.count(swept) > 0, what="a sweep has completed")
