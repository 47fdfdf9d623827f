"""Messages and requests that the tests send to the broker and to the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

USER = "d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f"
BODY = {"userId": USER, "total": 999, "paymentMethod": "pm_card_visa"}  # of POST /orders
METHODS = ("pm_card_visa", "pm_card_chargeDeclined", "pm_error", "pm_timeout_then_approve")  # one for each outcome
ORDERS, PAYMENTS = "orders.exchange", "payments.exchange"

Publication = tuple[str, str, dict[str, Any]]  # exchange, routing key, body


def envelope(event_type: str, payload: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A message in the original services' envelope."""
    return {
        "eventType": event_type,
        "eventId": str(uuid4()),
        "occurredAt": "2026-02-15T01:42:19.000Z",
        "correlationId": str(uuid4()),
        "payload": payload,
        **more,
    }


def create(order_id: str, payment_method: str = "pm_card_visa", **more: object) -> Publication:
    payload = {"orderId": order_id, "userId": USER, "total": 999, "paymentMethod": payment_method}
    return ORDERS, "order.create.requested", envelope("CreateOrderRequested", payload, **more)


def cancel(order_id: str, **more: object) -> Publication:
    return ORDERS, "order.cancel.requested", envelope("OrderCancelRequested", {"orderId": order_id}, **more)


def order_event(event_type: str, order_id: str, **payload: object) -> Publication:
    key = f"order.{event_type.removeprefix('Order').lower()}"
    return ORDERS, key, envelope(event_type, {"orderId": order_id, **payload})


def payment_event(event_type: str, order_id: str, **payload: object) -> Publication:
    key = f"payment.{event_type.removeprefix('Payment').lower()}"
    return PAYMENTS, key, envelope(event_type, {"orderId": order_id, **payload})
