"""A stage on which a Reconciler sweeps over one order, and scripted services answer it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from activities.steps import StepResult
from activities.stragglers import Place
from tests.replay.mirror_stage import FixedStory
from tests.replay.stage import Run, Stage
from tests.support.waiting import eventually
from workflows.naming import ORDER_TASK_QUEUE, PAYMENT_TASK_QUEUE, SAGA_TASK_QUEUE
from workflows.reconciler import Reconciler
from workflows.sweep import Sweep

Events = list[dict[str, Any]]
SWEEP = Sweep(payment_timeout=900, grace=60, payment_patience=300, compensation_patience=360)
OF_ORDERS = (
    "find_overdue_orders",
    "find_cancelled_orders",
    "find_not_off",
    "read_order_events",
    "cancel_order",
    "pay_order",
)
OF_PAYMENTS = (
    "find_due_payments",
    "find_ended_payments",
    "find_uncompensated",
    "read_payment_events",
    "cancel_payment",
    "charge_payment",
)


class ScriptedServices:
    """Both services and the count of flagged sagas. Each activity gives a scripted answer."""

    def __init__(self) -> None:
        self.finds: dict[str, list[list[Any]]] = {}  # by search, page after page; then nothing
        self.logs: dict[str, Events] = {}  # by reader
        self.steps: dict[str, Events] = {}  # what a step puts into the event log
        self.failures: Counter[str] = Counter()
        self.held: str | None = None  # the activity that doesn't answer

    def workers(self, client: Client) -> list[Worker]:
        queues = {ORDER_TASK_QUEUE: OF_ORDERS, PAYMENT_TASK_QUEUE: OF_PAYMENTS, SAGA_TASK_QUEUE: ("count_flagged",)}
        return [
            Worker(client, task_queue=queue, activities=[*map(self._activity, names)])
            for queue, names in queues.items()
        ]

    def _activity(self, name: str) -> Callable[..., Any]:
        @activity.defn(name=name)
        async def answer(_asked: Any = None, _tries: Any = None) -> Any:
            if name == self.held:
                await asyncio.Event().wait()
            if self.failures[name]:
                self.failures[name] -= 1
                raise ConnectionError(f"{name} fails once more")
            if name.startswith("find_"):
                pages = self.finds.get(name, [])
                return pages.pop(0) if pages else []
            if name.startswith("read_"):
                return self.logs.get(name, [])
            if name == "count_flagged":
                return 2
            return StepResult(decision="become", why=None, status=None, events=self.steps.get(name, []))

        return answer


@dataclass
class ReconcilerStage(Stage):
    """A reconciler sweeps over one order."""

    sweep: Sweep = SWEEP

    def __post_init__(self) -> None:
        self.services = ScriptedServices()
        self.story = FixedStory(self.order_id, datetime.now(UTC) - timedelta(hours=1))

        self.workflow_id = f"sweep-{self.order_id}"

    @property
    def saga(self) -> Run:
        return self.client.get_workflow_handle(self.workflow_id)

    @property
    def place(self) -> Place:
        return Place(at="2026-02-15T01:42:19.000000+00:00", order_id=str(self.order_id))

    def service_workers(self) -> list[Worker]:
        orders, self.payment_worker, flagged = self.services.workers(self.client)
        return [orders, self.payment_worker, flagged]

    async def begin(self) -> None:
        await self.client.start_workflow(Reconciler.run, self.sweep, id=self.workflow_id, task_queue=SAGA_TASK_QUEUE)

    async def begin_and_end(self) -> None:
        await self.begin()
        await self.saga.result()

    async def asked_for(self, name: str) -> None:
        """Wait until an activity has been asked for, and nothing else is to come."""

        async def asked() -> bool:
            pending = (await self.saga.describe()).raw_description.pending_activities
            return [each.activity_type.name for each in pending] == [name]

        await eventually(asked, f"{name} is under way")
        await self.took_it_in()

    def has_an_overdue_order(self) -> None:
        story = self.story
        self.services.finds["find_overdue_orders"] = [[self.place]]
        self.services.logs["read_order_events"] = [story.created]
        self.services.steps = {"cancel_order": [story.cancelled], "cancel_payment": [story.voided]}
