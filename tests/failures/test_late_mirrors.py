"""With SAGA_MIRROR_AFTER quick sagas get no mirror, and all others keep their timelines and their timers."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import pytest
from temporalio.client import WorkflowExecutionStatus

from choreography.broker import Broker
from choreography.declaring import declare
from choreography.outgoing_message import as_message
from choreography.topology import BINDINGS, LATE_EVENTS, LATE_ORDER, MIRROR_QUEUE, Topology, own_exchange
from models.ids import minted_at, uuid7
from models.late_events import LateEvents
from models.message_types import EventType
from models.messages import Envelope
from stack.rights import RIGHTS, definitions, password_hash
from tests.support.messages import create
from tests.support.operating import replay
from tests.support.paths import METHODS, PATHS
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.temporal

AFTER = 5.0  # long enough for a saga on a busy machine to be over
NOTHING: Final = Topology(reads=())
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
    wide = {*BINDINGS[MIRROR_QUEUE]}
    until(lambda: not wide & mirrored.bindings(MIRROR_QUEUE), what="the queue is bound to late events alone")
    assert mirrored.bindings(MIRROR_QUEUE) == {*LATE_EVENTS, (own_exchange(MIRROR_QUEUE), MIRROR_QUEUE)}
    orders = {new_order(): kind for kind in PATHS}
    mirrored.publish(*(create(order_id, METHODS[kind]) for order_id, kind in orders.items()))
    mirrored.wait_at_rest(orders)
    time.sleep(AFTER + 2)
    assert temporal.count(ANY) == 0
    assert mirrored.statistics(MIRROR_QUEUE).get("publish", 0) == 0


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
    mirrored.start("payment", "worker", payment_timeout=60, compensation_timeout=60)
    mirrored.start("order", crash_at="publisher.confirmed:1")
    order_id = new_order()
    mirrored.publish(create(order_id))
    mirrored.wait_dead("order")
    mirrored.wait_payment(order_id, "APPROVED")
    (approved,) = mirrored.rows("payments", "SELECT occurred_at FROM event_log")
    placed = minted_at(UUID(order_id))
    assert placed is not None and (approved["occurred_at"] - placed).total_seconds() < AFTER
    time.sleep(AFTER)
    mirrored.start("order", crash_at="")
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
    until(lambda: temporal.count(OPEN) == 1, what="its mirror waits for the compensation")
    # So docs/operations/upgrading.md finds the mirrors that the version before can't carry on.
    until(lambda: temporal.count(f"{OPEN} AND TemporalChangeVersion = 'read-what-went-past'") == 1, what="it is found")
    mirrored.start("payment", provider_latency_ms=500)  # the cancellation overtakes the charge
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


def test_each_process_may_do_with_late_events_what_it_must_with_its_own_user(world: World) -> None:
    passwords: dict[str, str] = {name: f"password of {name}" for name in RIGHTS}
    hashes = {name: password_hash(password) for name, password in passwords.items()}
    world.import_definitions(definitions(hashes, vhost=world.name))
    world.has_run("order", "payment", "worker")  # its queue is bound to every event
    paid, approved = (old_event(kind) for kind in (EventType.ORDER_PAID, EventType.PAYMENT_APPROVED))
    late = LateEvents(AFTER)
    to_mirrors = replace(as_message(paid, mandatory=True), routing_key=LATE_ORDER.routing_key)

    async def act() -> None:
        async with connected(world, "worker", passwords, Topology(reads=(MIRROR_QUEUE,), only_late=True)):
            assert world.bindings(MIRROR_QUEUE) == {*LATE_EVENTS, (own_exchange(MIRROR_QUEUE), MIRROR_QUEUE)}
        async with connected(world, "order", passwords) as broker:
            assert await broker.publish_all([to_mirrors, as_message(paid, mandatory=True, late=late)]) == [None, None]
        async with connected(world, "payment", passwords) as broker:
            await broker.publish(as_message(approved, late=late))

    asyncio.run(act())
    until(lambda: world.waiting_for_mirrors() == 3, what="the mirrors' queue has all three")


def test_with_rights_of_a_version_before_the_mirrors_queue_stays_as_it_was_and_late_orders_are_refused(
    world: World,
) -> None:
    passwords: dict[str, str] = {name: f"password of {name}" for name in RIGHTS}
    made = definitions({name: password_hash(password) for name, password in passwords.items()}, vhost=world.name)
    for each in made["topic_permissions"]:
        each |= {kind: re.sub(r"\|?late\\\.\w+", "", each[kind]) for kind in ("write", "read")}
    world.import_definitions(made)
    world.has_run("order", "payment", "worker")
    paid = as_message(old_event(EventType.ORDER_PAID), mandatory=True)

    async def act() -> None:
        worker = Topology(reads=(MIRROR_QUEUE,), only_late=True)
        broker = Broker(world.amqp_url_as("worker", passwords["worker"]), name="worker", topology=worker)
        running = asyncio.create_task(broker.run())
        while "late.order" not in broker.standing:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])
        async with connected(world, "order", passwords) as broker:
            (error,) = await broker.publish_all([replace(paid, routing_key=LATE_ORDER.routing_key)])
            assert error is not None
            while not broker.connected:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
            assert await broker.publish_all([paid]) == [None]

    asyncio.run(asyncio.wait_for(act(), 60))
    assert world.bindings(MIRROR_QUEUE) == {*BINDINGS[MIRROR_QUEUE], (own_exchange(MIRROR_QUEUE), MIRROR_QUEUE)}


def test_what_a_mirror_missed_while_the_setting_was_switched_on_is_told_by_a_replay(
    mirrored: World, temporal: TemporalServer
) -> None:
    mirrored.start("order", "worker", mirror_after=0)
    order_id = new_order()
    mirrored.publish(create(order_id))
    wait_open(temporal, order_id)
    mirrored.terminate("order", "worker")
    after = 12.0  # so that the saga is young until it is over
    mirrored.start("order", "payment", "worker", mirror_after=after)
    mirrored.wait_status(order_id, "PAID", "APPROVED")
    placed = minted_at(UUID(order_id))
    assert placed is not None
    ended = mirrored.order(order_id)["updated_at"]
    assert (ended - placed).total_seconds() < after
    time.sleep(after)
    assert temporal.count(OPEN) == 1
    replay(mirrored, "order", "payment")
    wait_closed(temporal, order_id, PATHS["paid"])


def old_event(event_type: EventType) -> Envelope:
    """An event of a saga that began long ago."""
    now = datetime.now(UTC)
    order_id = str(uuid7(now - timedelta(minutes=1)))
    return Envelope(
        event_type=event_type,
        event_id=uuid4(),
        occurred_at=now,
        correlation_id="c",
        payload={"orderId": order_id, "transactionId": "t"},
    )


@asynccontextmanager
async def connected(
    world: World, user: str, passwords: Mapping[str, str], topology: Topology = NOTHING
) -> AsyncIterator[Broker]:
    broker = Broker(world.amqp_url_as(user, passwords[user]), name=user, topology=topology)
    running = asyncio.create_task(broker.run())
    try:
        async with asyncio.timeout(60):
            while not broker.connected:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
            yield broker
    finally:
        running.cancel()
        await asyncio.wait([running])
