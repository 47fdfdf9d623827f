"""Make the examples of the gateway's document with the code that answers requests, so that they are true."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.examples import CHARGED_AT, CORRELATION_ID, CREATED_AT, UPDATED_AT
from api.fields import ORDER_ID
from api.gateway.command_deadline import CANCELLED, PLACED
from api.gateway.dependencies import Limits
from api.gateway.original_services import (
    ignored_filter,
    no_event_log,
    no_such_order_id,
    orchestration_needs_ours,
)
from api.problems import Problem, from_pydantic, not_taken, unavailable, undecided
from models.message_types import EventType
from models.messages import Envelope
from models.originals import ServiceName
from workflows.timeline import build, timeline_as_json

ACCEPTED: Final = {"orderId": ORDER_ID, "message": "Order creation request accepted", "status": "PENDING_PAYMENT"}
CANCEL_ACCEPTED: Final = {"orderId": ORDER_ID, "message": "Order cancellation request accepted"}


def _event(kind: EventType, at: datetime, cause: UUID, **payload: object) -> Envelope:
    return Envelope(
        event_type=kind,
        event_id=uuid5(UUID(ORDER_ID), kind),
        occurred_at=at,
        correlation_id=CORRELATION_ID,
        payload={"orderId": ORDER_ID, **payload},
        causation_id=cause,
    )


_created = _event(EventType.ORDER_CREATED, CREATED_AT, uuid5(UUID(ORDER_ID), "command"), total=999, currency="USD")
_approved = _event(EventType.PAYMENT_APPROVED, CHARGED_AT, _created.event_id, transactionId="tx_019c5ef4")
_paid = _event(EventType.ORDER_PAID, UPDATED_AT, _approved.event_id)
EVENTS: Final = (_created, _approved, _paid)
TIMELINE: Final[Mapping[str, Any]] = msgspec.to_builtins(timeline_as_json(build(EVENTS, source="workflow")))
_entry: Final = TIMELINE["entries"][0]
STREAM: Final = (
    f"id: {_entry['eventId']}\nevent: {_entry['eventType']}\ndata: {msgspec.json.encode(_entry).decode()}\n\n"
)


class _PathIds(BaseModel):
    model_config = ConfigDict(extra="forbid")

    order_id: UUID | None = Field(None, alias="orderId")
    payment_id: UUID | None = Field(None, alias="paymentId")


def refused(model: type[BaseModel], part: str, **given: object) -> Problem:
    """The problem that answers a request with these values in one of its parts."""
    try:
        model.model_validate(given)
    except ValidationError as error:
        return from_pydantic(error, part)
    raise AssertionError(f"{model.__name__} takes {given}")


NO_ORDER_ID: Final = refused(_PathIds, "path", orderId="42")
NO_PAYMENT_ID: Final = refused(_PathIds, "path", paymentId="42")
SERVICE_AWAY: Final = unavailable("The order service does not answer; try again")
BROKER_AWAY: Final = not_taken("The message broker")
TEMPORAL_AWAY: Final = not_taken("Temporal")
_MOMENT: Final = Limits().command
MAY_BE_PLACED: Final = undecided("The message broker", UUID(ORDER_ID), may_be=PLACED, within=_MOMENT)
MAY_BE_CANCELLED: Final = undecided("The message broker", UUID(ORDER_ID), may_be=CANCELLED, within=_MOMENT)
NO_ORCHESTRATION: Final = orchestration_needs_ours(frozenset({ServiceName.PAYMENT}))
NO_FILTER: Final = ignored_filter(ServiceName.ORDER, "status")
NO_EVENT_LOG: Final = no_event_log(ServiceName.ORDER)
FOREIGN_ID: Final = no_such_order_id(UUID(ORDER_ID))
