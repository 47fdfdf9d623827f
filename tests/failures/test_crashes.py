"""Processes and servers are killed at the worst moments, and no saga is harmed (docs/failures.md, rows 5 to 19)."""

from __future__ import annotations

import time
from uuid import uuid4

import psutil
import pytest
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import AMQPError

from choreography.dead_letters import DeadLetterRecord
from tests.support.databases import books_closed, read_only, waits_for_books
from tests.support.listener import all_that_was_heard, hear_everything
from tests.support.messages import USER, Publication, cancel, create, order_event, payment_event
from tests.support.waiting import until
from tests.support.world import World


def test_05_an_event_committed_but_not_published_is_published_by_the_relay(world: World) -> None:
    world.start("order", crash_at="ledger.committed:1")
    world.start("payment")
    order_id = str(uuid4())
    world.publish(create(order_id))
    world.wait_dead("order")
    assert world.events("orders", order_id) == ["OrderCreated"]
    assert world.find_payment(order_id) is None
    world.start("order")
    world.wait_status(order_id, "PAID", "APPROVED")
    world.wait_at_rest()


def test_06_a_crash_between_the_payment_row_and_the_charge_resumes_with_one_charge(world: World) -> None:
    world.start("order")
    world.start("payment", crash_at="payment.due:1")
    order_id = str(uuid4())
    world.publish(create(order_id))
    world.wait_dead("payment")
    assert world.payment(order_id)["status"] == "PROCESSING"
    assert world.books(order_id) == (0, 0)
    world.start("payment")
    world.wait_status(order_id, "PAID", "APPROVED")
    world.wait_at_rest()
    assert world.books(order_id) == (999, 0)


def test_06_a_crash_between_the_charge_and_its_record_charges_once(world: World) -> None:
    world.start("order")
    world.start("payment", crash_at="payment.answered:1")
    order_id = str(uuid4())
    world.publish(create(order_id))
    world.wait_dead("payment")
    assert world.payment(order_id)["status"] == "PROCESSING"
    assert world.books(order_id) == (999, 0)
    world.start("payment")
    world.wait_status(order_id, "PAID", "APPROVED")
    world.wait_at_rest()
    assert world.books(order_id) == (999, 0)


@pytest.mark.parametrize("process", ["order", "payment"])
def test_07_a_crash_after_the_commit_and_before_the_ack_has_no_second_effect(world: World, process: str) -> None:
    world.start({"order": "payment", "payment": "order"}[process])
    world.start(process, crash_at="consumer.settled:1")
    order_id = str(uuid4())
    world.publish(create(order_id))
    world.wait_dead(process)
    world.start(process)
    until(lambda: "message_ignored" in world.log(process), what="the message is delivered again")
    world.wait_status(order_id, "PAID", "APPROVED")
    world.wait_at_rest()
    assert world.books(order_id) == (999, 0)


def test_08_a_payment_stays_approved_when_publishing_that_fails(world: World) -> None:
    """The broker goes away during the charge, and the approval is committed while it is away."""
    world.start("order", "payment", provider_timeout=20)
    order_id = str(uuid4())
    with books_closed(world):
        world.publish(create(order_id))
        until(lambda: waits_for_books(world), what="the charge is under way")
        world.servers.kill("rabbitmq")
        until(lambda: "broker_connection_lost" in world.log("payment"), what="the broker is gone")
    until(lambda: world.payment(order_id)["status"] == "APPROVED", what="the approval is committed")
    assert world.rows("payments", "SELECT 1 FROM outbox"), "and not published"
    world.wait_status(order_id, "PAID", "APPROVED")
    for process in ("order", "payment"):
        world.wait_ready(process)
    world.wait_at_rest([order_id])


def test_09_a_relay_that_dies_before_marking_publishes_the_same_event_again(world: World) -> None:
    hear_everything(world)
    world.start("payment")
    world.start("order", crash_at="ledger.committed:1")
    order_id = str(uuid4())
    world.publish(create(order_id))
    world.wait_dead("order")
    world.launch("order", crash_at="relay.published:1")
    world.wait_dead("order")
    assert world.rows("orders", "SELECT count(*) FROM outbox")[0]["count"] == 1
    world.start("order")
    world.wait_status(order_id, "PAID", "APPROVED")
    until(lambda: not world.rows("orders", "SELECT 1 FROM outbox"), what="the relay has published it again")
    heard = [event["eventId"] for event in all_that_was_heard(world) if event["eventType"] == "OrderCreated"]
    assert len(heard) == 2
    assert len(set(heard)) == 1
    world.amqp(lambda channel: channel.queue_delete("listener"))
    world.wait_at_rest()
    assert world.books(order_id) == (999, 0)
    assert world.events("payments", order_id) == ["PaymentApproved"]


