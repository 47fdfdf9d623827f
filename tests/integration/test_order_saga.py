"""An orchestrated saga reaches its end through cancellations, retries and time-outs at every moment."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.testservice.v1 import LockTimeSkippingRequest, UnlockTimeSkippingRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from activities.book import Submission
from api.gateway.orchestration import Orchestration
from models.ids import uuid7
from models.message_types import EventType
from models.saga import Coordinator, CreateOrderRequested, OrderCancelRequested, OrderId, UserId, derived_id
from tests.support.fakes.saga_services import Answer, FakeServices
from tests.support.messages import envelope
from tests.support.waiting import eventually
from workflows import search_attributes
from workflows.mirrors import SagaMirrors
from workflows.naming import workflow_id
from workflows.order_saga import OrderSaga
from workflows.saga_input import CANCEL, CancelRequest
from workflows.worker import order_worker

BINARIES = Path(sys.executable).parent
DELAYS = (0.5, 2.0, 8.0, 30.0, 120.0)
BY_USER = CancelRequest(correlation_id="trace-8")


@dataclass
class Stage:
    """Temporal, a saga worker, both services, and the gateway's way to start a saga."""

    env: WorkflowEnvironment
    services: FakeServices
    orchestration: Orchestration
    order_id: OrderId
    begin: Callable[[], Awaitable[None]]  # starts the saga worker, unless it works already

    @property
    def client(self) -> Client:
        return self.env.client

    @property
    def saga(self) -> WorkflowHandle[OrderSaga, Any]:
        return self.client.get_workflow_handle_for(OrderSaga.run, workflow_id(self.order_id))

    async def start(self) -> None:
        command = CreateOrderRequested(order_id=self.order_id, user_id=UserId(UUID(int=7)), total=999)
        event_id = derived_id(self.order_id, "CreateOrderRequested")
        await self.orchestration.start(command, event_id=event_id, correlation_id="trace-7")

    async def result(self) -> Any:
        """The result of the saga. Until then, time is skipped whenever nothing happens."""
        await self.client.test_service.unlock_time_skipping(UnlockTimeSkippingRequest())
        try:
            return await self.saga.result()
        finally:
            await self.client.test_service.lock_time_skipping(LockTimeSkippingRequest())

    async def told(self) -> list[str]:
        timeline: dict[str, Any] = await self.saga.query("timeline")
        return [entry["eventType"] for entry in timeline["entries"]]

    async def ends_as(self, order: str, payment: str) -> None:
        assert await self.result() == order
        status: dict[str, Any] = await self.saga.query("status")
        assert (status["orderStatus"], status["paymentStatus"], status["over"]) == (order, payment, True)
        assert self.services.order is not None
        assert self.services.payment is not None
        assert (self.services.order.status, self.services.payment.status) == (order, payment)
        assert sorted(await self.told()) == sorted(event.event_type for event in self.services.log)


@asynccontextmanager
async def stage(
    provider: Answer = "approves", payment_timeout: float = 900.0, *, idle: bool = False
) -> AsyncIterator[Stage]:
    binary = str(BINARIES / "temporal-test-server")
    async with AsyncExitStack() as stack:
        env = await stack.enter_async_context(
            await WorkflowEnvironment.start_time_skipping(test_server_existing_path=binary)
        )
        attributes = {key.name: key.indexed_value_type for key in search_attributes.ALL}
        await env.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=env.client.namespace, search_attributes=attributes)  # type: ignore[arg-type]
        )
        services = FakeServices(provider, env.get_current_time)
        await stack.enter_async_context(services.payment_worker(env.client))

        async def begin() -> None:
            await stack.enter_async_context(order_worker(env.client, services.order_steps, limit=100, grace=5.0))

        if not idle:
            await begin()
        orchestration = Orchestration(env.client, payment_timeout=payment_timeout, retry_delays=DELAYS)
        order_id = OrderId(uuid7(await env.get_current_time()))
        yield Stage(env, services, orchestration, order_id, begin)


