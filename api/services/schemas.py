"""Define the requests and answers between the gateway and the services."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field

from api.fields import ORDER_ID
from api.schemas import Camel, PaymentsPage, Strict
from models.message_types import EventType

MOST_ORDERS: Final = 5000  # of one user, whose payments are listed together


class KeepKey(Strict):
    """An Idempotency-Key to keep, and the order it is to stand for unless it already stands for one."""

    scope: str = Field(pattern=r"^[ -~]{1,200}$")
    key: str = Field(pattern=r"^[ -~]{1,255}$")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    order_id: UUID


class LatestOrderIds(Camel):
    data: list[UUID] = Field(description=f"Newest first, at most {MOST_ORDERS}")


class PaymentsOfOrders(PaymentsPage):
    """A page of the payments of these orders."""

    order_ids: list[UUID] = Field(max_length=MOST_ORDERS)


class KeptKey(Camel):
    order_id: UUID
    digest: str


class Replay(Strict):
    """Which events to publish once more: all that match every condition given; at least one is needed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"orderId": ORDER_ID}]})

    order_id: UUID | None = None
    event_type: str | None = Field(None, examples=[EventType.ORDER_CREATED.value])
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class EventsQuery(Strict):
    """Which events to list: the first `limit` that match every condition given."""

    order_id: UUID | None = Field(None, description="Only this order's")
    event_type: str | None = Field(None, description="Only of this type")
    since: AwareDatetime | None = Field(None, description="Only what happened then or later")
    until: AwareDatetime | None = Field(None, description="Only what happened before")
    limit: int = Field(100, ge=1, le=1000, description="How many at most")


class EventLog(Camel):
    data: list[dict[str, Any]] = Field(description="Envelopes, as they were published")


class Replayed(Camel):
    replayed: int = Field(description="How many events were published once more")
