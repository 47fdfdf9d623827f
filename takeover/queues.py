"""Look at queues before a service is replaced, and remove those that nobody is left to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from choreography.connecting import connect_to_any
from choreography.topology import MIRROR_QUEUE, ORDER_QUEUE, PAYMENT_QUEUE, Topology

_PATIENCE: Final = 5.0  # seconds
OURS: Final = {"order": ORDER_QUEUE, "payment": PAYMENT_QUEUE, "worker": MIRROR_QUEUE}


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueState:
    """What a queue holds and who reads it; None: there is no such queue. `removed` if it was just removed."""

    name: str
    messages: int | None
    consumers: int = 0
    removed: bool = False

    @property
    def idle(self) -> bool:
        return not self.messages and not self.consumers


def queues_of(service: str, retry_delays: tuple[float, ...]) -> list[str]:
    """All queues of a service of ours."""
    return [queue.name for queue in Topology(reads=(OURS[service],), retry_delays=retry_delays).queues]


async def look(amqp_url: str, names: Sequence[str], *, remove: bool) -> list[QueueState]:
    """The state of each queue. With `remove` those that are empty, and that nobody reads, are removed.

    The inbox goes first: what is routed into it while the others are looked at keeps all of them.
    """
    connection = await connect_to_any(amqp_url, timeout=_PATIENCE)
    async with connection:
        states = [await _state(connection, name) for name in names]
        if not remove or not all(state.idle for state in states):
            return states
        return [await _removed(connection, state) for state in states]


async def _state(connection: AbstractConnection, name: str) -> QueueState:
    async with connection.channel(publisher_confirms=False) as channel:
        try:
            found = await (await channel.get_underlay_channel()).queue_declare(name, passive=True)
        except ChannelNotFoundEntity:
            return QueueState(name=name, messages=None)
    return QueueState(name=name, messages=found.message_count, consumers=found.consumer_count or 0)


async def _removed(connection: AbstractConnection, state: QueueState) -> QueueState:
    if state.messages is None:
        return state
    async with connection.channel(publisher_confirms=False) as channel:
        try:
            await (await channel.get_underlay_channel()).queue_delete(state.name)
        except (ChannelNotFoundEntity, ChannelPreconditionFailed):
            return await _state(connection, state.name)
    return QueueState(name=state.name, messages=0, removed=True)
