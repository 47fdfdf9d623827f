"""A stage on which a SagaMirror hears of events, and a scripted order service answers it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID, uuid5

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from activities.steps import StepInput, StepResult
from models.originals import NO_ORIGINALS, Originals
from tests.replay.stage import Stage
from tests.support.fakes.sagas import FakeOrderService, FakePaymentService, Story
from workflows.mirrors import SagaMirrors
from workflows.naming import MIRROR_TASK_QUEUE


class FixedStory(Story):
    """The events of an order, with the same ids in every recording."""

    def __init__(self, order_id: UUID, begin: datetime) -> None:
        self._fixed = order_id
        super().__init__(begin)
        self.order_id = str(order_id)

    def event(self, event_type: str, seconds: float, cause: dict[str, Any] | None = None, **payload: Any) -> Any:
        told = super().event(event_type, seconds, cause, **payload)
        return {
            **told,
            "eventId": str(uuid5(self._fixed, f"{event_type} {seconds}")),
            "correlationId": str(uuid5(self._fixed, "correlation")),
            "payload": {**told["payload"], "orderId": str(self._fixed)},
        }


class PatientOrderService(FakeOrderService):
    """Answers a cancellation, or a question for its log, only when the scenario lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    @activity.defn(name="cancel_order")
    async def cancel_order(self, step: StepInput) -> StepResult:
        await self.gate.wait()
        return self._answer(step)

    @activity.defn(name="read_order_events")
    async def read_order_events(self, _order_id: UUID) -> list[dict[str, Any]]:
        await self.gate.wait()
        return self.logged


@dataclass
class MirrorStage(Stage):
    """A stage for a mirror. Its timeouts, in seconds, are those of the moment in which it first hears of an event."""

    task_queue: ClassVar[str] = MIRROR_TASK_QUEUE

    payment_timeout: float = 900.0
    compensation_timeout: float = 60.0
    originals: Originals = NO_ORIGINALS
    late: bool = False  # whether events may have gone past the mirror

    def __post_init__(self) -> None:
        self.orders = PatientOrderService()
        self.payments = FakePaymentService()
        self.story = self.begun(ago=10)  # so all its events are in the past

    def begun(self, ago: float) -> FixedStory:
        return FixedStory(self.order_id, datetime.now(UTC) - timedelta(seconds=ago))

    def service_workers(self) -> list[Worker]:
        return [self.orders.worker(self.client), self.payments.worker(self.client)]

    async def signal(self, *events: dict[str, Any]) -> None:
        """Tell of events in one signal."""
        await self._mirrors(beside=None).record(str(self.order_id), events)

    async def begin(self, *events: dict[str, Any]) -> None:
        """Tell of events by way of the worker's client, so that the worker begins a run with them."""
        await self._mirrors(beside=self._worker.client).record(str(self.order_id), events)
        await self.settled()

    def _mirrors(self, *, beside: Client | None) -> SagaMirrors:
        return SagaMirrors(
            self.client,
            payment_timeout=self.payment_timeout,
            compensation_timeout=self.compensation_timeout,
            beside=lambda: beside,
            originals=self.originals,
            late=self.late,
        )

    async def tell(self, *events: dict[str, Any]) -> None:
        """Tell of events in one signal, and wait until the mirror has done everything that follows at once."""
        await self.signal(*events)
        await self.settled()

    async def asked(self, times: int = 1) -> None:
        """Wait until a step was asked for `times` times, and the mirror knows the answer."""
        await self.happened("ACTIVITY_TASK_COMPLETED", times)
        await self.settled()
