"""A queue that takes down every message, commands too, as it travels."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import datetime
from typing import Any, Final

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from models.message_types import ORDERS_EXCHANGE, PAYMENTS_EXCHANGE
from tests.support.world import World

CAPTURE: Final = "captured"
_PROPERTIES: Final = ("content_type", "message_id", "correlation_id", "type", "app_id", "timestamp", "expiration")


def capture(world: World) -> None:
    """Take down all that is published from now on. The exchanges must be there."""

    async def listen(channel: AbstractChannel) -> None:
        queue = await channel.declare_queue(CAPTURE, durable=True)
        for exchange in (ORDERS_EXCHANGE, PAYMENTS_EXCHANGE):
            await queue.bind(exchange, "#")

    world.amqp(listen)


def captured(world: World, queue: str = CAPTURE, *, keep: bool = False) -> list[dict[str, Any]]:
    """The messages of a queue; they stay there if they are to be kept."""

    async def take(channel: AbstractChannel) -> list[dict[str, Any]]:
        found = await channel.get_queue(queue)
        taken = []
        while (message := await found.get(fail=False)) is not None:
            taken.append(_as_json(message))
            if not keep:
                await message.ack()
        return taken

    messages: list[dict[str, Any]] = world.amqp(take)
    return messages


def _as_json(message: AbstractIncomingMessage) -> dict[str, Any]:
    """A message as it travels; a body that is no JSON is in Base64."""
    named = {name: _plain(value) for name in _PROPERTIES if (value := getattr(message, name)) is not None}
    headers = {name: _plain(value) for name, value in message.headers.items()}
    told = {"exchange": message.exchange, "routingKey": message.routing_key, "properties": named, "headers": headers}
    try:
        return {**told, "body": json.loads(message.body)}
    except ValueError:
        return {**told, "bodyBase64": b64encode(message.body).decode()}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
