"""Messages that come late, twice, out of order or broken do no harm (docs/failures.md, rows 1 to 32)."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from uuid import uuid4

import psycopg
import pytest
from aio_pika.abc import AbstractChannel

from choreography.dead_letters import DeadLetterRecord, DeadLetters
from tests.support.databases import books_closed, waits_for_books
from tests.support.messages import (
    ORDERS,
    PAYMENTS,
    USER,
    cancel,
    create,
    envelope,
    order_event,
    payment_event,
)
from tests.support.waiting import until
from tests.support.world import World


def test_01_an_approval_that_lands_after_the_cancellation_is_refunded(world: World) -> None:
    """The order is cancelled during its charge. The money is captured all the same, and then given back."""
    world.start("order", "payment", provider_timeout=20)
    order_id = str(uuid4())
    with books_closed(world):
        # The answer to the capture is lost, so that only the void of the cancellation learns of it.
        world.publish(create(order_id, "pm_timeout_then_approve"))
        until(lambda: waits_for_books(world), what="the provider captures")
        world.publish(cancel(order_id))
        until(lambda: world.payment(order_id)["due"] == "void", what="the payment is cancelled before it is captured")
    world.wait_status(order_id, "CANCELLED", "REFUNDED")
    world.wait_at_rest()
    assert world.books(order_id) == (999, 999)
    assert world.events("payments", order_id) == ["PaymentCancelled", "PaymentRefunded"]


def test_02_a_cancellation_that_overtakes_its_order_leaves_a_tombstone(world: World) -> None:
    world.start("payment")
    order_id = str(uuid4())
    world.publish(order_event("OrderCancelled", order_id, reason="USER_REQUESTED"))
    until(lambda: world.find_payment(order_id), what="there is a tombstone")
    world.publish(order_event("OrderCreated", order_id, userId=USER, total=999))
    until(lambda: "message_ignored" in world.log("payment"), what="the order comes after its cancellation")
    payment = world.payment(order_id)
    assert (payment["status"], payment["due"]) == ("CANCELLED", None)
    assert world.books(order_id) == (0, 0)
    assert world.events("payments", order_id) == ["PaymentCancelled"]
    assert world.dead_letters() == []


def test_03_cancellations_at_any_moment_never_leave_a_payment_both_paid_and_cancelled(world: World) -> None:
    """Two payment services work, a quick and a slow one. All orders are placed at once, and cancelled one by one.

    The first half is cancelled whether or not the charge is over by then, the second half once it is approved.
    """
    world.start("order")
    world.start("payment", provider_latency_ms=200, provider_timeout=20)
    world.start("payment2", provider_latency_ms=3000, provider_timeout=20)
    ids = [str(uuid4()) for _ in range(60)]
    world.publish(*map(create, ids), *map(create, ids))
    for order_id in ids[:30]:
        until(partial(world.find_payment, order_id), what="its charge has begun")
        world.publish(cancel(order_id), cancel(order_id))
    for order_id in ids[30:]:
        world.wait_payment(order_id, "APPROVED")
        world.publish(cancel(order_id), cancel(order_id))
    world.wait_at_rest(ids)
    assert {world.order(order_id)["status"] for order_id in ids} == {"CANCELLED"}
    histories = [world.events("payments", order_id) for order_id in ids]
    assert ["PaymentCancelled"] in histories, "some were cancelled during the charge"
    assert histories[30:] == [["PaymentApproved", "PaymentRefunded"]] * 30


def test_04_an_order_requested_twice_is_one_order(world: World) -> None:
    world.start("order", "payment")
    order_id = str(uuid4())
    world.publish(create(order_id), create(order_id))
    world.wait_status(order_id, "PAID", "APPROVED")
    world.wait_at_rest()
    assert world.rows("orders", "SELECT count(*) FROM orders")[0]["count"] == 1
    assert world.books(order_id) == (999, 0)


def test_04_an_original_gateways_request_delivered_twice_is_one_order(world: World) -> None:
    """Without an orderId, the same eventId stands for the same order."""
    world.start("order", "payment")
    message = (ORDERS, "order.create.requested", envelope("CreateOrderRequested", {"userId": USER, "total": 999.0}))
    world.publish(message, message)
    rows = until(lambda: world.rows("orders", "SELECT id FROM orders"), what="the order is stored")
    world.wait_at_rest([str(rows[0]["id"])])
    assert world.rows("orders", "SELECT count(*) FROM orders")[0]["count"] == 1


def test_12_a_poison_message_neither_holds_back_nor_fails_its_neighbours(world: World) -> None:
    """Among good messages are malformed, illegal and unknown ones, and one that its handler always fails at."""
    cursed = str(uuid4())
    curse(world, cursed)
    world.start("order", "payment")
    first, *others = [str(uuid4()) for _ in range(20)]
    contradiction = create(first)
    contradiction[2]["payload"]["total"] = 1
    world.publish(
        create(first),
        (ORDERS, "order.create.requested", b"not json"),
        contradiction,
        create(cursed),
        (ORDERS, "order.cancel.requested", nested(980)),
        (ORDERS, "order.create.requested", envelope("CreateOrderRequested", {"userId": USER, "total": 9.99})),
        payment_event("PaymentApproved", str(uuid4()), transactionId="for nobody"),
        *map(create, others),
    )
    world.wait_at_rest([first, *others])
    letters = {letter.reason: letter for letter in until(lambda: _letters(world, 6), what="six dead letters")}
    assert letters.keys() == {"MALFORMED", "ILLEGAL", "TOO_EARLY", "FAILED"}
    failed = letters["FAILED"]
    assert (failed.order_id, failed.attempts) == (cursed, 4)
    assert "RaiseException: cursed" in failed.error
    early = letters["TOO_EARLY"]
    assert early.attempts == 4  # the first try and three retries
    assert (early.queue, early.exchange, early.routing_key) == ("order-service", PAYMENTS, "payment.approved")
    assert early.event_type == "PaymentApproved"
    assert "not known yet" in early.error
    assert early.first_failed_at is not None
    assert early.failed_at is not None
    assert early.first_failed_at < early.failed_at
    assert letters["ILLEGAL"].attempts == letters["MALFORMED"].attempts == 1
    assert first in letters["ILLEGAL"].error


def curse(world: World, order_id: str) -> None:
    """PostgreSQL refuses to store this order every time, for a reason that no retry can mend."""
    with psycopg.connect(world.dsn("orders"), autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION curse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'cursed'; END $$"
        )
        connection.execute(
            "CREATE TRIGGER curse BEFORE INSERT ON orders FOR EACH ROW"
            f" WHEN (NEW.id = '{order_id}') EXECUTE FUNCTION curse()"
        )


def nested(levels: int) -> bytes:
    """A cancellation whose order id is nested so deeply that a parser takes it, but no log and no database does."""
    written = json.dumps(envelope("OrderCancelRequested", {"orderId": "here"})).encode()
    return written.replace(b'"here"', b"[" * levels + b"]" * levels)


def test_letters_that_somebody_has_just_looked_at_are_there_for_whoever_comes_next(world: World) -> None:
    world.start("order")
    world.publish(*(("orders.exchange", "order.create.requested", b"%d" % number) for number in range(20)))
    until(lambda: len(world.dead_letters()) == 20, what="none of them is a message")

    async def look(channel: AbstractChannel) -> list[int | None]:
        """How many are in the queue, each time right after somebody has read them all."""
        letters, found = DeadLetters(world.amqp_url), []
        for _ in range(20):
            await letters.all()
            queue = await channel.get_queue("order-service.dead-letters", ensure=True)
            found.append(queue.declaration_result.message_count)
        return found

    assert world.amqp(look) == [20] * 20


def test_while_somebody_looks_the_others_wait_and_find_every_letter(world: World) -> None:
    world.start("order")
    world.publish(*(("orders.exchange", "order.create.requested", b"%d" % number) for number in range(100)))
    until(lambda: len(world.dead_letters()) == 100, what="none of them is a message")

    async def look_and_discard() -> int:
        letters = DeadLetters(world.amqp_url)
        wanted = [letter.id for letter in await letters.all()][:10]

        async def look_on() -> None:
            while len(discarded) < len(wanted):
                await letters.all()

        discarded: list[int] = []
        looks = [asyncio.create_task(look_on()) for _ in range(3)]
        await letters.all()  # by the end of this one the others look
        for each in wanted:
            discarded.append(len(await letters.discard(partial(_is, each))))
        await asyncio.gather(*looks)
        return sum(discarded)

    assert asyncio.run(look_and_discard()) == 10
    assert len(world.dead_letters()) == 90


def _is(wanted: str, letter: DeadLetterRecord) -> bool:
    return letter.id == wanted


def _letters(world: World, count: int) -> list[DeadLetterRecord]:
    letters = world.dead_letters()
    assert len(letters) == count, [(letter.reason, letter.error) for letter in letters]
    return letters


@pytest.mark.parametrize(
    ("late", "payload"),
    [("PaymentFailed", {"error": "too late"}), ("PaymentDeclined", {"reason": "too late"})],
)
def test_32_a_failure_reported_after_the_order_was_paid_is_ignored(
    world: World, late: str, payload: dict[str, str]
) -> None:
    world.start("order", "payment")
    order_id = str(uuid4())
    world.publish(create(order_id))
    world.wait_status(order_id, "PAID", "APPROVED")
    world.publish(payment_event(late, order_id, **payload))
    until(lambda: "message_ignored" in world.log("order"), what="it is ignored")
    world.wait_at_rest()
    assert world.order(order_id)["status"] == "PAID"
    assert world.dead_letters() == []


def test_20_a_payment_event_that_arrives_before_its_order_is_retried_until_the_order_is_there(world: World) -> None:
    world.start("order")
    order_id = str(uuid4())
    world.publish(payment_event("PaymentApproved", order_id, transactionId="t"))
    until(lambda: "message_retried" in world.log("order"), what="it is set aside")
    world.publish(create(order_id))
    world.wait_status(order_id, "PAID")
    assert world.dead_letters() == []


def test_21_an_event_after_the_end_changes_nothing(world: World) -> None:
    world.start("order", "payment")
    order_id = str(uuid4())
    world.publish(create(order_id, "pm_error"))
    world.wait_status(order_id, "FAILED", "FAILED")
    world.publish(
        payment_event("PaymentApproved", order_id, transactionId="late"),
        cancel(order_id),
        order_event("OrderCancelled", order_id, reason="USER_REQUESTED"),
    )
    until(lambda: world.log("order").count("message_ignored") >= 2, what="both are ignored")
    world.wait_at_rest()
    assert world.order(order_id)["status"] == "FAILED"
    assert world.dead_letters() == []


def test_23_when_the_providers_answer_is_lost_the_same_charge_is_asked_for_again(world: World) -> None:
    world.start("order", "payment", provider_timeout=5)
    order_id = str(uuid4())
    world.publish(create(order_id, "pm_timeout_then_approve"))
    world.wait_status(order_id, "PAID", "APPROVED")
    world.wait_at_rest()
    assert world.books(order_id) == (999, 0)
    assert "message_retried" in world.log("payment")
    assert attempts(world, "payments", order_id) == {"PaymentApproved": 2}


def test_12_the_log_keeps_at_which_attempt_a_message_was_handled(world: World) -> None:
    """A handler fails until the cause is mended."""
    order_id = str(uuid4())
    curse(world, order_id)
    world.start("order", "payment", retry_delays="0.1,0.2,2,2,2", provider_timeout=5)
    world.publish(create(order_id))
    until(lambda: world.log("order").count("message_retried") >= 3, what="three attempts have failed")
    with psycopg.connect(world.dsn("orders"), autocommit=True) as connection:
        connection.execute("DROP TRIGGER curse ON orders")
    world.wait_status(order_id, "PAID", "APPROVED")
    failed = world.log("order").count("message_retried")
    assert attempts(world, "orders", order_id) == {"OrderCreated": failed + 1, "OrderPaid": 1}
    assert attempts(world, "payments", order_id) == {"PaymentApproved": 1}


def attempts(world: World, role: str, order_id: str) -> dict[str, int]:
    """At which attempt the message of each event was handled."""
    rows = world.rows(role, "SELECT event_type, attempt FROM event_log WHERE order_id = %s", order_id)
    return {row["event_type"]: row["attempt"] for row in rows}


def test_23_a_charge_that_is_never_answered_fails_only_after_a_confirmed_void(world: World) -> None:
    world.start("order", "payment")
    order_id = str(uuid4())
    world.publish(create(order_id, "pm_unavailable"))
    world.wait_status(order_id, "FAILED", "FAILED")
    world.wait_at_rest()
    assert world.rows("payments", "SELECT outcome FROM provider_charges") == [{"outcome": "Voided"}]
    assert world.books(order_id) == (0, 0)
    assert world.events("payments", order_id) == ["PaymentFailed"]


def test_23_a_charge_that_captured_although_no_try_was_answered_is_approved_and_not_failed(world: World) -> None:
    """The provider answers nobody until the last try is over. The void that is due then finds the capture."""
    world.start("order", "payment")
    order_id = str(uuid4())
    with books_closed(world):
        world.publish(create(order_id))
        until(lambda: world.payment(order_id)["due"] == "void", what="no try was answered")
    world.wait_status(order_id, "PAID", "APPROVED")
    world.wait_at_rest()
    assert world.books(order_id) == (999, 0)
    assert world.events("payments", order_id) == ["PaymentApproved"]
    assert world.dead_letters() == []


def test_an_orchestrated_sagas_events_trigger_no_reaction_and_its_commands_are_set_aside(
    world: World,
) -> None:
    world.start("order", "payment")
    order_id, other = str(uuid4()), str(uuid4())
    exchange, key, created = order_event("OrderCreated", order_id, userId=USER, total=999)
    theirs = [make(str(uuid4()), coordinator="orchestration") for make in (create, cancel)]
    world.publish((exchange, key, {**created, "coordinator": "orchestration"}), *theirs, create(other))
    world.wait_status(other, "PAID", "APPROVED")
    until(lambda: world.waiting() == 0, what="all are handled")
    assert world.find_payment(order_id) is None
    letters = until(lambda: _letters(world, 2), what="the commands are set aside")
    assert [letter.reason for letter in letters] == ["MALFORMED"] * 2
