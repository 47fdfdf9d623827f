"""Tell whether the service that a message is for has a queue at the broker: mirrors hide that it has none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity

from choreography import connection_errors
from choreography.topology import readers

_PATIENCE: Final = 2.0  # seconds for an answer; without one nobody counts as missing
_FOUND_FOR: Final = 15.0  # seconds that a queue which was there counts as there
_MISSED_FOR: Final = 0.5  # seconds after which a queue that was missing is looked for again, …
_LONGEST_MISSED_FOR: Final = 4.0  # … then ever more: RabbitMQ logs each time that it has no such queue


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    """What was found when somebody last looked, and until when that counts."""

    queue: str | None
    until: float
    lasts: float


class Readers:
    """The readers' queues that one connection has found; they are looked for as often as somebody publishes to them."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._looks: dict[tuple[str, ...], _Look] = {}
        self._looking: dict[tuple[str, ...], asyncio.Task[None]] = {}

    async def missing(self, routing_keys: Iterable[str]) -> frozenset[str]:
        """Those of these routing keys whose messages somebody waits for who has no queue yet."""
        awaited = {key: queues for key in {*routing_keys} if (queues := readers(key))}
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
        # Given up, it goes on by itself: cancelled, the driver would wait for a broker that has fallen silent.
        await asyncio.wait((looking,), timeout=_PATIENCE)

    async def _find(self, queues: tuple[str, ...]) -> None:
        last = self._looks.get(queues)
        ahead = [last.queue] if last is not None and last.queue else []
        try:
            with connection_errors.named():
                found = await self._first_of([*ahead, *queues])
        except connection_errors.LOST:
            self._looks.pop(queues, None)  # what is published now fails by itself
            return
        if found is not None:
            lasts = _FOUND_FOR
        else:
            lasts = min(2 * last.lasts, _LONGEST_MISSED_FOR) if last and last.queue is None else _MISSED_FOR
        look = _Look(queue=found, until=asyncio.get_running_loop().time() + lasts, lasts=lasts)
        self._looks[queues] = look
        # Whoever is waited for with the same queue is there, too: an order's events go out together, as one story.
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
            return False  # RabbitMQ has closed the channel with that
    return True
