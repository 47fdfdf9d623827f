"""Count the messages that wait in a queue, over a connection that is there anyway."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from aio_pika.abc import AbstractConnection

from choreography import connection_errors
from choreography.broker import Broker

_PATIENCE: Final = 1.0  # seconds for an answer


class Length(NamedTuple):
    """How many messages wait in a queue, and how many consumers it has."""

    messages: int
    readers: int


class Depths:
    """Asks the broker itself; whoever consumes a queue holds some of its messages beside these."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._connection: AbstractConnection | None = None
        self._counting: dict[str, asyncio.Task[Length | None]] = {}
        broker.on_connect(self._on_connect)

    async def _on_connect(self, connection: AbstractConnection) -> None:
        self._connection = connection

    async def of(self, queue: str) -> int | None:
        """How many messages wait; None without an answer in a second, or without the queue."""
        length = await self.length(queue)
        return None if length is None else length.messages

    async def length(self, queue: str) -> Length | None:
        """How many messages wait, and for how many; None as above."""
        counting = self._counting.get(queue)
        if counting is None or counting.done():
            counting = self._counting[queue] = asyncio.create_task(self._count(queue))
        # Given up, it goes on by itself: cancelled, the driver would wait for a broker that has fallen silent.
        done, _ = await asyncio.wait((counting,), timeout=_PATIENCE)
        return counting.result() if done else None

    async def _count(self, queue: str) -> Length | None:
        if self._connection is None or not self._broker.connected:
            return None
        try:
            with connection_errors.named():
                async with self._connection.channel(publisher_confirms=False) as channel:
                    underlay = await channel.get_underlay_channel()
                    declared = await underlay.queue_declare(queue, passive=True)
                    return Length(declared.message_count or 0, declared.consumer_count or 0)
        except connection_errors.LOST:  # the queue is missing, or the connection has just been lost
            return None
