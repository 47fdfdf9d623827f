"""Define requests and answers that gateway and services share: requests are checked, answers are documented."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from api import examples
from api.fields import PageLimit, PageNumber
from models.lifecycle import OrderStatus, PaymentStatus
from models.saga import CancelReason, Coordinator

Item = TypeVar("Item")


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class Strict(Camel):
    model_config = ConfigDict(extra="forbid")


class NoQuery(Strict):
    """No query parameters."""


class Page(Strict):
    page: PageNumber = Field(1, description="Which page, the newest first; past the end it is empty")
    limit: PageLimit = Field(10, description="How many a page has")


class OrdersPage(Page):
    status: OrderStatus | None = Field(None, description="Only orders with this status")
    user_id: UUID | None = Field(None, description="Only this customer's orders")


class PaymentsPage(Page):
    status: PaymentStatus | None = Field(None, description="Only payments with this status")


def like(*found: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": examples.hide_nulls(list(found))})


class OrderBody(Camel):
    model_config = like(examples.PAID_ORDER, examples.CANCELLED_ORDER)
    id: UUID
    user_id: UUID
    total: int = Field(description="In minor units: 999 is 9.99")
    status: OrderStatus
    created_at: datetime
    updated_at: datetime
    currency: str = Field(description="ISO 4217 code")
    coordinator: Coordinator
    cancel_reason: CancelReason | None = Field(description="null unless the order is cancelled")


class PaymentBody(Camel):
    model_config = like(examples.PAYMENT)
    id: UUID
    order_id: UUID
    amount: int = Field(description="In minor units: 999 is 9.99")
    status: PaymentStatus
    created_at: datetime
    updated_at: datetime
    currency: str = Field(description="ISO 4217 code")
    reason: str | None = Field(description="Why it was declined or failed, else null")


class Meta(Camel):
    page: int
    limit: int
    total: int = Field(description="How many there are in all")
    total_pages: int


class Paged(Camel, Generic[Item]):
    data: list[Item]
    meta: Meta


class CurrencyTotal(Camel):
    currency: str = Field(description="ISO 4217 code")
    count: int
    total_amount: int = Field(description="In minor units of this currency")


class StatusTotal(Camel):
    status: PaymentStatus
    count: int
    total_amount: int = Field(description="In minor units, added up over all currencies; `amounts` tells them apart")
    amounts: list[CurrencyTotal] = Field(description="The same by currency, in the order of their codes")


class Stats(Camel):
    model_config = like(examples.STATS)
    by_status: list[StatusTotal]


class Health(BaseModel):
    model_config = like(examples.ALIVE)
    status: Literal["ok"]


class Ready(BaseModel):
    model_config = like(examples.READY)
    ready: bool
    checks: dict[str, str] = Field(description="What this process needs, by name: `ok`, or what is wrong with it")


class ViolationBody(BaseModel):
    field: str = Field(description="As the client names it")
    part: str = Field(alias="in", description="body, query, path or header")
    rule: str
    message: str


class ProblemBody(Camel):
    """Problem details as RFC 9457 defines them."""

    type: str = Field(description="What kind of problem it is, for programs")
    title: str = Field(description="The same, for people")
    status: int
    detail: str = Field(description="What is wrong this time, and what to do")
    instance: str = Field(description="The path that was asked for")
    correlation_id: str | None = Field(description="Under which the logs tell more")
    errors: list[ViolationBody] | None = Field(None, description="With 422: every field and the rule it breaks")
