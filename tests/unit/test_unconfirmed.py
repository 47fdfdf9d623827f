"""A queue for which RabbitMQ confirms nothing is recognised, and told from one that is only slow."""

from __future__ import annotations

import asyncio

import pytest

from choreography.outgoing_message import BrokerUnavailable, NotStored, NotTaken, OutgoingMessage, Unroutable
from choreography.topology import DEAD_LETTER_EXCHANGE, queues_taking
from choreography.unconfirmed import Unconfirmed
from models.message_types import ORDERS_EXCHANGE, PAYMENTS_EXCHANGE


@pytest.mark.parametrize(
    ("exchange", "routing_key", "queues"),
    [
        ("order-service.exchange", "order-service.retry-in.500ms", ("order-service.retry-in.500ms",)),
        (DEAD_LETTER_EXCHANGE, "payment-service", ("payment-service.dead-letters",)),
        (ORDERS_EXCHANGE, "order.create.requested", ("order-service",)),
        (ORDERS_EXCHANGE, "order.created", ("payment-service", "saga-mirror")),
        (ORDERS_EXCHANGE, "order.paid", ("saga-mirror",)),
        (PAYMENTS_EXCHANGE, "payment.approved", ("order-service", "saga-mirror")),
        (ORDERS_EXCHANGE, "late.order", ("saga-mirror",)),
        (PAYMENTS_EXCHANGE, "order.created", ()),
        ("a.strangers", "order.created", ()),
    ],
)
def test_the_queues_of_ours_that_take_a_message_are_known(
    exchange: str, routing_key: str, queues: tuple[str, ...]
) -> None:
    assert queues_taking(exchange, routing_key) == queues


def standing_after(*outcomes: tuple[float, BrokerUnavailable | None]) -> str | None:
    """After messages to one queue that were sent so many seconds ago, and what became of each."""

    async def note() -> str | None:
        unconfirmed, now = Unconfirmed(), asyncio.get_running_loop().time()
        message = OutgoingMessage(body=b"", exchange="", routing_key="a-queue", message_id="1")
        for ago, error in outcomes:
            unconfirmed.note([message], [error], sent=now - ago)
        return unconfirmed.standing

    return asyncio.run(note())


def test_a_queue_that_confirms_nothing_for_long_is_named() -> None:
    assert "'a-queue'" in str(standing_after((10, NotTaken())))
    assert "'a-queue'" in str(standing_after((10, NotTaken()), (1, NotTaken())))


def test_a_queue_that_is_slow_once_is_not_named() -> None:
    assert standing_after((2, NotTaken())) is None


def test_one_confirmation_says_that_all_is_well() -> None:
    assert standing_after((10, NotTaken()), (0, None)) is None


@pytest.mark.parametrize("error", [Unroutable(), NotStored(), BrokerUnavailable()])
def test_what_never_reached_a_queue_says_nothing_of_it(error: BrokerUnavailable) -> None:
    assert standing_after((10, error)) is None