def play(act: Callable[[Stage], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with stage(**options) as each:
            await asyncio.wait_for(act(each), 120)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("provider", "order", "payment", "steps", "events"),
    [
        ("approves", "PAID", "APPROVED", "pay_order", ["OrderCreated", "PaymentApproved", "OrderPaid"]),
        ("declines", "CANCELLED", "DECLINED", "decline_order", ["OrderCreated", "PaymentDeclined", "OrderCancelled"]),
        ("refuses", "FAILED", "FAILED", "fail_order", ["OrderCreated", "PaymentFailed", "OrderFailed"]),
    ],
)
def test_a_saga_ends_as_its_payment_does(
    provider: Answer, order: str, payment: str, steps: str, events: list[str]
) -> None:
    async def act(stage: Stage) -> None:
        await stage.start()
        await stage.ends_as(order, payment)
        assert await stage.told() == events
        assert stage.services.attempts == {"create_order": 1, "charge_payment": 1, steps: 1}

    play(act, provider=provider)


def test_events_carry_causes_correlation_and_coordinator_as_choreographed_ones_do() -> None:
    async def act(stage: Stage) -> None:
        await stage.start()
        await stage.result()
        created, paid = stage.services.order_log
        [approved] = stage.services.payment_log
        command = derived_id(stage.order_id, "CreateOrderRequested")
        assert [created.causation_id, approved.causation_id, paid.causation_id] == [
            command,
            created.event_id,
            approved.event_id,
        ]
        assert {event.correlation_id for event in stage.services.log} == {"trace-7"}
        assert {event.coordinator for event in stage.services.log} == {Coordinator.ORCHESTRATION}

    play(act)


def test_steps_are_repeated_until_they_are_done() -> None:
    async def act(stage: Stage) -> None:
        stage.services.failures.update({"create_order": 3, "charge_payment": 2, "pay_order": 4})
        await stage.start()
        await stage.ends_as("PAID", "APPROVED")
        assert stage.services.attempts == {"create_order": 4, "charge_payment": 3, "pay_order": 5}

    play(act)


def test_a_charge_that_gets_no_answer_is_tried_as_often_as_in_choreography_and_then_voided() -> None:
    async def act(stage: Stage) -> None:
        await stage.start()
        await stage.ends_as("FAILED", "FAILED")
        assert stage.services.attempts["charge_payment"] == len(DELAYS) + 1

    play(act, provider="never answers")


def test_an_unsettled_payment_is_cancelled_at_its_deadline_to_the_second() -> None:
    async def act(stage: Stage) -> None:
        await stage.start()
        await stage.ends_as("CANCELLED", "CANCELLED")
        created, cancelled = stage.services.order_log
        assert cancelled.payload["reason"] == "PAYMENT_TIMEOUT"
        assert cancelled.causation_id == derived_id(stage.order_id, "OrderCancelRequested", "PAYMENT_TIMEOUT")
        late = cancelled.occurred_at - created.occurred_at - timedelta(seconds=100)
        assert timedelta(0) <= late < timedelta(seconds=1)

    play(act, provider="never answers", payment_timeout=100.0)


def test_a_saga_that_began_after_its_deadline_is_cancelled_at_once() -> None:
    async def act(stage: Stage) -> None:
        await stage.start()
        await stage.ends_as("CANCELLED", "CANCELLED")
        created, cancelled = stage.services.order_log
        assert cancelled.occurred_at - created.occurred_at < timedelta(seconds=2)

    play(act, provider="never answers", payment_timeout=0.001)


# Cancelling


@pytest.mark.parametrize("how", ["signal", "gateway"])
def test_a_charge_under_way_is_settled_by_a_refund_when_the_order_is_cancelled(how: str) -> None:
    async def act(stage: Stage) -> None:
        stage.services.charge_gate.clear()
        await stage.start()
        await stage.services.charging.wait()
        if how == "signal":
            await stage.saga.signal(CANCEL, BY_USER)
        else:
            await stage.orchestration.cancel(stage.order_id, correlation_id="trace-8")
        await eventually(lambda: stage.services.attempts["cancel_payment"] > 0)
        stage.services.charge_gate.set()
        await stage.ends_as("CANCELLED", "REFUNDED")
        told = await stage.told()
        assert told == ["OrderCreated", "OrderCancelled", "PaymentCancelled", "PaymentRefunded"]
        assert stage.services.order_log[-1].correlation_id == "trace-8"

    play(act)


def test_an_update_answers_the_status_and_is_refused_when_there_is_nothing_left_to_cancel() -> None:
    async def act(stage: Stage) -> None:
        stage.services.charge_gate.clear()
        await stage.start()
        await stage.services.charging.wait()
        assert await stage.saga.execute_update(CANCEL, BY_USER) == "CANCELLED"
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await stage.saga.execute_update(CANCEL, BY_USER)
        assert "CANCELLED; it cannot be cancelled any more" in str(refused.value.cause)
        stage.services.charge_gate.set()
        await stage.ends_as("CANCELLED", "REFUNDED")

    play(act)


def test_an_order_cancelled_before_its_charge_began_is_never_charged() -> None:
    async def act(stage: Stage) -> None:
        stage.services.create_gate.clear()
        await stage.start()
        await stage.saga.signal(CANCEL, BY_USER)
        await stage.begin()
        stage.services.create_gate.set()
        await stage.ends_as("CANCELLED", "CANCELLED")
        assert stage.services.attempts["charge_payment"] == 0

    play(act, idle=True)


def test_a_cancellation_is_heard_while_the_creation_of_its_order_fails_again_and_again() -> None:
    async def act(stage: Stage) -> None:
        stage.services.failures["create_order"] = 5  # the pauses between the last ones are timers, not local
        await stage.start()
        await eventually(lambda: stage.services.attempts["create_order"] >= 3)
        await stage.saga.signal(CANCEL, BY_USER)
        await stage.ends_as("CANCELLED", "CANCELLED")
        assert stage.services.attempts["charge_payment"] == 0

    play(act)


def test_a_cancellation_that_comes_while_the_order_is_created_leaves_no_money_behind() -> None:
    async def act(stage: Stage) -> None:
        stage.services.create_gate.clear()
        await stage.start()
        await eventually(lambda: stage.services.attempts["create_order"] > 0)
        await stage.saga.signal(CANCEL, BY_USER)  # the task that creates the order ends with the charge
        stage.services.create_gate.set()
        await stage.ends_as("CANCELLED", "REFUNDED")

    play(act)


def test_a_paid_order_is_cancelled_by_another_run_that_tells_the_whole_story() -> None:
    async def act(stage: Stage) -> None:
        await stage.start()
        await stage.ends_as("PAID", "APPROVED")
        await stage.orchestration.cancel(stage.order_id, correlation_id="trace-8")
        await stage.ends_as("CANCELLED", "REFUNDED")
        assert await stage.told() == [
            "OrderCreated",
            "PaymentApproved",
            "OrderPaid",
            "OrderCancelled",
            "PaymentRefunded",
        ]
        assert stage.services.attempts["charge_payment"] == 1

    play(act)


def test_starting_or_cancelling_twice_changes_nothing() -> None:
    async def act(stage: Stage) -> None:
        await stage.start()
        await stage.start()
        await stage.result()
        await stage.start()
        for _ in range(2):
            await stage.orchestration.cancel(stage.order_id, correlation_id="trace-8")
            await stage.ends_as("CANCELLED", "REFUNDED")
        await stage.start()
        assert len(stage.services.log) == 5
        assert await stage.orchestration.orchestrates(stage.order_id)

    play(act)


def test_a_cancellation_that_reaches_the_order_some_other_way_is_seen_to_its_end() -> None:
    async def act(stage: Stage) -> None:
        stage.services.on_pay = lambda: stage.services.apply_to_order(
            Submission(
                message=OrderCancelRequested(order_id=stage.order_id),
                event_id=derived_id(stage.order_id, "OrderCancelRequested", "USER_REQUESTED"),
                correlation_id="trace-9",
            )
        )
        await stage.start()
        await stage.ends_as("CANCELLED", "REFUNDED")

    play(act)


def test_a_saga_that_cannot_go_on_is_undone_at_its_deadline_and_fails_for_an_operator_to_see() -> None:
    async def act(stage: Stage) -> None:
        await stage.start()
        with pytest.raises(WorkflowFailureError):
            await stage.result()
        status: dict[str, Any] = await stage.saga.query("status")
        assert (status["orderStatus"], status["paymentStatus"]) == ("CANCELLED", "CANCELLED")
        assert status["needsOperator"]

    play(act, provider="lies")


# Cancelling a workflow, as the Temporal UI does


@pytest.mark.parametrize("moment", ["before anybody works on it", "during the charge"])
def test_a_saga_that_temporal_is_asked_to_cancel_is_undone_like_any_other(moment: str) -> None:
    async def act(stage: Stage) -> None:
        stage.services.create_gate.clear()
        stage.services.charge_gate.clear()
        await stage.start()
        if moment == "during the charge":
            stage.services.create_gate.set()
            await stage.begin()
            await stage.services.charging.wait()
        await stage.saga.cancel()
        if moment == "before anybody works on it":
            await stage.begin()
        stage.services.create_gate.set()
        if moment == "during the charge":
            await eventually(lambda: stage.services.attempts["cancel_payment"] > 0)
            stage.services.charge_gate.set()
        await stage.ends_as("CANCELLED", "REFUNDED" if moment == "during the charge" else "CANCELLED")
        cancelled = next(event for event in stage.services.order_log if event.event_type == "OrderCancelled")
        assert cancelled.payload["reason"] == "USER_REQUESTED"
        assert stage.services.attempts["charge_payment"] == (1 if moment == "during the charge" else 0)

    play(act, idle=True)


def test_a_compensation_under_way_goes_on_when_temporal_is_asked_to_cancel_it() -> None:
    async def act(stage: Stage) -> None:
        stage.services.charge_gate.clear()
        stage.services.failures["cancel_payment"] = 3
        await stage.start()
        await stage.services.charging.wait()
        await stage.saga.signal(CANCEL, BY_USER)
        await eventually(lambda: stage.services.attempts["cancel_payment"] > 0)
        await stage.saga.cancel()
        stage.services.charge_gate.set()
        await stage.ends_as("CANCELLED", "REFUNDED")
        assert [event.event_type for event in stage.services.log].count(EventType.ORDER_CANCELLED) == 1

    play(act)


# Strays


STRAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "a command": ("OrderCancelRequested", {"reason": "USER_REQUESTED"}),
    "an event": ("OrderCancelled", {"reason": "USER_REQUESTED", "total": 999}),
}


@pytest.mark.parametrize("stray", STRAYS)
@pytest.mark.parametrize("end", ["it is over", "it failed"])
def test_a_message_for_an_orchestrated_order_that_is_over_opens_no_mirror(end: str, stray: str) -> None:
    async def act(stage: Stage) -> None:
        if end == "it is over":
            await stage.start()
            await stage.result()
        else:  # of an order that was never created, there is nothing to cancel
            await stage.orchestration.cancel(stage.order_id, correlation_id="trace-8")
            with pytest.raises(WorkflowFailureError):
                await stage.result()
        before = await stage.saga.describe()
        event_type, payload = STRAYS[stray]
        event = envelope(event_type, {"orderId": str(stage.order_id), **payload})
        mirrors = SagaMirrors(stage.client, payment_timeout=900, compensation_timeout=60)
        await mirrors.record(str(stage.order_id), [event])

        after = await stage.saga.describe()
        assert (after.run_id, after.workflow_type, after.status) == (before.run_id, "OrderSaga", before.status)

    play(act)
