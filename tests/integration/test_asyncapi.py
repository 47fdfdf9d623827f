"""The messages that the processes really send are those that docs/asyncapi.json describes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aio_pika.abc import AbstractChannel

from models.message_types import ORDERS_EXCHANGE, PAYMENTS_EXCHANGE, ROUTES
from tests.support.asyncapi import described, faults
from tests.support.waiting import until
from tests.support.world import World

CAPTURE = "captured"


def test_captured_messages_are_as_described(world: World) -> None:
    world.start("order", "payment", "gateway")

    async def listen(channel: AbstractChannel) -> None:
        queue = await channel.declare_queue(CAPTURE, durable=True)
        for exchange in (ORDERS_EXCHANGE, PAYMENTS_EXCHANGE):
            await queue.bind(exchange, "#")

    world.amqp(listen)
    orders = {
        method: world.post(method) for method in ("pm_card_visa", "pm_card_chargeDeclined", "pm_error", "pm_slow")
    }
    world.wait_status(orders["pm_card_visa"], "PAID", "APPROVED")
    for method in ("pm_card_visa", "pm_slow"):
        world.request("PATCH", f"/orders/{orders[method]}/cancel")
    world.wait_status(orders["pm_card_visa"], "CANCELLED", "REFUNDED")
    world.wait_status(orders["pm_slow"], "CANCELLED")
    seen: list[tuple[str, Any]] = []

    async def take(channel: AbstractChannel) -> Sequence[tuple[str, Any]]:
        queue = await channel.get_queue(CAPTURE)
        taken = []
        while (message := await queue.get(fail=False)) is not None:
            await message.ack()
            taken.append((str(message.routing_key), json.loads(message.body)))
        return taken

    def all_types() -> bool:
        seen.extend(world.amqp(take))
        missing = {route.routing_key for route in ROUTES.values()} - {routing_key for routing_key, _ in seen}
        assert not missing, missing
        return True

    until(all_types, what="a message of every type was sent")
    document = described()
    wrong = {key: found for key, message in seen if (found := faults(document, key, message))}
    assert wrong == {}
