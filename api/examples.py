"""Define the examples that all OpenAPI documents share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from api.fields import ORDER_ID, PAYMENT_ID
from models.message_types import CommandType
from models.times import wire_time

USER_ID: Final = "d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f"
CORRELATION_ID: Final = "0d2f0c7e-6b53-4c55-9a3c-0f2b8f6e7a11"

CREATED_AT: Final = datetime(2026, 2, 15, 1, 42, 19, tzinfo=UTC)
CHARGED_AT: Final = CREATED_AT + timedelta(milliseconds=1504)
UPDATED_AT: Final = CREATED_AT + timedelta(milliseconds=1512)
_META: Final = {"page": 1, "limit": 10, "total": 1, "totalPages": 1}

PAID_ORDER: Final = {
    "id": ORDER_ID,
    "userId": USER_ID,
    "total": 999,
    "status": "PAID",
    "createdAt": wire_time(CREATED_AT),
    "updatedAt": wire_time(UPDATED_AT),
    "currency": "USD",
    "coordinator": "choreography",
    "cancelReason": None,
}
CANCELLED_ORDER: Final = {**PAID_ORDER, "status": "CANCELLED", "cancelReason": "PAYMENT_DECLINED"}
PAYMENT: Final = {
    "id": PAYMENT_ID,
    "orderId": ORDER_ID,
    "amount": 999,
    "status": "APPROVED",
    "createdAt": wire_time(CREATED_AT),
    "updatedAt": wire_time(CHARGED_AT),
    "currency": "USD",
    "reason": None,
}
ORDERS: Final = {"data": [PAID_ORDER], "meta": _META}
PAYMENTS: Final = {"data": [PAYMENT], "meta": _META}
STATS: Final = {
    "byStatus": [
        {
            "status": "APPROVED",
            "count": 3,
            "totalAmount": 2498,
            "amounts": [
                {"currency": "EUR", "count": 1, "totalAmount": 500},
                {"currency": "USD", "count": 2, "totalAmount": 1998},
            ],
        },
        {
            "status": "DECLINED",
            "count": 1,
            "totalAmount": 999,
            "amounts": [{"currency": "USD", "count": 1, "totalAmount": 999}],
        },
    ]
}
DEAD_LETTER: Final = {
    "id": "5f0c9c1b-7a3e-5d7e-9a53-6d0a1c2b3d4e",
    "queue": "order-service",
    "reason": "MALFORMED",
    "error": "total must be a whole number",
    "attempts": 1,
    "exchange": "orders.exchange",
    "routingKey": "order.create.requested",
    "firstFailedAt": wire_time(CREATED_AT),
    "failedAt": wire_time(CREATED_AT),
    "eventType": None,
    "eventId": None,
    "orderId": None,
    "body": {"eventType": CommandType.CREATE_ORDER_REQUESTED.value, "payload": {"total": 9.5}},
    "bodyBase64": None,
    "properties": None,
    "redriven": 1,
    "redrivenAt": wire_time(CREATED_AT),
    "redrivenBy": "root",
}
CAUSE: Final = {
    "queue": "order-service",
    "eventType": None,
    "cause": "MALFORMED",
    "count": 3,
    "error": "total must be a whole number",
    "latest": wire_time(CREATED_AT),
    "redriven": 1,
}
ALIVE: Final = {"status": "ok"}
READY: Final = {"ready": True, "checks": {"broker": "ok", "temporal": "ok"}}
NOT_READY: Final = {"ready": False, "checks": {"broker": "not connected", "temporal": "ok"}}


# FastAPI leaves nulls out of its document, also in examples. This stands for null there.
_NULL: Final = "\0"


def hide_nulls(value: Any) -> Any:
    """The example without nulls, so that FastAPI keeps it whole."""
    return _NULL if value is None else _each(hide_nulls, value)


def show_nulls(value: Any) -> Any:
    """The document with the nulls of its examples put back."""
    return None if value == _NULL else _each(show_nulls, value)


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: change(item) for key, item in value.items()}
    return [change(item) for item in value] if isinstance(value, list) else value
