"""With SAGA_MIRROR_AFTER quick sagas get no mirror, and all others keep their timelines and their timers."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from temporalio.client import WorkflowExecutionStatus

from choreography.declaring import declare
from choreography.topology import LATE_EVENTS, MIRROR_QUEUE, PAYMENT_QUEUE, Topology, own_exchange
from models.ids import uuid7
from tests.support.messages import cancel, create
from tests.support.paths import METHODS, PATHS
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.temporal

AFTER = 2.0
ANY = "WorkflowType = 'SagaMirror'"
OPEN = f"{ANY} AND ExecutionStatus = 'Running'"


@pytest.fixture
def mirrored(world: World, temporal: TemporalServer) -> World:
    """A world whose worker has told every mirror until now, and whose processes have the setting now."""
    world.env["SAGA_TEMPORAL_ADDRESS"] = temporal.address
    world.env["SAGA_MIRROR_AFTER"] = str(AFTER)
    world.has_run("order", "payment", "worker")
    return world


def new_order() -> str:
    return str(uuid7(datetime.now(UTC)))


def wait_open(temporal: TemporalServer, order_id: str) -> None:
    until(lambda: temporal.run_of(order_id) is not None, what="its mirror is open")


def wait_closed(temporal: TemporalServer, order_id: str, events: list[str]) -> None:
    """Wait until the order's mirror has closed with a timeline of these events."""

    def closed() -> bool:
        return (temporal.run_of(order_id) or ("", None))[1] is WorkflowExecutionStatus.COMPLETED

    until(closed, what="its mirror has closed")
    assert [entry["eventType"] for entry in temporal.timeline(order_id)["entries"]] == events


def test_quick_sagas_get_no_mirror_and_their_events_go_past_its_queue(
    mirrored: World, temporal: TemporalServer
) -> None:
    mirrored.start("order", "payment", "worker", payment_timeout=60, compensation_timeout=60)
    assert mirrored.bindings(MIRROR_QUEUE) == {*LATE_EVENTS, (own_exchange(MIRROR_QUEUE), MIRROR_QUEUE)}
    orders = {new_order(): kind for kind in PATHS for _ in range(5)}
    mirrored.publish(*(create(order_id, METHODS[kind]) for order_id, kind in orders.items()))
    mirrored.wait_at_rest(orders)
    refunded = next(order_id for order_id, kind in orders.items() if kind == "paid")
    mirrored.publish(cancel(refunded))
    mirrored.wait_status(refunded, "CANCELLED", "REFUNDED")
    time.sleep(2 * AFTER)
    assert temporal.count(ANY) == 0
    until(lambda: mirrored.statistics(MIRROR_QUEUE).get("ack", 0) == 2, what="the feed has had the compensation")
    assert mirrored.statistics(MIRROR_QUEUE)["publish"] == 2


def test_a_saga_that_lasts_gets_a_mirror_that_hears_the_rest(mirrored: World, temporal: TemporalServer) -> None:
    mirrored.start("order", "worker", payment_timeout=60, compensation_timeout=60)
    order_id = new_order()
    mirrored.publish(create(order_id))
    wait_open(temporal, order_id)
    mirrored.start("payment")
    mirrored.wait_status(order_id, "PAID", "APPROVED")
    wait_closed(temporal, order_id, PATHS["paid"])


def test_a_mirror_that_begins_late_reads_what_it_has_not_heard(mirrored: World, temporal: TemporalServer) -> None:
    """The payment is approved at once, and the order service hears of it only after a while."""
    mirrored.start("order", "worker", payment_timeout=60, compensation_timeout=60)
    order_id = new_order()
    mirrored.publish(create(order_id))
    until(lambda: mirrored.queues().get(PAYMENT_QUEUE) == 1, what="its creation waits for the payment service")
    mirrored.kill("order")
    mirrored.start("payment")
    mirrored.wait_payment(order_id, "APPROVED")
    time.sleep(AFTER)
    mirrored.start("order")
    mirrored.wait_status(order_id, "PAID", "APPROVED")
    wait_closed(temporal, order_id, PATHS["paid"])
    mirrored.prove_invariants()


def test_the_timeout_of_an_order_is_kept_while_the_payment_service_is_away(
    mirrored: World, temporal: TemporalServer
) -> None:
    mirrored.start("order", "worker", payment_timeout=AFTER, compensation_timeout=AFTER)
    order_id = new_order()
    mirrored.publish(create(order_id))
    mirrored.wait_status(order_id, "CANCELLED")
    assert mirrored.order(order_id)["cancel_reason"] == "PAYMENT_TIMEOUT"
    assert temporal.count(OPEN) == 1
    mirrored.start("payment")
    mirrored.wait_at_rest([order_id])
    wait_closed(temporal, order_id, ["OrderCreated", "OrderCancelled", "PaymentCancelled"])
    assert mirrored.books(order_id) == (0, 0)


def test_of_two_order_services_one_tells_and_the_other_takes_over(mirrored: World, temporal: TemporalServer) -> None:
    mirrored.amqp(lambda channel: declare(channel, Topology(reads=(MIRROR_QUEUE,), only_late=True)))
    mirrored.start("order", "order2")

    def told(copies: int) -> None:
        until(lambda: mirrored.waiting_for_mirrors() == copies, what=f"{copies} copies wait for the mirrors")

    mirrored.publish(create(new_order()))
    told(1)
    time.sleep(AFTER)
    told(1)
    (leader,) = [name for name in ("order", "order2") if "looks_for_late_orders" in mirrored.log(name)]
    mirrored.kill(leader)
    mirrored.publish(create(new_order()))
    told(3)  # whoever leads anew tells the first one again
