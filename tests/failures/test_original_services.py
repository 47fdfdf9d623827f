"""Either original service can be swapped for ours: documents of the original envelope, alone, in every position.

The original services write the fields of `sent` in that order, leave out what is undefined, and give a correlation id,
if they have one, as a property of the message as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from tests.support.messages import USER, cancel, envelope, order_event, payment_event
from tests.support.waiting import until
from tests.support.world import World

OURS = dict.fromkeys(("causationId", "schemaVersion", "coordinator"))
TRACED = [{"in_body": "from the body", "in_property": "other"}, {"in_property": "from the property"}, {}]


def sent(event_type: str, payload: Mapping[str, Any], *, in_body: str | None = None, **more: object) -> dict[str, Any]:
    """A message in the JSON of the original services."""
    document = {"eventId": str(uuid4()), "occurredAt": "2026-02-15T01:42:19.000Z", "payload": payload}
    return {**document, **({"correlationId": in_body} if in_body else {}), "eventType": event_type, **more}


def send(world: World, routing_key: str, document: Mapping[str, Any], *, in_property: str | None = None) -> None:
    """Publish as the original services do: to the exchange of the message's owner, and not persistent."""

    async def publish(channel: AbstractChannel) -> None:
        exchange = await channel.get_exchange(f"{routing_key.split('.')[0]}s.exchange", ensure=False)
        message = aio_pika.Message(json.dumps(document).encode(), correlation_id=in_property)
        await exchange.publish(message, routing_key)

    world.amqp(publish)


def traced_by(document: Mapping[str, Any], in_property: str | None = None) -> str:
    return str(document.get("correlationId") or in_property or document["eventId"])


def correlation_ids(world: World, role: str, order_id: str) -> list[str]:
    rows = world.rows(role, "SELECT correlation_id FROM event_log WHERE order_id = %s ORDER BY seq", order_id)
    return [row["correlation_id"] for row in rows]


@pytest.mark.parametrize("traced", TRACED)
def test_47_an_original_gateways_commands_are_traced_by_their_property_or_by_their_event_id(
    world: World, traced: dict[str, str]
) -> None:
    world.start("order", "payment", provider_decline_rate=0)
    body = {"in_body": traced["in_body"]} if "in_body" in traced else {}
    in_property = traced.get("in_property")
    create = sent("CreateOrderRequested", {"userId": USER, "total": 999}, **body)
    send(world, "order.create.requested", create, in_property=in_property)
    (row,) = until(lambda: world.rows("orders", "SELECT id FROM orders"), what="the order is stored")
    order_id = str(row["id"])
    world.wait_status(order_id, "PAID", "APPROVED")
    cancel = sent("OrderCancelRequested", {"orderId": order_id}, **body)
    send(world, "order.cancel.requested", cancel, in_property=in_property)
    world.wait_status(order_id, "CANCELLED", "REFUNDED")
    world.wait_at_rest([order_id])
    first, last = traced_by(create, in_property), traced_by(cancel, in_property)
    assert correlation_ids(world, "orders", order_id) == [first, first, last]
    assert correlation_ids(world, "payments", order_id) == [first, last]
    assert world.dead_letters() == []


@pytest.mark.parametrize("traced", TRACED[1:])
def test_47_an_original_order_services_events_are_charged_and_refunded(world: World, traced: dict[str, str]) -> None:
    """The original order service makes declined orders FAILED, and yet publishes OrderCancelled for them."""
    world.start("payment", provider_decline_rate=0)
    order_id, tombstone = str(uuid4()), str(uuid4())
    created = sent("OrderCreated", {"orderId": order_id, "userId": USER, "total": 999})
    send(world, "order.created", created, **traced)
    until(lambda: world.payment(order_id)["status"] == "APPROVED", what="the payment is approved")
    times = {"cancelledAt": "2026-02-15T01:42:40.000Z"}
    for each, reason in ((order_id, "USER_REQUESTED"), (tombstone, "PAYMENT_DECLINED")):
        cancelled = sent("OrderCancelled", {"orderId": each, "reason": reason, **times})
        send(world, "order.cancelled", cancelled, **traced)
    until(lambda: world.payment(order_id)["status"] == "REFUNDED", what="the payment is refunded")
    until(lambda: world.payment(tombstone)["status"] == "CANCELLED", what="there is a tombstone")
    assert world.books(order_id) == (999, 999)
    assert correlation_ids(world, "payments", order_id)[0] == traced_by(created, traced.get("in_property"))
    assert world.dead_letters() == []


