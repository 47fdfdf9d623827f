"""The messages that the processes really send are those that docs/asyncapi.json describes."""

from __future__ import annotations

from typing import Any

from models.message_types import ROUTES
from tests.support.asyncapi import described, faults
from tests.support.captures import capture, captured
from tests.support.waiting import until
from tests.support.world import World


def test_captured_messages_are_as_described(world: World) -> None:
    world.start("order", "payment", "gateway")
    capture(world)
    orders = {
        method: world.post(method) for method in ("pm_card_visa", "pm_card_chargeDeclined", "pm_error", "pm_slow")
    }
    world.wait_status(orders["pm_card_visa"], "PAID", "APPROVED")
    for method in ("pm_card_visa", "pm_slow"):
        world.request("PATCH", f"/orders/{orders[method]}/cancel")
    world.wait_status(orders["pm_card_visa"], "CANCELLED", "REFUNDED")
    world.wait_status(orders["pm_slow"], "CANCELLED")
    seen: list[tuple[str, Any]] = []

    def all_types() -> bool:
        seen.extend((message["routingKey"], message["body"]) for message in captured(world))
        missing = {route.routing_key for route in ROUTES.values()} - {routing_key for routing_key, _ in seen}
        assert not missing, missing
        return True

    until(all_types, what="a message of every type was sent")
    document = described()
    wrong = {key: found for key, message in seen if (found := faults(document, key, message))}
    assert wrong == {}
