"""Look at queues before a service is replaced, and remove those that nobody is left to read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed, ConnectionNotImplemented

from choreography.connecting import connect_to_any
from choreography.topology import MIRROR_QUEUE, ORDER_QUEUE, PAYMENT_QUEUE, Topology

_PATIENCE: Final = 5.0  # seconds
_PAUSE: Final = 0.5  # seconds between two looks
OURS: Final = {"order": ORDER_QUEUE, "payment": PAYMENT_QUEUE, "worker": MIRROR_QUEUE}


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueState:
    """What a queue holds and who reads it; None: there is no such queue. `removed` if it was just removed.

    A message that a reader is at does not wait: it is no part of `messages` until that reader gives it back.
    """

    name: str
    messages: int | None
    consumers: int = 0
    removed: bool = False

    @property
    def idle(self) -> bool:
        return not self.messages and not self.consumers


def queues_of(service: str, retry_delays: tuple[float, ...]) -> list[str]:
    """All queues of a service of ours."""
    return [queue.name for queue in _topology(service, retry_delays).queues]


async def look(amqp_url: str, names: Sequence[str], *, wait: float = 0.0) -> list[QueueState]:
    """The state of each queue, as soon as nothing waits in any of them, or after `wait` seconds."""
    clock = asyncio.get_running_loop()
    until = clock.time() + wait
    connection = await connect_to_any(amqp_url, timeout=_PATIENCE)
    async with connection:
        while True:
            async with asyncio.timeout(_PATIENCE):
                states = [await _state(connection, name) for name in names]
            if clock.time() >= until or not any(state.messages for state in states):
                return states
            await asyncio.sleep(_PAUSE)


async def remove(amqp_url: str, names: Sequence[str], retry_delays: tuple[float, ...]) -> list[QueueState]:
    """Remove these queues, if all of them are empty and nobody reads any; the state of each.

    What is published meanwhile stays with its publisher or in its queue: queues of ours lose their bindings before
    they are looked at for the last time, and RabbitMQ itself looks whether others are empty. It doesn't look at
    quorum queues: what comes to a foreign one between the last look and its removal is lost.
    """
    states = await look(amqp_url, names)
    if not all(state.idle for state in states):
        return states
    bound = [queue for service in OURS for queue in _topology(service, retry_delays).queues if queue.name in names]
    connection = await connect_to_any(amqp_url, timeout=_PATIENCE)
    async with connection, connection.channel() as channel:
        there = {state.name for state in states if state.messages is not None}
        ours = [await channel.get_queue(queue.name, ensure=False) for queue in bound if queue.name in there]
        bindings = {queue.name: queue.bindings for queue in bound}
        for queue in ours:
            for source, routing_key in bindings[queue.name]:
                await queue.unbind(source, routing_key)
        last = [await _state(connection, name) for name in names]
        if not all(state.idle for state in last):
            for queue in ours:
                for source, routing_key in bindings[queue.name]:
                    await queue.bind(source, routing_key)
            return last
    unbound = {queue.name for queue in ours}
    return [await _removed(amqp_url, state, checked=state.name in unbound) for state in last]


def _topology(service: str, retry_delays: tuple[float, ...]) -> Topology:
    return Topology(reads=(OURS[service],), retry_delays=retry_delays)


async def _state(connection: AbstractConnection, name: str) -> QueueState:
    async with connection.channel(publisher_confirms=False) as channel:
        try:
            found = await (await channel.get_underlay_channel()).queue_declare(name, passive=True)
        except ChannelNotFoundEntity:
            return QueueState(name=name, messages=None)
    return QueueState(name=name, messages=found.message_count, consumers=found.consumer_count or 0)


async def _removed(amqp_url: str, state: QueueState, *, checked: bool) -> QueueState:
    if state.messages is None:
        return state
    connection = await connect_to_any(amqp_url, timeout=_PATIENCE)
    async with connection, connection.channel(publisher_confirms=False) as channel:
        underlay = await channel.get_underlay_channel()
        try:
            await underlay.queue_delete(state.name, if_unused=not checked, if_empty=not checked)
        except ConnectionNotImplemented:  # a quorum queue, at which RabbitMQ looks for nobody
            return await _removed(amqp_url, state, checked=True)
        except (ChannelNotFoundEntity, ChannelPreconditionFailed):
            return await _state(connection, state.name)
    return QueueState(name=state.name, messages=0, removed=True)
