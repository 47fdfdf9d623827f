"""The examples of the API's documents: made by the code that answers, so that they are true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.fields import ORDER_ID, PAYMENT_ID
from api.ports import Limits
from api.problems import Problem, from_pydantic, not_taken, unavailable, undecided
from api.undertaking import CANCELLED, PLACED
from models.messages import Envelope
from models.times import wire_time
from workflows.timeline import build, timeline_as_json

USER_ID: Final = "d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f"
CORRELATION_ID: Final = "0d2f0c7e-6b53-4c55-9a3c-0f2b8f6e7a11"

_CREATED: Final = datetime(2026, 2, 15, 1, 42, 19, tzinfo=UTC)
_CHARGED: Final = _CREATED + timedelta(milliseconds=1504)
_UPDATED: Final = _CREATED + timedelta(milliseconds=1512)
_META: Final = {"page": 1, "limit": 10, "total": 1, "totalPages": 1}

PAID_ORDER: Final = {
    "id": ORDER_ID,
    "userId": USER_ID,
    "total": 999,
    "status": "PAID",
    "createdAt": wire_time(_CREATED),
    "updatedAt": wire_time(_UPDATED),
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
    "createdAt": wire_time(_CREATED),
    "updatedAt": wire_time(_CHARGED),
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
ACCEPTED: Final = {"orderId": ORDER_ID, "message": "Order creation request accepted", "status": "PENDING_PAYMENT"}
CANCEL_ACCEPTED: Final = {"orderId": ORDER_ID, "message": "Order cancellation request accepted"}
ALIVE: Final = {"status": "ok"}
READY: Final = {"ready": True, "checks": {"broker": "ok", "temporal": "ok"}}
NOT_READY: Final = {"ready": False, "checks": {"broker": "not connected", "temporal": "ok"}}


def _event(kind: str, at: datetime, cause: UUID, **payload: object) -> Envelope:
    return Envelope(
        event_type=kind,
        event_id=uuid5(UUID(ORDER_ID), kind),
        occurred_at=at,
        correlation_id=CORRELATION_ID,
        payload={"orderId": ORDER_ID, **payload},
        causation_id=cause,
    )


_created = _event("OrderCreated", _CREATED, uuid5(UUID(ORDER_ID), "command"), total=999, currency="USD")
_approved = _event("PaymentApproved", _CHARGED, _created.event_id, transactionId="tx_019c5ef4")
_paid = _event("OrderPaid", _UPDATED, _approved.event_id)
EVENTS: Final = (_created, _approved, _paid)
TIMELINE: Final[Mapping[str, Any]] = msgspec.to_builtins(timeline_as_json(build(EVENTS, source="workflow")))
_entry: Final = TIMELINE["entries"][0]
STREAM: Final = (
    f"id: {_entry['eventId']}\nevent: {_entry['eventType']}\ndata: {msgspec.json.encode(_entry).decode()}\n\n"
)


# FastAPI leaves out of its document whatever is null, in examples, too: there, this stands for it.
_NULL: Final = "\0"


def hide_nulls(value: Any) -> Any:
    """The example as it gets through FastAPI."""
    return _NULL if value is None else _each(hide_nulls, value)


def show_nulls(value: Any) -> Any:
    """The document with the nulls of its examples."""
    return None if value == _NULL else _each(show_nulls, value)


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: change(item) for key, item in value.items()}
    return [change(item) for item in value] if isinstance(value, list) else value


class _Ids(BaseModel):
    model_config = ConfigDict(extra="forbid")

    order_id: UUID | None = Field(None, alias="orderId")
    payment_id: UUID | None = Field(None, alias="paymentId")


def refused(model: type[BaseModel], part: str, **given: object) -> Problem:
    """The problem of a request whose part is this."""
    try:
        model.model_validate(given)
    except ValidationError as error:
        return from_pydantic(error, part)
    raise AssertionError(f"{model.__name__} takes {given}")


NO_ORDER_ID: Final = refused(_Ids, "path", orderId="42")
NO_PAYMENT_ID: Final = refused(_Ids, "path", paymentId="42")
SERVICE_AWAY: Final = unavailable("The order service does not answer; try again")
BROKER_AWAY: Final = not_taken("The message broker")
TEMPORAL_AWAY: Final = not_taken("Temporal")
_MOMENT: Final = Limits().command
MAY_BE_PLACED: Final = undecided("The message broker", UUID(ORDER_ID), may_be=PLACED, within=_MOMENT)
MAY_BE_CANCELLED: Final = undecided("The message broker", UUID(ORDER_ID), may_be=CANCELLED, within=_MOMENT)
