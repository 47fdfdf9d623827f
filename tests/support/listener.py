"""A queue that hears every event, as a stranger's service would."""

from __future__ import annotations

import json
from typing import Any

from aio_pika.abc import AbstractChannel

from tests.support.world import World


def hear_everything(world: World) -> None:
    """Keep a copy of every event that is published from now on."""
    world.start("order")  # it declares the exchanges
    world.terminate("order")

    async def listen(channel: AbstractChannel) -> None:
        queue = await channel.declare_queue("listener", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind("orders.exchange", "order.*")
        await queue.bind("payments.exchange", "payment.*")

    world.amqp(listen)


def all_that_was_heard(world: World) -> list[dict[str, Any]]:
    """The events published since the last call, each told once."""

    async def hear(channel: AbstractChannel) -> list[dict[str, Any]]:
        queue = await channel.get_queue("listener")
        heard = []
        while message := await queue.get(no_ack=True, fail=False):
            heard.append(json.loads(message.body))
        return heard

    heard: list[dict[str, Any]] = world.amqp(hear)
    return heard
