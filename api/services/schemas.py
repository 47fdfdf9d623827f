"""Define the requests and answers between the gateway and the services."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from pydantic import Field

from api.fields import PointInTime
from api.schemas import Camel, DeadLetterFilter, PaymentsPage, Replay, Strict
from models.lifecycle import OrderStatus
from models.saga import Coordinator

MOST_ORDERS: Final = 5000  # of one user, whose payments are listed together


class KeepKey(Strict):
    """An Idempotency-Key to keep, and the order it is to stand for unless it already stands for one."""

    scope: str = Field(pattern=r"^[ -~]{1,200}$")
    key: str = Field(pattern=r"^[ -~]{1,255}$")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    order_id: UUID


class LatestOrderIds(Camel):
    data: list[UUID] = Field(description=f"Newest first, at most {MOST_ORDERS}")


class TotalsQuery(Strict):
    user_id: UUID | None = Field(None, description="Only this customer's orders")


class OrderTotals(Camel):
    total: int
    by_status: dict[OrderStatus, int] = Field(description="Only those that occur")
    by_coordinator: dict[Coordinator, dict[OrderStatus, int]] = Field(description="Likewise, for each coordinator")


class PaymentsOfOrders(PaymentsPage):
    """A page of the payments of these orders."""

    order_ids: list[UUID] = Field(max_length=MOST_ORDERS)


class KeptKey(Camel):
    order_id: UUID
    digest: str


class ExpectedWaits(Camel):
    choreography: float | None
    orchestration: float | None


class OperatorReplay(Replay):
    """The same, and who asked for it."""

    by: str = Field("", pattern=r"^[ -~]{0,64}$")


class TheseLetters(DeadLetterFilter):
    """Which dead letters of this process, by their ids too, and who asked for them."""

    ids: list[str] | None = Field(None, max_length=1000)
    limit: int = Field(100, ge=1, le=10_000)
    by: str = Field("", pattern=r"^[ -~]{0,64}$")


class OwnAudit(Camel):
    checks: list[dict[str, Any]] = Field(description="Each check of this database, with its violations")
    waiting: int = Field(description="Events waiting to be published")


class EventsQuery(Strict):
    """Which events to list: the first `limit` that match every condition given."""

    order_id: UUID | None = Field(None, description="Only this order's")
    event_type: str | None = Field(None, description="Only of this type")
    since: PointInTime | None = Field(None, description="Only what happened then or later")
    until: PointInTime | None = Field(None, description="Only what happened before")
    limit: int = Field(100, ge=1, le=1000, description="How many at most")


class EventLog(Camel):
    data: list[dict[str, Any]] = Field(description="Envelopes, as they were published")