def test_10_an_event_that_commits_late_is_not_skipped_by_the_relay(world: World) -> None:
    """An event with an earlier number in the log becomes visible after an event with a later one was published."""
    import psycopg

    world.start("order", "payment")
    early, late = str(uuid4()), str(uuid4())
    record = (
        "WITH o AS (INSERT INTO orders VALUES (%(id)s, %(user)s, 999, 'USD', 'pm_card_visa', 'choreography',"
        " 'PENDING_PAYMENT', NULL, now(), now())), t AS (INSERT INTO order_totals VALUES (0, 'PENDING_PAYMENT', 1, 999)"
        " ON CONFLICT (shard, status) DO UPDATE SET count = order_totals.count + 1,"
        " amount = order_totals.amount + 999), l AS (INSERT INTO event_log (event_id, order_id, event_type,"
        " occurred_at, correlation_id, causation_id, coordinator, payload) VALUES (gen_random_uuid(), %(id)s,"
        " 'OrderCreated', now(), 'c', gen_random_uuid(), 'choreography', jsonb_build_object('orderId', %(id)s::text,"
        " 'userId', %(user)s::text, 'total', 999, 'paymentMethod', 'pm_card_visa')) RETURNING seq, order_id)"
        " INSERT INTO outbox SELECT seq, order_id, false FROM l RETURNING seq"
    )
    with psycopg.connect(world.dsn("orders")) as connection:
        first = connection.execute(record, {"id": early, "user": USER}).fetchone()
        world.publish(create(late))  # takes a later number, commits and is published first
        world.wait_status(late, "PAID", "APPROVED")
        later = world.rows("orders", "SELECT min(seq) FROM event_log WHERE order_id = %s", late)[0]["min"]
        assert first is not None
        assert first[0] < later
        assert world.find_payment(early) is None
    world.wait_status(early, "PAID", "APPROVED")
    world.wait_at_rest()


def test_17_consumers_come_back_when_the_broker_restarts(world: World) -> None:
    world.start("order", "payment", provider_latency_ms=200)
    ids = [str(uuid4()) for _ in range(50)]
    world.publish(*map(create, ids))
    before = world.servers.pids()["rabbitmq"]
    world.servers.kill("rabbitmq")
    until(lambda: world.servers.pids()["rabbitmq"] not in (None, before), what="the broker is started again")
    until(lambda: _publish(world, create(after := str(uuid4()))) or after, what="the broker answers")
    world.wait_at_rest(ids, within=240)


def _publish(world: World, message: Publication) -> bool:
    try:
        world.publish(message)
    except Exception as error:
        raise OSError(str(error)) from error
    return False


@pytest.mark.parametrize("victim", ["order", "payment", "rabbitmq", "postgres"])
def test_kill_9_in_the_middle_of_500_orders_loses_none(world: World, victim: str) -> None:
    world.start("order", "payment", provider_latency_ms=300, batch_limit=50)
    methods = ["pm_card_visa", "pm_card_chargeDeclined", "pm_error", "pm_timeout_then_approve", "pm_coin"]
    ids = [str(uuid4()) for _ in range(500)]
    world.publish(*(create(order_id, methods[n % 5]) for n, order_id in enumerate(ids)))
    world.publish(*map(cancel, ids[::7]))
    until(lambda: world.rows("orders", "SELECT 1 FROM orders WHERE status <> 'PENDING_PAYMENT'"), what="some are over")
    if victim in world.processes:
        world.kill(victim)
        world.start(victim)
    else:
        world.servers.kill(victim)
    until(lambda: _known(world, ids), what="every order is known")
    world.wait_at_rest(ids, within=240)


def _known(world: World, ids: list[str]) -> bool:
    try:
        return bool(world.rows("orders", "SELECT count(*) n FROM orders")[0]["n"] == len(ids))
    except Exception as error:
        raise OSError(str(error)) from error


