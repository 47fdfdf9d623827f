"""Define the requests and answers of the gateway."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from api import examples
from api.fields import Currency, MinorUnits
from api.gateway.examples import ACCEPTED, CANCEL_ACCEPTED, TIMELINE
from api.schemas import Camel, Strict, like
from models.lifecycle import OrderStatus, PaymentStatus
from models.saga import Coordinator
from models.texts import PAYMENT_METHOD


class CreateOrder(Strict):
    """An order to accept."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"userId": examples.USER_ID, "total": 999, "paymentMethod": "pm_card_visa"}]}
    )

    user_id: UUID
    total: MinorUnits
    currency: Currency = "USD"
    coordinator: Coordinator | None = Field(
        None, description="Who sequences the saga's steps; the gateway's default when left out"
    )
    payment_method: str | None = Field(
        None, pattern=PAYMENT_METHOD, description="Steers the simulated provider, as Stripe's do"
    )


class CancelOrder(Strict):
    """A cancellation; it needs no words."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})

    status: Literal["CANCELLED"] = "CANCELLED"


class UpdateOrder(Strict):
    """A change of status; CANCELLED is the only one that can be asked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "CANCELLED"}]})

    status: Literal["CANCELLED"]


class Accepted(Camel):
    model_config = like(ACCEPTED)
    order_id: UUID
    message: str
    status: Literal["PENDING_PAYMENT"]


class CancelAccepted(Camel):
    model_config = like(CANCEL_ACCEPTED)
    order_id: UUID
    message: str


class CauseBody(Camel):
    causation_id: UUID | None = Field(description="The message that this event answers")
    name: str | None = Field(description="Its type")


class EntryBody(Camel):
    model_config = like(TIMELINE["entries"][0])
    event_id: UUID
    event_type: str
    at: datetime
    actor: Literal["order-service", "payment-service"]
    cause: CauseBody
    elapsed_ms: int = Field(description="Since the saga's first event")
    summary: str
    order_status: OrderStatus | None
    payment_status: PaymentStatus | None


class TimelineBody(Camel):
    model_config = like(TIMELINE)
    order_id: UUID
    coordinator: Coordinator
    order_status: OrderStatus | None
    payment_status: PaymentStatus | None
    over: bool = Field(description="Nothing is outstanding: neither a step nor a compensation")
    source: Literal["workflow", "event logs"] = Field(
        description="Who told it: the order's workflow, or the services' event logs while it can't or lacks something"
    )
    entries: list[EntryBody]
