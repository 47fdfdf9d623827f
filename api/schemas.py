"""Describe what travels over HTTP: requests as they are checked, answers as they are documented."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from api.fields import ORDER_ID, PAYMENT_ID, Currency, MinorUnits, PageLimit, PageNumber
from models.order import OrderStatus
from models.payment import PaymentStatus
from models.saga import CancelReason, Coordinator
from models.texts import PAYMENT_METHOD

_USER_ID: Final = "d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f"
_CREATED: Final = "2026-02-15T01:42:19.000Z"
_UPDATED: Final = "2026-02-15T01:42:20.613Z"

Row = TypeVar("Row")


class _Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _Request(_Camel):
    model_config = ConfigDict(extra="forbid")


class CreateOrder(_Request):
    """An order to accept."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"userId": _USER_ID, "total": 999, "paymentMethod": "pm_card_visa"}]}
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


class CancelOrder(_Request):
    """A cancellation; it needs no words."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})

    status: Literal["CANCELLED"] = "CANCELLED"


class UpdateOrder(_Request):
    """A change of status; CANCELLED is the only one that can be asked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "CANCELLED"}]})

    status: Literal["CANCELLED"]


class KeepKey(_Request):
    """An Idempotency-Key to keep, and the order it is to stand for unless it already stands for one."""

    scope: str = Field(pattern=r"^[ -~]{1,200}$")
    key: str = Field(pattern=r"^[ -~]{1,255}$")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    order_id: UUID


class Replay(_Request):
    """Which events to publish once more: all that match every condition given; at least one is needed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"orderId": ORDER_ID}]})

    order_id: UUID | None = None
    event_type: str | None = Field(None, examples=["OrderCreated"])
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class EventsQuery(_Request):
    """Which events to list: the first `limit` that match every condition given."""

    order_id: UUID | None = None
    event_type: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class NoQuery(_Request):
    """No query parameters."""


class Page(_Request):
    page: PageNumber = 1
    limit: PageLimit = 10


class OrdersPage(Page):
    status: OrderStatus | None = None
    user_id: UUID | None = None


class PaymentsPage(Page):
    pass


class Accepted(_Camel):
    order_id: UUID = Field(examples=[ORDER_ID])
    message: str = Field(examples=["Order creation request accepted"])
    status: Literal["PENDING_PAYMENT"]


class CancelAccepted(_Camel):
    order_id: UUID = Field(examples=[ORDER_ID])
    message: str = Field(examples=["Order cancellation request accepted"])


class OrderBody(_Camel):
    id: UUID = Field(examples=[ORDER_ID])
    user_id: UUID = Field(examples=[_USER_ID])
    total: int = Field(examples=[999])
    status: OrderStatus = Field(examples=["PAID"])
    created_at: datetime = Field(examples=[_CREATED])
    updated_at: datetime = Field(examples=[_UPDATED])
    currency: str = Field(examples=["USD"])
    coordinator: Coordinator
    cancel_reason: CancelReason | None


class PaymentBody(_Camel):
    id: UUID = Field(examples=[PAYMENT_ID])
    order_id: UUID = Field(examples=[ORDER_ID])
    amount: int = Field(examples=[999])
    status: PaymentStatus = Field(examples=["APPROVED"])
    created_at: datetime = Field(examples=[_CREATED])
    updated_at: datetime = Field(examples=[_UPDATED])
    currency: str = Field(examples=["USD"])
    reason: str | None = Field(examples=[None])


class Meta(_Camel):
    page: int
    limit: int
    total: int
    total_pages: int


class Paged(_Camel, Generic[Row]):
    data: list[Row]
    meta: Meta


class StatusTotal(_Camel):
    status: PaymentStatus = Field(examples=["APPROVED"])
    count: int
    total_amount: int = Field(description="In minor units, whatever the currency")


class Stats(_Camel):
    by_status: list[StatusTotal]


class CauseBody(_Camel):
    causation_id: UUID | None = Field(description="The message that this event answers")
    name: str | None = Field(examples=["CreateOrderRequested"])


class EntryBody(_Camel):
    event_id: UUID
    event_type: str = Field(examples=["OrderCreated"])
    at: datetime = Field(examples=[_CREATED])
    actor: Literal["order-service", "payment-service"]
    cause: CauseBody
    elapsed_ms: int = Field(description="Since the saga's first event")
    summary: str = Field(examples=["Order accepted: 999 USD in minor units to pay."])
    order_status: OrderStatus | None
    payment_status: PaymentStatus | None


class TimelineBody(_Camel):
    order_id: UUID = Field(examples=[ORDER_ID])
    coordinator: Coordinator
    order_status: OrderStatus | None
    payment_status: PaymentStatus | None
    over: bool = Field(description="Nothing is outstanding: neither a step nor a compensation")
    source: Literal["workflow", "event logs"] = Field(
        description="Who told it: the order's workflow, or the services' event logs while it can't or lacks something"
    )
    entries: list[EntryBody]


class KeptKey(_Camel):
    order_id: UUID
    digest: str


class EventLog(_Camel):
    data: list[dict[str, Any]] = Field(description="Envelopes, as they were published")


class Replayed(_Camel):
    replayed: int = Field(description="How many events were published once more")


class Health(BaseModel):
    status: Literal["ok"]


class Ready(BaseModel):
    ready: bool
    checks: dict[str, str] = Field(examples=[{"broker": "ok", "orders": "ok", "payments": "ok"}])


class ViolationBody(BaseModel):
    field: str = Field(examples=["total"])
    part: str = Field(alias="in", examples=["body"])
    rule: str = Field(examples=["less_than_equal"])
    message: str = Field(examples=["must be less than or equal to 1000000000000"])


class ProblemBody(_Camel):
    """Problem details as RFC 9457 defines them."""

    type: str = Field(examples=["urn:payment-saga:problem:invalid-request"])
    title: str = Field(examples=["The request breaks a rule"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["total must be less than or equal to 1000000000000"])
    instance: str = Field(examples=["/api/orders"])
    correlation_id: str | None
    errors: list[ViolationBody] | None = Field(None, description="With 422: every field and the rule it breaks")
