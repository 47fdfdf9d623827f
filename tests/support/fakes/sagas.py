"""Events of made-up sagas, and fake services behind their task queues."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.steps import StepInput, StepResult
from models.times import wire_time
from tests.support.messages import USER, envelope
from workflows.naming import ORDER_TASK_QUEUE, PAYMENT_TASK_QUEUE


class Story:
    """The events of one order in wire form, dated from `begin`."""

    def __init__(self, begin: datetime) -> None:
        self.order_id = str(uuid4())
        self.begin = begin
        self.created = self.event("OrderCreated", 0, userId=USER, total=999, currency="USD")
        self.approved = self.event("PaymentApproved", 1, self.created, transactionId="t-1")
        self.declined = self.event("PaymentDeclined", 1, self.created, reason="Insufficient funds")
        self.paid = self.event("OrderPaid", 2, self.approved)
        self.turned_down = self.event("OrderCancelled", 2, self.declined, reason="PAYMENT_DECLINED", total=999)
        self.cancelled = self.event("OrderCancelled", 3, reason="USER_REQUESTED", total=999)
        self.voided = self.event("PaymentCancelled", 4, self.cancelled)
        self.refunded = self.event("PaymentRefunded", 5, self.cancelled, transactionId="t-1")

    def event(self, event_type: str, seconds: float, cause: dict[str, Any] | None = None, **payload: Any) -> Any:
        at = self.begin.astimezone(UTC) + timedelta(seconds=seconds)
        return envelope(
            event_type,
            {"orderId": self.order_id, **payload},
            occurredAt=wire_time(at),
            causationId=cause["eventId"] if cause else None,
        )


class FakeOrderService:
    """Answers the steps that mirrors ask for, and remembers when each came."""

    def __init__(self) -> None:
        self.decision = "become"
        self.events: list[dict[str, Any]] = []
        self.failures = 0  # of the next attempts
        self.steps: list[tuple[str, datetime, StepInput]] = []
        self.logged: list[dict[str, Any]] = []

    def worker(self, client: Client) -> Worker:
        activities: list[Callable[..., Any]] = [self.cancel_order, self.republish_cancellation, self.read_order_events]
        return Worker(client, task_queue=ORDER_TASK_QUEUE, activities=activities)

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.steps]

    def seconds_after(self, begin: datetime) -> list[int]:
        """When each step was taken."""
        return [round((at - begin).total_seconds()) for _, at, _ in self.steps]

    @activity.defn(name="cancel_order")
    async def cancel_order(self, step: StepInput) -> StepResult:
        return self._answer(step)

    @activity.defn(name="republish_cancellation")
    async def republish_cancellation(self, step: StepInput) -> StepResult:
        return self._answer(step)

    @activity.defn(name="read_order_events")
    async def read_order_events(self, _order_id: UUID) -> list[dict[str, Any]]:
        return self.logged

    def _answer(self, step: StepInput) -> StepResult:
        info = activity.info()
        if self.failures:
            self.failures -= 1
            raise ApplicationError("the database is away")
        self.steps.append((info.activity_type, info.scheduled_time, step))
        if self.decision == "refuse":
            raise ApplicationError("never", non_retryable=True)
        return StepResult(decision=self.decision, why=None, status=None, events=self.events)


class FakePaymentService:
    """Answers what its event log has, unless it is away."""

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []
        self.away = False

    def worker(self, client: Client) -> Worker:
        return Worker(client, task_queue=PAYMENT_TASK_QUEUE, activities=[self.read_payment_events])

    @activity.defn(name="read_payment_events")
    async def read_payment_events(self, _order_id: UUID) -> list[dict[str, Any]]:
        if self.away:
            raise ApplicationError("the database is away")
        return self.logged


def event_ids(timeline: dict[str, Any]) -> list[UUID]:
    return [UUID(str(entry["eventId"])) for entry in timeline["entries"]]
