"""Describe what travels over HTTP: requests as they are checked, answers as they are documented."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from api import examples
from api.fields import ORDER_ID, Currency, MinorUnits, PageLimit, PageNumber
from models.order import OrderStatus
from models.payment import PaymentStatus
from models.saga import CancelReason, Coordinator
from models.texts import PAYMENT_METHOD

Row = TypeVar("Row")


class _Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _Request(_Camel):
    model_config = ConfigDict(extra="forbid")


class CreateOrder(_Request):
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

    order_id: UUID | None = Field(None, description="Only this order's")
    event_type: str | None = Field(None, description="Only of this type")
    since: AwareDatetime | None = Field(None, description="Only what happened then or later")
    until: AwareDatetime | None = Field(None, description="Only what happened before")
    limit: int = Field(100, ge=1, le=1000, description="How many at most")


class NoQuery(_Request):
    """No query parameters."""


class Page(_Request):
    page: PageNumber = Field(1, description="Which page, the newest first; past the end it is empty")
    limit: PageLimit = Field(10, description="How many a page has")


class OrdersPage(Page):
    status: OrderStatus | None = Field(None, description="Only orders with this status")
    user_id: UUID | None = Field(None, description="Only this customer's orders")


class PaymentsPage(Page):
    status: PaymentStatus | None = Field(None, description="Only payments with this status")


def _like(*found: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": examples.hide_nulls(list(found))})


class Accepted(_Camel):
    model_config = _like(examples.ACCEPTED)
    order_id: UUID
    message: str
    status: Literal["PENDING_PAYMENT"]


class CancelAccepted(_Camel):
    model_config = _like(examples.CANCEL_ACCEPTED)
    order_id: UUID
    message: str


class OrderBody(_Camel):
    model_config = _like(examples.PAID_ORDER, examples.CANCELLED_ORDER)
    id: UUID
    user_id: UUID
    total: int = Field(description="In minor units: 999 is 9.99")
    status: OrderStatus
    created_at: datetime
    updated_at: datetime
    currency: str = Field(description="ISO 4217 code")
    coordinator: Coordinator
    cancel_reason: CancelReason | None = Field(description="null unless the order is cancelled")


class PaymentBody(_Camel):
    model_config = _like(examples.PAYMENT)
    id: UUID
    order_id: UUID
    amount: int = Field(description="In minor units: 999 is 9.99")
    status: PaymentStatus
    created_at: datetime
    updated_at: datetime
    currency: str = Field(description="ISO 4217 code")
    reason: str | None = Field(description="Why it was declined or failed, else null")


class Meta(_Camel):
    page: int
    limit: int
    total: int = Field(description="How many there are in all")
    total_pages: int


class Paged(_Camel, Generic[Row]):
    data: list[Row]
    meta: Meta


class CurrencyTotal(_Camel):
    currency: str = Field(description="ISO 4217 code")
    count: int
    total_amount: int = Field(description="In minor units of this currency")


class StatusTotal(_Camel):
    status: PaymentStatus
    count: int
    total_amount: int = Field(description="In minor units, added up over all currencies; `amounts` tells them apart")
    amounts: list[CurrencyTotal] = Field(description="The same by currency, in the order of their codes")


class Stats(_Camel):
    model_config = _like(examples.STATS)
    by_status: list[StatusTotal]


class CauseBody(_Camel):
    causation_id: UUID | None = Field(description="The message that this event answers")
    name: str | None = Field(description="Its type")


class EntryBody(_Camel):
    model_config = _like(examples.TIMELINE["entries"][0])
    event_id: UUID
    event_type: str
    at: datetime
    actor: Literal["order-service", "payment-service"]
    cause: CauseBody
    elapsed_ms: int = Field(description="Since the saga's first event")
    summary: str
    order_status: OrderStatus | None
    payment_status: PaymentStatus | None


class TimelineBody(_Camel):
    model_config = _like(examples.TIMELINE)
    order_id: UUID
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
    model_config = _like(examples.ALIVE)
    status: Literal["ok"]


class Ready(BaseModel):
    model_config = _like(examples.READY)
    ready: bool
    checks: dict[str, str] = Field(description="What this process needs, by name: `ok`, or what is wrong with it")


class ViolationBody(BaseModel):
    field: str = Field(description="As the client names it")
    part: str = Field(alias="in", description="body, query, path or header")
    rule: str
    message: str


class ProblemBody(_Camel):
    """Problem details as RFC 9457 defines them."""

    type: str = Field(description="What kind of problem it is, for programs")
    title: str = Field(description="The same, for people")
    status: int
    detail: str = Field(description="What is wrong this time, and what to do")
    instance: str = Field(description="The path that was asked for")
    correlation_id: str | None = Field(description="Under which the logs tell more")
    errors: list[ViolationBody] | None = Field(None, description="With 422: every field and the rule it breaks")
