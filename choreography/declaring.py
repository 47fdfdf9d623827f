"""Declare a topology at the broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from choreography.topology import Exchange, Queue, Topology

log = structlog.get_logger()

_RENEW: Final = "while nothing is accepted and it is empty, stop its reader and delete it: the reader declares it anew"


async def declare(channel: AbstractChannel, topology: Topology, earlier: set[str] | None = None) -> None:
    """Declare the whole topology. Repeating this changes nothing.

    `earlier` keeps the names of queues that were found with the arguments of a version before, from one time to the
    next. Raises the error of a queue that was declared otherwise still.
    """
    earlier = set() if earlier is None else earlier
    for exchange in (*topology.own_exchanges, *await _missing(channel, topology.shared_exchanges)):
        await channel.declare_exchange(exchange.name, exchange.kind, durable=True)
    for queue in topology.queues:
        arguments = queue.arguments
        if queue.earlier is not None and (queue.name in earlier or await _is_other(channel, queue)):
            arguments = queue.earlier
        declared = await channel.declare_queue(queue.name, durable=True, arguments=_whole(arguments))
        if arguments is queue.earlier and queue.name not in earlier:
            earlier.add(queue.name)
            log.warning("queue_has_earlier_arguments", queue=queue.name, what_to_do=_RENEW)
        for source, routing_key in queue.bindings:
            await declared.bind(source, routing_key)
        for source, routing_key in queue.unwanted:
            await declared.unbind(source, routing_key)


def _whole(arguments: Mapping[str, str | int]) -> dict[str, Any]:
    return {"x-queue-type": "quorum", **arguments}


async def _is_other(channel: AbstractChannel, queue: Queue) -> bool:
    """Whether the queue is there with other arguments than today's. RabbitMQ refuses to change those of any queue."""
    trial = await (await channel.get_underlay_channel()).connection.channel(publisher_confirms=False)
    try:
        await trial.queue_declare(queue.name, durable=True, arguments=_whole(queue.arguments))
    except ChannelPreconditionFailed:  # RabbitMQ has closed the channel with that
        return True
    await trial.close()
    return False


async def _missing(channel: AbstractChannel, exchanges: Iterable[Exchange]) -> list[Exchange]:
    """Those that the broker lacks; asking takes no right."""
    connection = (await channel.get_underlay_channel()).connection
    missing: list[Exchange] = []
    trial = await connection.channel(publisher_confirms=False)
    for exchange in exchanges:
        try:
            await trial.exchange_declare(exchange.name, passive=True)
        except ChannelNotFoundEntity:  # RabbitMQ has closed the channel with that
            missing.append(exchange)
            trial = await connection.channel(publisher_confirms=False)
    await trial.close()
    return missing
