"""Tell whether the service that a message is for has a queue. RabbitMQ does not: the mirrors' queue takes any event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity

from choreography import connection_errors, topology

_PATIENCE: Final = 2.0  # seconds for an answer; without one, no queue counts as missing
_FOUND_FOR: Final = 15.0  # seconds for which a queue that was found counts as there
_MISSED_FOR: Final = 0.5  # seconds before a missing queue is looked for again; the time doubles each time …
_LONGEST_MISSED_FOR: Final = 4.0  # … up to this, because RabbitMQ logs every look at a missing queue


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    """The result of the last look at the broker, and until when it counts."""

    queue: str | None
    until: float
    lasts: float


class Readers:
    """Remembers for one connection which readers' queues exist. They are looked for when somebody publishes to them."""

    def __init__(
        self, connection: AbstractConnection, readers: Callable[[str], tuple[str, ...]] = topology.readers
    ) -> None:
        """`readers` gives the queues of which one must exist, for a routing key."""
        self._connection = connection
        self._readers = readers
        self._looks: dict[tuple[str, ...], _Look] = {}
        self._looking: dict[tuple[str, ...], asyncio.Task[None]] = {}

    async def missing(self, routing_keys: Iterable[str]) -> frozenset[str]:
        """Those of these routing keys whose messages are for a service that has no queue yet."""
        awaited = {key: queues for key in {*routing_keys} if (queues := self._readers(key))}
        now = asyncio.get_running_loop().time()
        for queues in {*awaited.values()}:
            look = self._looks.get(queues)
            if look is None or look.until <= now:
                await self._look(queues)
        return frozenset(key for key, queues in awaited.items() if self._is_missing(queues))

    def _is_missing(self, queues: tuple[str, ...]) -> bool:
        look = self._looks.get(queues)
        return look is not None and look.queue is None

    async def _look(self, queues: tuple[str, ...]) -> None:
        looking = self._looking.get(queues)
        if looking is None or looking.done():
            looking = self._looking[queues] = asyncio.create_task(self._find(queues))
        # Don't cancel the look after the timeout: the driver would then wait for a broker that has fallen silent.
        await asyncio.wait((looking,), timeout=_PATIENCE)

    async def _find(self, queues: tuple[str, ...]) -> None:
        last = self._looks.get(queues)
        ahead = [last.queue] if last is not None and last.queue else []
        try:
            with connection_errors.named():
                found = await self._first_of([*ahead, *queues])
        except connection_errors.LOST:
            self._looks.pop(queues, None)  # messages that are published now fail by themselves
            return
        if found is not None:
            lasts = _FOUND_FOR
        else:
            lasts = min(2 * last.lasts, _LONGEST_MISSED_FOR) if last and last.queue is None else _MISSED_FOR
        look = _Look(queue=found, until=asyncio.get_running_loop().time() + lasts, lasts=lasts)
        self._looks[queues] = look
        # The found queue also answers for other sets that contain it. So an order's events go out together.
        self._looks |= {others: look for others, old in self._looks.items() if old.queue is None and found in others}

    async def _first_of(self, queues: Iterable[str]) -> str | None:
        for queue in queues:
            if await is_there(self._connection, queue):
                return queue
        return None


async def is_there(connection: AbstractConnection, queue: str) -> bool:
    """Whether the broker has this queue; nothing is declared."""
    async with connection.channel(publisher_confirms=False) as channel:
        try:
            await (await channel.get_underlay_channel()).queue_declare(queue, passive=True)
        except ChannelNotFoundEntity:
            return False  # with this answer RabbitMQ has closed the channel
    return True