@pytest.mark.parametrize("traced", TRACED[1:])
@pytest.mark.parametrize(
    ("routing_key", "event_type", "payload", "status"),
    [
        ("payment.approved", "PaymentApproved", {"transactionId": str(uuid4())}, "PAID"),
        ("payment.declined", "PaymentDeclined", {"reason": "Insufficient funds"}, "CANCELLED"),
        ("payment.failed", "PaymentFailed", {"error": "Unknown error"}, "FAILED"),
        ("payment.failed", "PaymentFailed", {"error": "Error: boom\n    at process.ts:1:2\n" * 200}, "FAILED"),
    ],
)
def test_47_an_original_payment_services_events_settle_our_orders(
    world: World, routing_key: str, event_type: str, payload: dict[str, str], status: str, traced: dict[str, str]
) -> None:
    world.start("order")
    send(world, "order.create.requested", sent("CreateOrderRequested", {"userId": USER, "total": 999}))
    (row,) = until(lambda: world.rows("orders", "SELECT id FROM orders"), what="the order is stored")
    settled = sent(event_type, {"orderId": str(row["id"]), **payload})
    send(world, routing_key, settled, **traced)
    world.wait_status(str(row["id"]), status)
    assert correlation_ids(world, "orders", str(row["id"]))[-1] == traced_by(settled, traced.get("in_property"))
    assert world.dead_letters() == []


def test_47_null_in_a_field_of_ours_is_as_if_it_were_left_out(world: World) -> None:
    world.start("order", "payment", provider_decline_rate=0)
    nulls = {"orderId": None, "currency": None, "paymentMethod": None}
    create = sent("CreateOrderRequested", {"userId": USER, "total": 999, **nulls}, correlationId=None, **OURS)
    send(world, "order.create.requested", create)
    (row,) = until(lambda: world.rows("orders", "SELECT * FROM orders"), what="the order is stored")
    assert (row["currency"], row["payment_method"], row["coordinator"]) == ("USD", None, "choreography")
    order_id = str(row["id"])
    world.wait_status(order_id, "PAID", "APPROVED")
    cancel = sent("OrderCancelRequested", {"orderId": order_id, "reason": None}, correlationId=None, **OURS)
    send(world, "order.cancel.requested", cancel)
    world.wait_status(order_id, "CANCELLED", "REFUNDED")
    assert world.order(order_id)["cancel_reason"] == "USER_REQUESTED"
    world.wait_at_rest([order_id])
    assert world.dead_letters() == []


@pytest.mark.parametrize("method", ["visa", "pm_" + "x" * 65, "pm_" + "x" * 300_000])
def test_47_a_payment_method_of_another_form_is_a_dead_letter_and_nothing_is_charged(world: World, method: str) -> None:
    world.start("order", "payment")
    order_id = str(uuid4())
    payload = {"orderId": order_id, "userId": USER, "total": 999, "paymentMethod": method}
    send(world, "order.create.requested", sent("CreateOrderRequested", payload))
    send(world, "order.created", sent("OrderCreated", payload))
    letters = until(lambda: len(found := world.dead_letters()) == 2 and found, what="both are dead letters")
    assert {letter.reason for letter in letters} == {"MALFORMED"}
    assert all("paymentMethod" in letter.error for letter in letters)
    assert (world.find_order(order_id), world.find_payment(order_id)) == (None, None)


def test_an_original_gateway_drives_our_services(world: World) -> None:
    """The original gateway mints no order id, and its numbers are JavaScript's."""
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
    until(lambda: world.payment(order_id)["status"] == "APPROVED", what="the payment is approved")
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
    world: World, event_type: str, payload: dict[str, str], status: str
) -> None:
    world.start("order")
    order_id = str(uuid4())
    create = envelope("CreateOrderRequested", {"orderId": order_id, "userId": USER, "total": 999})
    world.publish(("orders.exchange", "order.create.requested", create))
    until(lambda: world.find_order(order_id), what="the order is stored")
    world.publish(payment_event(event_type, order_id, **payload))
    world.wait_status(order_id, status)
    assert world.dead_letters() == []


def test_what_our_services_say_has_the_original_envelope(world: World) -> None:
    """An original service beside ours receives the five fields and the payload that it knows."""

    async def listen(channel: AbstractChannel) -> None:
        queue = await channel.declare_queue("original", durable=True, arguments={"x-queue-type": "quorum"})
        for exchange, keys in (("orders.exchange", "order.*"), ("payments.exchange", "payment.*")):
            await queue.bind(exchange, keys)

    heard: dict[str, dict[str, Any]] = {}

    async def hear(channel: AbstractChannel) -> None:
        queue = await channel.get_queue("original")
        while message := await queue.get(fail=False):
            assert message.routing_key is not None
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
