"""A poison message in a retry queue does not hold back the others (docs/failures.md, row 12)."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.abc import FieldTable

from choreography.topology import ORDER_QUEUE, retry_queue
from tests.support.messages import create, payment_event
from tests.support.waiting import until
from tests.support.world import World

DELAY = 0.5  # seconds
FAR_AWAY = timedelta(days=40)


@pytest.mark.parametrize("expiration", [None, FAR_AWAY], ids=["no expiration", "an expiration far away"])
def test_12_a_strangers_message_in_a_retry_queue_holds_back_no_retry(
    world: World, expiration: timedelta | None
) -> None:
    world.start("order", retry_delays=f"{DELAY},{DELAY}")

    async def into_the_retry_queue(channel: AbstractChannel) -> None:
        message = aio_pika.Message(b"a stranger's", expiration=expiration)
        await channel.default_exchange.publish(message, retry_queue(ORDER_QUEUE, DELAY))

    world.amqp(into_the_retry_queue)
    world.publish(payment_event("PaymentApproved", str(uuid4()), transactionId="t"))  # of no order: it is retried
    letters = until(lambda: len(found := world.dead_letters()) == 2 and found, what="both have come back")
    assert {(letter.reason, letter.attempts) for letter in letters} == {("MALFORMED", 1), ("TOO_EARLY", 3)}
    until(lambda: world.waiting() == 0, what="nothing waits in the retry queue")


def test_12_what_waits_in_a_retry_queue_of_the_version_before_comes_back(world: World) -> None:
    """The version before, which may still run, declares its queues without a time to live."""
    old, order_id = f"{ORDER_QUEUE}.retry.{round(1000 * DELAY)}ms", str(uuid4())
    message = create(order_id)

    async def as_the_version_before(channel: AbstractChannel) -> None:
        arguments: FieldTable = {
            "x-queue-type": "quorum",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": ORDER_QUEUE,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        await channel.declare_queue(old, durable=True, arguments=arguments)

    async def wait_in_it(channel: AbstractChannel) -> None:
        body = aio_pika.Message(json.dumps(message[2]).encode(), expiration=DELAY)
        await channel.default_exchange.publish(body, old)

    world.amqp(as_the_version_before)
    world.start("order", "payment", retry_delays=f"{DELAY},{DELAY}")
    world.amqp(wait_in_it)
    world.amqp(as_the_version_before)
    world.wait_status(order_id, "PAID", "APPROVED")
    assert world.queues()[old] == 0
    world.wait_at_rest([order_id])
