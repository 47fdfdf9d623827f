"""Listen to all events beside the services, and check that each order's events came in the order of their causes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self
from uuid import UUID

import aio_pika
from aiormq.abc import DeliveredMessage

from choreography.topology import EVERY_EVENT
from models.message_types import EventType
from models.partial_envelope import read_partially

_POLL: Final = 0.05  # seconds
# Of a saga that ends PAID: each is caused by the one before it.
STORY: Final[Sequence[str]] = (EventType.ORDER_CREATED, EventType.PAYMENT_APPROVED, EventType.ORDER_PAID)


class Watcher:
    """The types of events heard so far, in the order in which they came, by order."""

    def __init__(self) -> None:
        self.heard: dict[UUID, list[str]] = {}

    @classmethod
    @asynccontextmanager
    async def listening(cls, amqp: str) -> AsyncIterator[Self]:
        """A watcher that listens on a queue of its own until the end of the context."""
        watcher = cls()
        connection = await aio_pika.connect(amqp, timeout=5)
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            for exchange, key in EVERY_EVENT:
                await queue.bind(exchange, key)
            underlay = await channel.get_underlay_channel()
            await underlay.basic_consume(queue.name, watcher._hear, no_ack=True)
            yield watcher

    async def wait(self, orders: Iterable[UUID], *, within: float) -> None:
        """Wait until all events of each of these orders have come, or so many seconds have passed."""
        missing, deadline = set(orders), time.monotonic() + within
        while time.monotonic() < deadline:
            missing = {each for each in missing if len(set(self.heard.get(each, ()))) < len(STORY)}
            if not missing:
                return
            await asyncio.sleep(_POLL)

    async def _hear(self, message: DeliveredMessage) -> None:
        glance = read_partially(message.body)
        self.heard.setdefault(glance.payload.order_id, []).append(glance.event_type)


def misordered(heard: Mapping[UUID, Sequence[str]], orders: Iterable[UUID]) -> list[UUID]:
    """Those of the orders whose events were not the whole story in its order; repetitions don't count."""
    return [order_id for order_id in orders if tuple(dict.fromkeys(heard.get(order_id, ()))) != tuple(STORY)]
