"""Whether a message has a reader is asked of a real RabbitMQ, and remembered for a while."""

from __future__ import annotations

import asyncio

import pytest

from choreography.readers import Readers
from choreography.topology import PAYMENT_QUEUE, Topology
from choreography.undecodable import connect
from tests.support.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_43_all_that_one_service_reads_has_a_reader_as_soon_as_its_queue_was_found(world: World) -> None:
    """An order's cancellation must not stay behind its creation, which would be charged."""
    async with await connect(world.amqp_url, timeout=10) as connection:
        readers = Readers(connection)
        async with asyncio.timeout(60):
            assert await readers.missing(["order.created"]) == {"order.created"}
            assert await readers.missing(["order.cancelled"]) == {"order.cancelled"}
            channel = await connection.channel()
            await channel.declare_queue(PAYMENT_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})

            while missing := await readers.missing(["order.created", "order.cancelled"]):
                assert missing == {"order.created", "order.cancelled"}
                await asyncio.sleep(0)


async def test_48_an_original_services_queue_of_another_name_counts_if_we_are_told_of_it(world: World) -> None:
    named = Topology(reads=(), original_queues=(("order.created", "payment.process.queue"),))
    async with await connect(world.amqp_url, timeout=10) as connection, asyncio.timeout(60):
        channel = await connection.channel()
        await channel.declare_queue("payment.process.queue", durable=True)
        keys = ["order.created", "order.cancelled", "order.paid"]
        assert await Readers(connection, named.readers).missing(keys) == {"order.cancelled"}
        assert await Readers(connection).missing(keys) == {"order.created", "order.cancelled"}
