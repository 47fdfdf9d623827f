"""Define requests and answers that gateway and services share: requests are checked, answers are documented."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel

from api import examples
from api.fields import ORDER_ID, PageLimit, PageNumber, PointInTime
from api.problems import Violation, invalid
from models.lifecycle import OrderStatus, PaymentStatus
from models.message_types import MESSAGE_TYPES, EventType
from models.saga import CancelReason, Coordinator
from workflows.saga_input import SagaInput

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
    reason: str | None = Field(description="Why it was declined, failed, cancelled or refunded, else null")


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


class DeadLetterFilter(Strict):
    """Which dead letters: all that meet every condition given."""

    queue: str | None = Field(None, description="Only those that failed in this queue")
    event_type: str | None = Field(None, description="Only messages of this type")
    reason: str | None = Field(None, description="Only those given up for this reason, the `cause` of a group")
    order_id: UUID | None = Field(None, description="Only messages about this order")


class DeadLetterBody(Camel):
    model_config = like(examples.DEAD_LETTER)
    id: str
    queue: str = Field(description="Where it failed")
    reason: str
    error: str
    attempts: int
    exchange: str
    routing_key: str
    first_failed_at: str | None
    failed_at: str | None
    event_type: str | None = Field(description="null if the message can't be read")
    event_id: str | None
    order_id: str | None
    body: Any = Field(description="What its JSON says, else its text")
    body_base64: str | None = Field(alias="bodyBase64", description="Its bytes, if they are no text")
    properties: str | None = Field(description="Its properties in Base64, if they can't be decoded")
    redriven: int = Field(0, description="How often it was redriven already, and failed again")
    redriven_at: str | None = Field(None, description="When it was redriven last")
    redriven_by: str | None = Field(None, description="The name of the API key that had it redriven last")


class DeadLettersFound(Camel):
    data: list[DeadLetterBody]
    total: int = Field(description="How many match; `data` has no more than were asked for")


class DeadLetterCause(Camel):
    queue: str
    event_type: str | None
    cause: str = Field(description="The reason that they have in common")
    count: int
    error: str = Field(description="The error of the latest")
    latest: str | None = Field(description="When the latest was given up")
    redriven: int = Field(0, description="How many of them were redriven before, and failed again")


class DeadLetterCauses(Camel):
    data: list[DeadLetterCause] = Field(description="The most frequent first")


class Redriven(Camel):
    redriven: int = Field(description="How many dead letters went back to the queue they failed in")


class Discarded(Camel):
    discarded: int = Field(description="How many dead letters are gone for good")


class Replay(Strict):
    """Which events to publish once more: all that match every condition given; at least one is needed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"orderId": ORDER_ID}],
            "anyOf": [
                {"required": [name], "properties": {name: {"type": "string"}}}
                for name in ("orderId", "eventType", "since", "until")
            ],
        }
    )

    order_id: UUID | None = None
    event_type: str | None = Field(
        None, examples=[EventType.ORDER_CREATED.value], json_schema_extra={"enum": [*sorted(MESSAGE_TYPES), None]}
    )
    since: PointInTime | None = None
    until: PointInTime | None = None


class Replayed(Camel):
    replayed: int = Field(description="How many events were published once more")


def check_replay(which: Replay) -> None:
    """Raise Problem for an unknown type, and for no condition at all: the whole log is a lot to publish by accident."""
    if which.event_type is not None and which.event_type not in MESSAGE_TYPES:
        message = f"must be one of {', '.join(sorted(MESSAGE_TYPES))}"
        raise invalid(Violation(part="body", field="eventType", rule="enum", message=message))
    if all(condition is None for condition in (which.order_id, which.event_type, which.since, which.until)):
        message = "must name at least one of orderId, eventType, since and until"
        raise invalid(Violation(part="body", field="body", rule="condition_missing", message=message))


class NewSaga(Strict):
    """An orchestrated saga to start, as its workflow takes it, and the trace that its later runs belong to."""

    saga: SagaInput
    traceparent: str | None = Field(None, max_length=100)

    @field_validator("saga")
    @classmethod
    def _is_of_a_new_order(cls, saga: SagaInput) -> SagaInput:
        if saga.order is None:
            raise ValueError("order is missing")
        UUID(saga.order_id)  # raises ValueError, too
        return saga


class SagaStarted(Camel):
    started: bool = Field(description="If not, it has certainly not been started")
