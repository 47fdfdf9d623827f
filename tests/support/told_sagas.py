"""Sagas as `GET /api/console/sagas/{id}` tells them, made by the functions that tell real ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

from api.examples import CANCELLED_ORDER, PAYMENT
from models.message_types import EventType
from models.saga import Coordinator

ORDER: Final = str(CANCELLED_ORDER["id"])
_NAMES: Final = UUID("5d1a6a4e-7a11-4c1c-8f0e-2f6f3f1f7a10")
_START: Final = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
_CAUSES: Final = {
    EventType.ORDER_CREATED: "CreateOrderRequested",
    EventType.PAYMENT_APPROVED: "OrderCreated",
    EventType.PAYMENT_DECLINED: "OrderCreated",
    EventType.PAYMENT_FAILED: "OrderCreated",
    EventType.ORDER_PAID: "PaymentApproved",
    EventType.ORDER_FAILED: "PaymentFailed",
    EventType.ORDER_CANCELLED: "OrderCancelRequested",
    EventType.PAYMENT_REFUNDED: "OrderCancelled",
    EventType.PAYMENT_CANCELLED: "OrderCancelled",
}
PAID: Final = (EventType.ORDER_CREATED, EventType.PAYMENT_APPROVED, EventType.ORDER_PAID)
REFUNDED: Final = (*PAID, EventType.ORDER_CANCELLED, EventType.PAYMENT_REFUNDED)
FAILED: Final = (EventType.ORDER_CREATED, EventType.PAYMENT_FAILED, EventType.ORDER_FAILED)
CANCELLED_EARLY: Final = (EventType.ORDER_CREATED, EventType.ORDER_CANCELLED, EventType.PAYMENT_CANCELLED)
REFUNDED_LATE: Final = (*CANCELLED_EARLY, EventType.PAYMENT_REFUNDED)


def told(coordinator: Coordinator, events: tuple[EventType, ...], **payment: Any) -> dict[str, Any]:
    """A saga with these events, half a second apart."""
    entries = [
        {
            "eventId": str(uuid5(_NAMES, event)),
            "eventType": event.value,
            "at": _at(index),
            "service": "order" if event.value.startswith("Order") else "payment",
            "cause": {"causationId": None, "name": _CAUSES[event]},
            "elapsedMs": 500 * index,
            "summary": f"{event.value}.",
        }
        for index, event in enumerate(events)
    ]
    made = {**PAYMENT, "createdAt": (_START + timedelta(milliseconds=10)).isoformat().replace("+00:00", "Z"), **payment}
    order = {**CANCELLED_ORDER, "coordinator": coordinator.value, "createdAt": _at(0), "cancelReason": "USER_REQUESTED"}
    return {"order": order, "payment": made, "events": entries, "waitsFor": None, "workflow": None, "cost": None}


def letters(count: int) -> list[dict[str, Any]]:
    """Dead letters of that saga, after its last event."""
    return [
        {
            "id": f"letter-{index}",
            "queue": "payment-service",
            "reason": "illegal",
            "error": "No such thing",
            "attempts": 3,
            "routingKey": "order.created",
            "eventType": "OrderCreated",
            "failedAt": _at(20 + index),
        }
        for index in range(count)
    ]


def _at(half_seconds: int) -> str:
    return (_START + timedelta(milliseconds=500 * half_seconds)).isoformat().replace("+00:00", "Z")
