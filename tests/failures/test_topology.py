"""Missing queues and bindings are declared anew, and messages are kept meanwhile (docs/failures.md, rows 43 and 48)."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelPreconditionFailed

from choreography.topology import (
    BINDINGS,
    INBOXES,
    MIRROR_QUEUE,
    ORDER_QUEUE,
    PAYMENT_QUEUE,
    SHARED_EXCHANGES,
    Topology,
    own_exchange,
)
from tests.support import http
from tests.support.messages import BODY, ORDERS, USER, cancel, create, order_event, payment_event
from tests.support.waiting import until
from tests.support.world import World

RETRIES = [f"retry-in.{delay}ms" for delay in (100, 200, 400)]
OWN = {
    "gateway": set(),
    "order": {ORDER_QUEUE, *(f"{ORDER_QUEUE}.{retry}" for retry in RETRIES), f"{ORDER_QUEUE}.dead-letters"},
    "payment": {PAYMENT_QUEUE, *(f"{PAYMENT_QUEUE}.{retry}" for retry in RETRIES), f"{PAYMENT_QUEUE}.dead-letters"},
    "worker": {MIRROR_QUEUE, f"{MIRROR_QUEUE}.dead-letters"},
}


def test_43_each_process_declares_the_queues_that_it_reads_and_no_others(world: World) -> None:
    declared: set[str] = set()
    for process, own in OWN.items():
        # A worker is never ready here: it has no Temporal.
        (world.launch if process == "worker" else world.start)(process)
        until(lambda: "broker_connected" in world.log(process), within=60, what=f"the {process} is connected")  # noqa: B023
        declared |= own
        until(lambda: world.queues().keys() == declared, what=f"the queues of the {process} are there, and no others")  # noqa: B023
        assert world.dead_letters() == []  # of services that have never run, too
    for queue in INBOXES:
        assert world.bindings(queue) == {*BINDINGS[queue], (own_exchange(queue), queue)}


def test_43_bindings_that_go_missing_under_running_processes_are_declared_anew(world: World) -> None:
    """All bindings go missing while nothing is published, so that no failure tells of it."""
    world.start("order", "payment")
    wanted = {queue: world.bindings(queue) for queue in world.queues()}
    assert wanted[PAYMENT_QUEUE] == {*BINDINGS[PAYMENT_QUEUE], (own_exchange(PAYMENT_QUEUE), PAYMENT_QUEUE)}

    async def unbind(channel: AbstractChannel) -> None:
        for name, bindings in wanted.items():
            queue = await channel.get_queue(name, ensure=False)
            for exchange, routing_key in bindings:
                await queue.unbind(exchange, routing_key)

    world.amqp(unbind)
    until(lambda: {queue: world.bindings(queue) for queue in wanted} == wanted, what="all are bound again")
    order_id = str(uuid4())
    world.publish(create(order_id), (ORDERS, "order.cancel.requested", b"poison"))
    world.wait_status(order_id, "PAID", "APPROVED")
    until(lambda: len(world.dead_letters()) == 1, what="the poison is a dead letter")
    world.wait_at_rest([order_id])


def test_43_queues_and_exchanges_that_go_missing_come_back_with_everybodys_bindings(world: World) -> None:
    world.start("order", "payment", "gateway")
    wanted = {queue: world.bindings(queue) for queue in world.queues()}

    async def delete(channel: AbstractChannel) -> None:
        for exchange in (*SHARED_EXCHANGES, own_exchange(ORDER_QUEUE)):
            await channel.exchange_delete(exchange)
        for queue in ("order-service.retry-in.100ms", "order-service.dead-letters", "payment-service"):
            await channel.queue_delete(queue)

    def restored() -> bool:
        assert world.queues().keys() == wanted.keys()
        return {queue: world.bindings(queue) for queue in wanted} == wanted

    world.amqp(delete)
    until(restored, within=30, what="all are there, and bound again")
    order_id = until(lambda: accepted(world), what="orders are accepted again")
    world.wait_status(order_id, "PAID", "APPROVED")
    world.wait_at_rest([order_id])


def accepted(world: World) -> str:
    answer = world.request("POST", "/orders", json=BODY)
    return str(answer.json()["orderId"]) if answer.status_code == 202 else ""


def test_43_a_queue_that_cannot_be_declared_makes_its_process_unready_and_is_named(world: World) -> None:
    world.start("order")
    queue = "order-service.dead-letters"

    async def declare_otherwise(channel: AbstractChannel) -> None:
        await channel.queue_delete(queue)
        with suppress(ChannelPreconditionFailed):  # the service was quicker
            await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "classic"})

    def unready() -> str | None:
        if queue not in world.log("order"):
            world.amqp(declare_otherwise)
        answer = httpx.get(f"http://127.0.0.1:{world.ports['order']}/readyz", timeout=5)
        return str(answer.json()["checks"]["broker"]) if answer.status_code == 503 else None

    assert queue in until(unready, what="it is not ready")
    world.amqp(lambda channel: channel.queue_delete(queue))
    world.wait_ready("order")


def test_43_commands_are_refused_until_the_order_service_has_run_once(world: World) -> None:
    world.start("gateway", "payment")
    for method, path, body in (("POST", "/orders", BODY), ("PATCH", f"/orders/{uuid4()}/cancel", None)):
        answer = world.request(method, path, json=body)
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) >= 1
        assert "order service has never run" in answer.json()["detail"]
    world.start("order")
    first = world.post()
    world.wait_status(first, "PAID", "APPROVED")
    world.terminate("order")
    second = world.post()  # its queue keeps it now
    world.start("order")
    world.wait_status(second, "PAID", "APPROVED")
    world.wait_at_rest([first, second])
    assert world.rows("orders", "SELECT count(*) n FROM orders")[0]["n"] == 2


def replayed(world: World, service: str, **conditions: Any) -> httpx.Response:
    return http.client(timeout=10).post(
        f"http://127.0.0.1:{world.ports[service]}/events/replay",
        json=conditions,
        headers={"Authorization": f"Bearer {world.env['SAGA_INTERNAL_TOKEN']}"},
    )


def outbox(world: World) -> list[str]:
    rows = world.rows("orders", "SELECT event_type FROM outbox JOIN event_log USING (seq) ORDER BY seq")
    return [row["event_type"] for row in rows]


@pytest.mark.parametrize("mirrored", [False, True])
def test_43_what_nobody_reads_yet_stays_in_the_outbox_and_is_published_when_its_reader_is_there(
    world: World, mirrored: bool
) -> None:
    """With mirrors, RabbitMQ reports order.created as routed, although no payment service has ever run."""
    if mirrored:
        world.has_run("worker")
    world.start("order")
    ids = [str(uuid4()) for _ in range(20)]
    world.publish(*map(create, ids))
    until(lambda: len(outbox(world)) == len(ids), what="every order is stored")
    answer = replayed(world, "order", eventType="OrderCreated")
    assert answer.status_code == 503, answer.text
    assert "payment-service" in answer.json()["detail"] or "order.created" in answer.json()["detail"]
    until(lambda: "relay_failed" in world.log("order"), what="the relay has tried")
    wait_for_many_sweeps(world)
    assert len(outbox(world)) == len(ids)
    lines = world.log("order").count("publish_failed") + world.log("order").count("relay_failed")
    assert lines <= 4, "it says so over and over"
    if mirrored:  # by the fast path, by the relay, and by the replay; and twenty others
        until(lambda: world.waiting_for_mirrors() >= len(ids) + 20, what="mirrors have them")
        assert world.waiting_for_mirrors() <= 3 * len(ids) + 20
    world.start("payment")
    until(lambda: outbox(world) == [], what="the outbox is empty")
    for order_id in ids:
        world.wait_status(order_id, "PAID", "APPROVED")
        assert world.books(order_id) == (999, 0)
    world.wait_at_rest(ids)
    answer = replayed(world, "order", eventType="OrderCreated")
    assert (answer.status_code, answer.json()) == (200, {"replayed": len(ids)})


_LOG_ANOTHER = """
    WITH logged AS (
        INSERT INTO event_log (event_id, order_id, event_type, occurred_at, correlation_id, coordinator, payload)
        SELECT gen_random_uuid(), id, 'OrderPaid', now(), 'c', 'orchestration', jsonb_build_object('orderId', id)
        FROM (SELECT gen_random_uuid() AS id) AS fresh RETURNING seq, order_id
    )
    INSERT INTO outbox SELECT seq, order_id, true FROM logged RETURNING seq"""


def wait_for_many_sweeps(world: World) -> None:
    """Wait until the relay has published twenty events that have a route, one after the other."""
    for _ in range(20):
        world.rows("orders", _LOG_ANOTHER)
        until(lambda: "OrderPaid" not in outbox(world), what="it is published although others can't be")
    world.rows("orders", "DELETE FROM event_log WHERE coordinator = 'orchestration' RETURNING seq")


def test_43_an_order_that_was_cancelled_before_its_reader_was_there_is_never_charged(world: World) -> None:
    world.has_run("worker")
    world.start("order")
    order_id = str(uuid4())
    world.publish(create(order_id))
    until(lambda: "relay_failed" in world.log("order"), what="its creation has no reader")
    world.publish(cancel(order_id))
    until(lambda: outbox(world) == ["OrderCreated", "OrderCancelled"], what="both are kept")
    until(lambda: world.log("order").count("relay_failed") >= 2, what="its cancellation has no reader")
    until(lambda: world.waiting_for_mirrors() >= 2, what="mirrors have both")
    world.start("payment")
    until(lambda: outbox(world) == [], what="the outbox is empty")
    until(lambda: world.payment(order_id)["status"] == "CANCELLED", what="there is a tombstone")
    world.wait_at_rest([order_id])
    assert world.books(order_id) == (0, 0)


# 48


def test_48_nothing_fills_up_for_a_process_that_was_never_there_and_it_starts_with_what_is_left_to_do(
    world: World,
) -> None:
    """An original payment service has settled these orders; ours, started after it, charges none of them."""
    original = "payment.order-created.queue"
    world.start("order")

    async def bind(channel: AbstractChannel) -> None:
        queue = await channel.declare_queue(original, durable=True)
        await queue.bind(ORDERS, "order.created")

    async def hear(channel: AbstractChannel) -> list[dict[str, Any]]:
        queue, heard = await channel.get_queue(original), []
        while message := await queue.get(no_ack=True, fail=False):
            heard.append(json.loads(message.body))
        return heard

    world.amqp(bind)
    ids = [str(uuid4()) for _ in range(10)]
    world.publish(*map(create, ids))
    until(lambda: len(world.rows("orders", "SELECT 1 FROM orders")) == len(ids), what="every order is stored")
    until(lambda: outbox(world) == [], what="the original payment service has a queue: all is published")
    assert sorted(event["payload"]["orderId"] for event in world.amqp(hear)) == sorted(ids)
    world.publish(*(payment_event("PaymentApproved", order_id, transactionId="theirs") for order_id in ids))
    for order_id in ids:
        world.wait_status(order_id, "PAID")
    assert PAYMENT_QUEUE not in world.queues()
    world.start("payment")
    last = str(uuid4())
    world.publish(create(last))
    world.wait_status(last, "PAID", "APPROVED")
    assert [str(row["order_id"]) for row in world.rows("payments", "SELECT order_id FROM payments")] == [last]
    assert world.rows("payments", "SELECT 1 FROM provider_charges WHERE captured > 0") != []
    assert len(world.rows("payments", "SELECT 1 FROM provider_charges")) == 1


@pytest.mark.parametrize("absent", ["order", "payment"])
def test_48_a_queue_that_filled_up_twice_over_for_an_absent_process_has_each_effect_once(
    world: World, absent: str
) -> None:
    """While the process is away, clients, a replay and redeliveries send everything again and again."""
    world.has_run("order", "payment", "worker")
    other = {"order": "payment", "payment": "order"}[absent]
    world.start(other)
    ids = [str(uuid4()) for _ in range(20)]
    messages = [create(order_id) for order_id in ids]
    world.publish(*messages, *messages)
    if absent == "payment":
        until(lambda: len(world.rows("orders", "SELECT 1 FROM orders")) == len(ids), what="every order is stored")
        assert replayed(world, "order", eventType="OrderCreated").json() == {"replayed": len(ids)}
        until(lambda: world.waiting() >= 2 * len(ids), what="its queue has filled up")
        world.publish(*(order_event("OrderCreated", order_id, userId=USER, total=999) for order_id in ids))
    else:
        until(lambda: world.waiting() == 2 * len(ids), what="its queue has filled up")
    world.start(absent)
    for order_id in ids:
        world.wait_status(order_id, "PAID", "APPROVED")
        assert world.books(order_id) == (999, 0)
    world.wait_at_rest(ids)
    assert len(world.rows("orders", "SELECT 1 FROM orders")) == len(ids)
    assert world.dead_letters() == []


def test_43_an_inbox_of_a_version_before_is_taken_as_it_is(world: World) -> None:
    [inbox] = [queue for queue in Topology(reads=(ORDER_QUEUE,)).queues if queue.name == ORDER_QUEUE]

    async def as_before(channel: AbstractChannel) -> None:
        arguments: dict[str, Any] = {"x-queue-type": "quorum", **(inbox.earlier or {})}
        await channel.declare_queue(ORDER_QUEUE, durable=True, arguments=arguments)

    world.amqp(as_before)
    world.start("order", "payment", "gateway")
    order_id = world.post()
    world.wait_status(order_id, "PAID", "APPROVED")
    assert world.log("order").count("queue_has_earlier_arguments") == 1
    assert "queue_has_earlier_arguments" not in world.log("payment")
