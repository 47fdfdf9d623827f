"""What RabbitMQ returns or confirms is known of each message, also of two under one id."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from choreography.confirms import ConfirmedPublishing
from choreography.outgoing_message import OutgoingMessage, Unroutable
from choreography.undecodable import connect
from tests.support.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_43_of_two_publications_of_one_message_that_no_queue_takes_none_counts_as_stored(world: World) -> None:
    async with await connect(world.amqp_url, timeout=10) as connection, asyncio.timeout(60):
        channel = await connection.channel(publisher_confirms=True)
        publishing = ConfirmedPublishing(await channel.get_underlay_channel())
        name = str(uuid4())
        message = OutgoingMessage(body=b"{}", exchange="", routing_key=name, message_id="one")
        for _ in range(5):
            together = await publishing.publish([message, message], timeout=30)
            apart = await asyncio.gather(*(publishing.publish([message], timeout=30) for _ in range(3)))
            errors = [*together, *(error for answer in apart for error in answer)]
            assert [type(error) for error in errors] == [Unroutable] * 5

        await channel.declare_queue(name, durable=True)
        assert await publishing.publish([message, message], timeout=30) == [None, None]