def test_events_of_one_order_leave_in_order_although_the_first_was_left_behind(world: World) -> None:
    """One order service dies before it publishes order.created, and another one commits the cancellation at once."""
    world.start("order", crash_at="ledger.committed:1")
    order_id = str(uuid4())
    world.publish(create(order_id))
    world.wait_dead("order")
    heard: list[str | None] = []

    async def listen(channel: AbstractChannel) -> None:
        queue = await channel.declare_queue("listener", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind("orders.exchange", "order.*")

    world.amqp(listen)
    world.start("order2", relay_grace=30)
    world.publish(cancel(order_id))
    until(lambda: world.order(order_id)["status"] == "CANCELLED", what="it is cancelled")

    async def hear(channel: AbstractChannel) -> None:
        queue = await channel.get_queue("listener")
        while message := await queue.get(fail=False):
            heard.append(message.routing_key)
            await message.ack()

    def both() -> bool:
        world.amqp(hear)
        return len(heard) >= 2

    until(both, what="both events are published")
    assert heard == ["order.created", "order.cancelled"]


def test_time_is_not_wasted_on_a_database_that_is_away(world: World) -> None:
    """While PostgreSQL takes no writes, a service tries again with pauses. Afterwards it goes on."""
    world.start("order")
    order_id = str(uuid4())
    service = psutil.Process(world.processes["order"].pid)
    with read_only(world):
        world.publish(create(order_id))
        until(lambda: "database_unavailable" in world.log("order"), what="it has noticed")
        used, began = sum(service.cpu_times()[:2]), time.monotonic()
        tries = world.log("order").count("database_unavailable")
        until(lambda: world.log("order").count("database_unavailable") >= tries + 3, what="it has tried again")
        assert sum(service.cpu_times()[:2]) - used < 0.5 * (time.monotonic() - began)
    until(lambda: world.find_order(order_id), what="the order is stored")


def test_a_message_for_the_wrong_service_is_a_dead_letter(world: World) -> None:
    world.start("order")
    exchange, _, message = order_event("OrderPaid", str(uuid4()))
    world.publish((exchange, "order.create.requested", message))
    (letter,) = until(world.dead_letters, what="it is a dead letter")
    assert (letter.reason, letter.queue) == ("MALFORMED", "order-service")


def test_13_attempts_are_counted_across_restarts_of_consumer_and_broker(world: World) -> None:
    world.env["SAGA_RETRY_DELAYS"] = "0.2,0.2,0.2,0.2,0.2,0.2"
    world.start("order")
    world.publish(payment_event("PaymentApproved", str(uuid4()), transactionId="for nobody"))
    until(lambda: '"attempt": 2' in world.log("order"), what="it has failed twice")
    world.kill("order")
    before = world.log("order")
    world.start("order")
    until(lambda: '"attempt": 3' in world.log("order"), what="it has failed three times")
    world.servers.kill("rabbitmq")
    until(lambda: "broker_connection_lost" in world.log("order"), what="the broker is gone")
    world.wait_ready("order")
    # A retry was stored and the old copy not acknowledged before the kill: then both copies come, each with its count.
    letters = until(world.dead_letters, what="it is a dead letter")
    assert {(letter.attempts, letter.reason) for letter in letters} == {(7, "TOO_EARLY")}
    assert '"attempt": 1' not in world.log("order").removeprefix(before), "no process has counted anew"


def test_14_a_dead_letter_whose_route_is_gone_is_neither_lost_nor_in_the_way(world: World) -> None:
    world.start("order", "payment")
    world.amqp(lambda channel: channel.queue_delete("order-service.dead-letters"))
    order_id = str(uuid4())
    world.publish(("orders.exchange", "order.create.requested", b"poison"), create(order_id))
    world.wait_status(order_id, "PAID", "APPROVED")
    (letter,) = until(lambda: _dead_letters(world), what="the route is declared anew and the dead letter is there")
    assert letter.body == b"poison"


def _dead_letters(world: World) -> list[DeadLetterRecord]:
    try:
        return world.dead_letters()
    except AMQPError as error:  # its queue is still missing
        raise OSError(str(error)) from error


def test_19_a_queue_deleted_under_its_consumer_is_declared_anew(world: World) -> None:
    world.start("order", "payment")
    world.amqp(lambda channel: channel.queue_delete("order-service"))
    order_id = str(uuid4())
    until(lambda: _accepted(world, create(order_id)), what="the queue is there again")
    world.wait_status(order_id, "PAID", "APPROVED")
    world.wait_at_rest([order_id])


def _accepted(world: World, message: Publication) -> bool:
    try:
        world.publish(message)
    except AMQPError as error:
        raise OSError(str(error)) from error
    return True
