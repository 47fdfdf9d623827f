"""Either original service can be swapped for ours: documents of the original envelope, alone, in every position."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.failures.test_messages import cancel, order_event, payment_event
from tests.waiting import until
from tests.world import USER, World, envelope


def test_an_original_gateway_drives_our_services(world: World) -> None:
    """It mints no order id, and its numbers are JavaScript's."""
    world.start("order", "payment")
    message = envelope("CreateOrderRequested", {"userId": USER, "total": 999.0})
    world.publish(("orders.exchange", "order.create.requested", message))
    (row,) = until(lambda: world.rows("orders", "SELECT * FROM orders"), what="the order is stored")
    order_id = str(row["id"])
    until(lambda: world.order(order_id)["status"] != "PENDING_PAYMENT", what="the coin has fallen")
    world.publish(cancel(order_id))
    until(lambda: world.order(order_id)["status"] == "CANCELLED", what="it is cancelled")
    world.wait_at_rest([order_id])
    assert world.dead_letters() == []


def test_an_original_order_service_drives_our_payment_service(world: World) -> None:
    world.start("payment", provider_decline_rate=0)
    order_id = str(uuid4())
    world.publish(order_event("OrderCreated", order_id, userId=USER, total=999))
    until(lambda: (world.payment(order_id) or {}).get("status") == "APPROVED", what="the payment is approved")
    cancelled = {"reason": "USER_REQUESTED", "cancelledAt": "2026-02-15T01:42:40.000Z"}
    world.publish(order_event("OrderCancelled", order_id, **cancelled))
    until(lambda: world.payment(order_id)["status"] == "REFUNDED", what="the payment is refunded")
    assert world.books(order_id) == (999, 999)
    assert world.dead_letters() == []


@pytest.mark.parametrize(
    ("event_type", "payload", "status"),
    [
        ("PaymentApproved", {"transactionId": "txn_1"}, "PAID"),
        ("PaymentDeclined", {"reason": "Insufficient funds"}, "CANCELLED"),
        ("PaymentFailed", {"error": "Gateway error"}, "FAILED"),
    ],
)
def test_an_original_payment_service_drives_our_order_service(
    world: World, event_type: str, payload: dict, status: str
) -> None:
    world.start("order")
    order_id = str(uuid4())
    create = envelope("CreateOrderRequested", {"orderId": order_id, "userId": USER, "total": 999})
    world.publish(("orders.exchange", "order.create.requested", create))
    until(lambda: world.order(order_id), what="the order is stored")
    world.publish(payment_event(event_type, order_id, **payload))
    world.wait_status(order_id, status)
    assert world.dead_letters() == []


def test_what_our_services_say_has_the_original_envelope(world: World) -> None:
    """An original service beside ours hears the five fields it knows, with the payload it knows."""
    import json

    async def listen(channel) -> None:
        queue = await channel.declare_queue("original", durable=True, arguments={"x-queue-type": "quorum"})
        for exchange, keys in (("orders.exchange", "order.*"), ("payments.exchange", "payment.*")):
            await queue.bind(exchange, keys)

    heard: dict[str, dict] = {}

    async def hear(channel) -> None:
        queue = await channel.get_queue("original")
        while message := await queue.get(fail=False):
            heard[message.routing_key] = json.loads(message.body)
            assert message.content_type == "application/json"
            assert message.delivery_mode == 2
            await message.ack()

    world.start("order", "payment")
    world.amqp(listen)
    order_id = str(uuid4())
    create = {"orderId": order_id, "userId": USER, "total": 999, "paymentMethod": "pm_card_visa"}
    world.publish(("orders.exchange", "order.create.requested", envelope("CreateOrderRequested", create)))
    world.wait_status(order_id, "PAID", "APPROVED")
    world.publish(cancel(order_id))
    world.wait_status(order_id, "CANCELLED", "REFUNDED")
    world.wait_at_rest()
    world.amqp(hear)
    payloads = {
        "order.created": {"orderId", "userId", "total"},
        "payment.approved": {"orderId", "transactionId"},
        "order.paid": {"orderId"},
        "order.cancelled": {"orderId", "reason", "cancelledAt"},
        "payment.refunded": {"orderId", "transactionId"},
    }
    for routing_key, fields in payloads.items():
        document = heard[routing_key]
        assert {"eventType", "eventId", "occurredAt", "correlationId", "payload"} <= document.keys()
        assert fields <= document["payload"].keys()
        assert document["payload"]["orderId"] == order_id
