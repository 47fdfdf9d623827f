"""A mirror tells its saga completely, keeps its timers to the second, and stays closed once it has closed."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from tests.support.fakes.sagas import FakeOrderService, FakePaymentService, Story, event_ids
from tests.support.messages import USER
from tests.support.waiting import PATIENCE, eventually
from workflows import search_attributes, worker
from workflows.event_logs import BEGINNING_WITHIN
from workflows.mirrors import SagaMirrors
from workflows.naming import workflow_id
from workflows.saga_mirror import REPUBLISH_ATTEMPTS
from workflows.timeline import build, timeline_as_json
from workflows.worker import mirror_worker

BINARIES = Path(sys.executable).parent
PAYMENT_TIMEOUT, COMPENSATION_TIMEOUT = 900.0, 60.0


@dataclass
class Stage:
    """Temporal, a saga worker, a fake order service, and the mirrors."""

    env: WorkflowEnvironment
    orders: FakeOrderService
    payments: FakePaymentService
    mirrors: SagaMirrors

    @property
    def client(self) -> Client:
        return self.env.client

    async def story(self, ago: float = 0) -> Story:
        return Story(await self.env.get_current_time() - timedelta(seconds=ago))

    def mirror(self, story: Story) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(workflow_id(story.order_id))

    async def end(self, story: Story) -> Any:
        """The result of the mirror, once it has been quiet."""
        await self.env.sleep(timedelta(seconds=COMPENSATION_TIMEOUT + 5))
        return await self.mirror(story).result()

    async def runs(self, story: Story) -> int:
        found = self.client.list_workflows(f"WorkflowId = '{workflow_id(story.order_id)}'")
        return len([run async for run in found])

    async def sleep_until(self, moment: datetime) -> None:
        await self.env.sleep(moment - await self.env.get_current_time())


class ToldAgain(SagaMirrors):
    """Mirrors that are told again, as the feed does, when Temporal answers with an error.

    The server that skips time refuses a signal-with-start that meets the end of the workflow.
    """

    async def record(self, order_id: str, events: Sequence[dict[str, Any]]) -> None:
        async def told() -> bool:
            try:
                await super(ToldAgain, self).record(order_id, events)
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return False
                raise
            return True

        await eventually(told, "Temporal takes the events")


def mirrors_of(client: Client, *, beside: Client | None, late: bool = False) -> SagaMirrors:
    return ToldAgain(
        client,
        payment_timeout=PAYMENT_TIMEOUT,
        compensation_timeout=COMPENSATION_TIMEOUT,
        beside=lambda: beside,
        late=late,
    )


@asynccontextmanager
async def playing(env: WorkflowEnvironment) -> AsyncIterator[Stage]:
    orders, payments = FakeOrderService(), FakePaymentService()
    mirrors = mirrors_of(env.client, beside=env.client)
    async with mirror_worker(env.client), orders.worker(env.client), payments.worker(env.client):
        yield Stage(env, orders, payments, mirrors)


@asynccontextmanager
async def skipping() -> AsyncIterator[Stage]:
    """A stage on a server that skips time whenever nothing happens."""
    binary = str(BINARIES / "temporal-test-server")
    async with await WorkflowEnvironment.start_time_skipping(test_server_existing_path=binary) as env:
        await env.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=env.client.namespace,
                search_attributes={key.name: int(key.indexed_value_type) for key in search_attributes.ALL},  # type: ignore[misc]
            )
        )
        async with playing(env) as stage:
            yield stage


@asynccontextmanager
async def serving() -> AsyncIterator[Stage]:
    """The development server, which can list and count."""
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=str(BINARIES / "temporal")) as env:
        await worker.register(env.client)
        async with playing(env) as stage:
            yield stage


def on(env: Callable[[], Any], test: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        async with env() as stage:
            await test(stage)

    asyncio.run(run())


# The end of a saga


ENDS = {
    "paid": lambda s: [s.created, s.approved, s.paid],
    "declined": lambda s: [s.created, s.declined, s.turned_down],
    "failed": lambda s: [
        s.created,
        failed := s.event("PaymentFailed", 1, s.created, error="refused"),
        s.event("OrderFailed", 2, failed, reason="refused"),
    ],
    "refunded": lambda s: [s.created, s.approved, s.paid, s.cancelled, s.refunded],
    "cancelled": lambda s: [s.created, s.cancelled, s.voided],
}


@pytest.mark.parametrize("end", ENDS)
def test_a_mirror_closes_with_a_complete_timeline_in_whatever_order_its_events_come(end: str) -> None:
    async def test(stage: Stage) -> None:
        for order in (0, 1, 2, 3):
            story = await stage.story()
            events = ENDS[end](story)
            shuffled = [*events, *events]  # each twice
            random.Random(order).shuffle(shuffled)
            for event in shuffled:
                await stage.mirrors.record(story.order_id, [event])
            state = await stage.end(story)
            timeline = await stage.mirror(story).query("timeline")
            assert [entry["eventId"] for entry in timeline["entries"]] == [event["eventId"] for event in events]
            assert timeline["over"] is True
            assert timeline["source"] == "workflow"
            assert len(state["events"]) == len(events)

    on(skipping, test)


def test_events_that_arrive_together_take_one_signal_and_one_workflow_task() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        mirrors = mirrors_of(stage.client, beside=None)
        await mirrors.record(story.order_id, [story.created, story.approved, story.paid])
        await stage.mirror(story).result()
        history = await stage.mirror(story).fetch_history()
        assert sorted(event.event_type for event in history.events) == [1, 2, 5, 6, 7, 26]  # no timer, no upsert

    on(skipping, test)


def test_beside_a_worker_a_story_told_from_its_beginning_takes_no_signal_and_begins_at_once() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        await stage.mirrors.record(story.order_id, [story.created])
        await stage.mirrors.record(story.order_id, [story.created, story.approved, story.paid])  # the first one again
        state = await stage.mirror(story).result()
        assert state["events"] == [story.created, story.approved, story.paid]
        whole = await stage.story()
        await stage.mirrors.record(whole.order_id, [whole.created, whole.approved, whole.paid])
        await stage.mirror(whole).result()
        history = await stage.mirror(whole).fetch_history()
        assert sorted(event.event_type for event in history.events) == [1, 2, 5, 6, 7]
        began = history.events[0].workflow_execution_started_event_attributes
        assert began.eager_execution_accepted
        # A mirror lives until its last attempt is over, and a month more.
        longest = timedelta(seconds=PAYMENT_TIMEOUT + 64 * COMPENSATION_TIMEOUT, days=30)
        assert began.workflow_execution_timeout.ToTimedelta() == longest

    on(serving, test)


def test_an_approval_without_its_creation_waits_for_it() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        await stage.mirrors.record(story.order_id, [story.paid])
        assert (await stage.mirror(story).query("status"))["waitingFor"].startswith("what came before")
        await stage.mirrors.record(story.order_id, [story.created, story.approved])
        await stage.mirror(story).result()
        assert stage.orders.steps == []

    on(skipping, test)


def test_an_unknown_or_unreadable_event_is_noted_and_harms_nothing() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        shipped = {**story.created, "eventType": "OrderShipped", "eventId": "x"}
        await stage.mirrors.record(story.order_id, [shipped, {}, {**story.created, "payload": None}])
        await stage.mirror(story).signal("record", [None, 3, "text"])
        await stage.mirrors.record(story.order_id, [story.created, story.approved, story.paid])
        state = await stage.mirror(story).result()
        assert "OrderShipped" in state["unknown"]
        assert len(state["events"]) == 3

    on(skipping, test)


# Timers


def test_an_unpaid_order_is_cancelled_to_the_second_after_its_creation() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story(ago=100)  # it was heard of late
        await stage.mirrors.record(story.order_id, [story.created])
        await stage.sleep_until(story.begin + timedelta(seconds=PAYMENT_TIMEOUT - 1))
        assert stage.orders.names == []
        await stage.sleep_until(story.begin + timedelta(seconds=PAYMENT_TIMEOUT + 1))
        assert stage.orders.seconds_after(story.begin) == [PAYMENT_TIMEOUT]
        ((name, _, step),) = stage.orders.steps
        assert (name, step.event_type) == ("cancel_order", "OrderCancelRequested")
        assert step.payload == {"orderId": story.order_id, "reason": "PAYMENT_TIMEOUT"}
        assert step.coordinator == "choreography"
        cancelled = story.event("OrderCancelled", PAYMENT_TIMEOUT, reason="PAYMENT_TIMEOUT", total=999)
        voided = story.event("PaymentCancelled", PAYMENT_TIMEOUT + 1, cancelled)
        await stage.mirrors.record(story.order_id, [cancelled, voided])
        await stage.end(story)
        assert stage.orders.names == ["cancel_order"]
        assert (await stage.mirror(story).query("status"))["cancelReason"] == "PAYMENT_TIMEOUT"

    on(skipping, test)


def test_an_order_past_its_deadline_is_cancelled_at_once() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story(ago=PAYMENT_TIMEOUT + 3600)
        heard = await stage.env.get_current_time()
        await stage.mirrors.record(story.order_id, [story.created])

        await eventually(lambda: stage.orders.names, "the cancellation is asked for")
        assert stage.orders.seconds_after(heard)[0] < 60  # at once, on a busy machine too

    on(skipping, test)


def test_an_event_from_the_future_extends_no_deadline() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story(ago=-3600)
        heard = await stage.env.get_current_time()
        await stage.mirrors.record(story.order_id, [story.created])
        await stage.mirror(story).query("status")
        await stage.env.sleep(timedelta(seconds=PAYMENT_TIMEOUT + 1))
        assert stage.orders.seconds_after(heard) == [PAYMENT_TIMEOUT]

    on(skipping, test)


@pytest.mark.parametrize("event", ["approved", "declined"])
def test_a_payment_settled_in_time_stops_the_timer(event: str) -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        await stage.mirrors.record(story.order_id, [story.created])
        await stage.sleep_until(story.begin + timedelta(seconds=PAYMENT_TIMEOUT - 2))
        await stage.mirrors.record(story.order_id, [getattr(story, event)])
        await stage.mirror(story).query("status")
        await stage.env.sleep(timedelta(days=1))
        assert stage.orders.names == []

    on(skipping, test)


def test_22_an_approval_that_wins_over_the_timer_is_carried_on_with() -> None:
    async def test(stage: Stage) -> None:
        stage.orders.decision = "stale"
        story = await stage.story()
        await stage.mirrors.record(story.order_id, [story.created])
        await stage.sleep_until(story.begin + timedelta(seconds=PAYMENT_TIMEOUT + 60))
        assert stage.orders.names == ["cancel_order"]
        await stage.mirrors.record(story.order_id, [story.approved])
        await stage.env.sleep(timedelta(days=1))
        await stage.mirrors.record(story.order_id, [story.paid])
        await stage.mirror(story).result()
        assert stage.orders.names == ["cancel_order"]
        assert (await stage.mirror(story).query("status"))["needsOperator"] is False

    on(skipping, test)


def test_a_cancellation_is_tried_until_the_order_service_answers() -> None:
    async def test(stage: Stage) -> None:
        stage.orders.failures = 10
        story = await stage.story()
        await stage.mirrors.record(story.order_id, [story.created])
        await stage.env.sleep(timedelta(hours=1))
        assert stage.orders.names == ["cancel_order"]

    on(skipping, test)


def test_the_events_that_a_cancellation_answers_with_are_on_the_timeline_at_once() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        cancelled = story.event("OrderCancelled", PAYMENT_TIMEOUT, reason="PAYMENT_TIMEOUT", total=999)
        stage.orders.events = [cancelled]
        await stage.mirrors.record(story.order_id, [story.created])
        await stage.sleep_until(story.begin + timedelta(seconds=PAYMENT_TIMEOUT + 1))
        timeline = await stage.mirror(story).query("timeline")
        assert [str(event_id) for event_id in event_ids(timeline)] == [
            story.created["eventId"],
            cancelled["eventId"],
        ]
        await stage.mirrors.record(story.order_id, [cancelled])
        assert await stage.mirror(story).query("timeline") == timeline

    on(skipping, test)


def test_a_missing_refund_is_asked_for_with_growing_pauses_and_then_an_operator_is_told() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story(ago=10)
        await stage.mirrors.record(story.order_id, [story.created, story.approved, story.paid, story.cancelled])
        pauses = [COMPENSATION_TIMEOUT * 2**n for n in range(REPUBLISH_ATTEMPTS + 1)]
        *tries, last = (3 + after for after in itertools.accumulate(pauses))  # 3: when it was cancelled
        await stage.sleep_until(story.begin + timedelta(seconds=last - 2))
        assert stage.orders.names == ["republish_cancellation"] * REPUBLISH_ATTEMPTS
        assert stage.orders.seconds_after(story.begin) == pytest.approx(tries, abs=1)
        assert {step.event_id for _, _, step in stage.orders.steps} == {story.cancelled["eventId"]}
        assert stage.orders.steps[0][2].payload["reason"] == "USER_REQUESTED"
        assert (await stage.mirror(story).query("status"))["needsOperator"] is False
        await stage.sleep_until(story.begin + timedelta(seconds=last + 2))
        assert (await stage.mirror(story).query("status"))["needsOperator"] is True
        found = (await stage.mirror(story).describe()).typed_search_attributes
        assert found.get(search_attributes.NEEDS_OPERATOR) is True
        await stage.env.sleep(timedelta(days=7))  # it waits, and asks no more
        assert len(stage.orders.steps) == REPUBLISH_ATTEMPTS
        await stage.mirrors.record(story.order_id, [story.refunded])
        await stage.mirror(story).result()
        assert (await stage.mirror(story).query("status"))["needsOperator"] is False

    on(skipping, test)


def test_a_refund_in_time_is_not_asked_for_again() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story(ago=10)
        await stage.mirrors.record(story.order_id, [story.created, story.approved, story.cancelled])
        await stage.sleep_until(story.begin + timedelta(seconds=3 + COMPENSATION_TIMEOUT - 2))
        await stage.mirrors.record(story.order_id, [story.refunded])
        await stage.mirror(story).result()
        assert stage.orders.names == []

    on(skipping, test)


def test_a_step_refused_for_good_calls_an_operator_and_fails_nothing() -> None:
    async def test(stage: Stage) -> None:
        stage.orders.decision = "refuse"
        story = await stage.story()
        await stage.mirrors.record(story.order_id, [story.created])
        await stage.sleep_until(story.begin + timedelta(seconds=PAYMENT_TIMEOUT + 60))
        assert (await stage.mirror(story).query("status"))["needsOperator"] is True
        assert stage.orders.names == ["cancel_order"]
        await stage.mirrors.record(story.order_id, [story.approved, story.paid])
        await stage.mirror(story).result()

    on(skipping, test)


def test_a_mirror_waits_a_while_for_the_refund_of_a_charge_that_was_under_way() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        await stage.mirrors.record(story.order_id, [story.created, story.cancelled, story.voided])
        await stage.env.sleep(timedelta(seconds=COMPENSATION_TIMEOUT - 2))
        assert (await stage.mirror(story).describe()).status == WorkflowExecutionStatus.RUNNING
        late = story.event("PaymentRefunded", 50, story.cancelled, transactionId="t-1")
        await stage.mirrors.record(story.order_id, [late])
        state = await stage.mirror(story).result()
        assert len(state["events"]) == 4

    on(skipping, test)


# Mirrors that have closed, and what can be searched by


def test_27_a_duplicate_after_the_end_opens_no_second_run() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        events = [story.created, story.approved, story.paid]
        await stage.mirrors.record(story.order_id, events)
        await stage.mirror(story).result()
        for event in events:
            await stage.mirrors.record(story.order_id, [event])
        await stage.mirrors.record(story.order_id, [{**story.paid, "eventType": "OrderShipped", "eventId": "x"}])
        await stage.mirrors.record(story.order_id, [{**story.paid, "eventId": str(uuid4()), "occurredAt": "today"}])
        other = await stage.story()  # listed only after what came before it
        await stage.mirrors.record(other.order_id, [other.created])
        await eventually(lambda: stage.runs(other), "what was started is listed")
        assert await stage.runs(story) == 1

    on(serving, test)


def test_a_cancellation_after_the_end_is_followed_to_its_refund_on_one_timeline() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        events = [story.created, story.approved, story.paid]
        await stage.mirrors.record(story.order_id, events)
        await stage.mirror(story).result()
        await stage.mirrors.record(story.order_id, [story.paid, story.cancelled])
        assert (await stage.mirror(story).query("status"))["orderStatus"] == "CANCELLED"
        await stage.mirrors.record(story.order_id, [story.refunded])
        await stage.mirror(story).result()
        for event in (*events, story.cancelled, story.refunded):
            await stage.mirrors.record(story.order_id, [event])
        await eventually(lambda: stage.runs(story), "it is listed")
        timeline = await stage.mirror(story).query("timeline")
        assert [entry["eventType"] for entry in timeline["entries"]] == [
            "OrderCreated", "PaymentApproved", "OrderPaid", "OrderCancelled", "PaymentRefunded",
        ]  # fmt: skip

        async def two_runs() -> bool:
            return await stage.runs(story) == 2

        await eventually(two_runs, "both runs are listed")

    on(serving, test)


def test_a_terminated_mirror_is_opened_anew_by_a_replay() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        await stage.mirrors.record(story.order_id, [story.created])
        await stage.mirror(story).terminate()
        await stage.mirrors.record(story.order_id, [story.created, story.approved, story.paid])
        state = await stage.mirror(story).result()
        assert len(state["events"]) == 3

    on(serving, test)


def test_a_mirror_that_temporal_is_asked_to_cancel_ends_and_has_a_successor_that_knows_all_it_knew() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        await stage.mirrors.record(story.order_id, [story.created])
        await stage.mirror(story).query("status")
        await stage.mirror(story).cancel()
        state = await stage.mirror(story).result()
        assert state["events"] == [story.created]
        assert (await stage.mirror(story).describe()).status is WorkflowExecutionStatus.COMPLETED
        assert stage.orders.names == []

        await stage.mirrors.record(story.order_id, [story.created])
        assert (await stage.mirror(story).describe()).status is WorkflowExecutionStatus.COMPLETED
        await stage.mirrors.record(story.order_id, [story.approved, story.paid])
        assert len((await stage.mirror(story).result())["events"]) == 3

        async def two_runs() -> bool:
            return await stage.runs(story) == 2

        await eventually(two_runs, "both runs are listed")

    on(serving, test)


def test_a_mirror_cancelled_during_a_step_ends_without_waiting_for_it() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story(ago=PAYMENT_TIMEOUT + 1)
        stage.orders.failures = 10**6  # the order service's database is away for long
        await stage.mirrors.record(story.order_id, [story.created])

        async def stepping() -> bool:
            return bool((await stage.mirror(story).query("status"))["waitingFor"] == "the step cancel_order")

        await eventually(stepping, "it asks for the order to be cancelled")
        await stage.mirror(story).cancel()
        assert (await asyncio.wait_for(stage.mirror(story).result(), PATIENCE))["cancel_asked"] is False

    on(serving, test)


def test_sagas_are_found_by_what_is_known_of_them() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        await stage.mirrors.record(story.order_id, [story.created])
        query = f"CustomerId = '{USER}' AND Total = 999 AND Coordinator = 'choreography'"

        async def found(more: str) -> bool:
            return (await stage.client.count_workflows(f"{query} AND {more}")).count == 1

        await eventually(lambda: found("OrderStatus = 'PENDING_PAYMENT'"), "the order that waits")
        await stage.mirrors.record(story.order_id, [story.declined, story.turned_down])
        await eventually(
            lambda: found(
                "OrderStatus = 'CANCELLED' AND PaymentStatus = 'DECLINED' AND CancelReason = 'PAYMENT_DECLINED'"
            ),
            "the order that was turned down",
        )

    on(serving, test)


def test_the_page_of_a_mirror_tells_its_story() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        await stage.mirrors.record(story.order_id, [story.created])
        assert (await (await stage.mirror(story).describe()).static_summary()) == "999 USD · customer d55fa6d6…"
        metadata = await stage.mirror(story).query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        assert "Waiting for the payment, until" in metadata.current_details
        history = await stage.mirror(story).fetch_history()
        (timer,) = [event for event in history.events if event.HasField("timer_started_event_attributes")]
        assert b"wait for the payment" in timer.user_metadata.summary.data
        await stage.mirrors.record(story.order_id, [story.approved, story.paid])
        await stage.mirror(story).result()
        metadata = await stage.mirror(story).query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        assert "Payment approved as transaction t-1" in metadata.current_details

    on(serving, test)


def test_a_mirror_flooded_with_events_continues_as_new_and_forgets_nothing() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        await stage.mirrors.record(story.order_id, [story.created, story.approved])
        begun = (await stage.mirror(story).describe()).run_id
        flood = [story.event("OrderCreated", n, userId=USER, total=999, note="x" * 9000) for n in range(600)]
        for start in range(0, len(flood), 30):
            await stage.mirrors.record(story.order_id, flood[start : start + 30])

        async def continued() -> bool:
            return (await stage.mirror(story).describe()).run_id != begun

        await eventually(continued, "it continues as new")
        entries = (await stage.mirror(story).query("timeline"))["entries"]
        assert {story.created["eventId"], story.approved["eventId"]} < {entry["eventId"] for entry in entries}

    on(serving, test)


def test_a_mirror_that_does_not_hear_how_its_saga_began_reads_it_in_the_event_logs() -> None:
    """This happens when a paid order is cancelled after Temporal has forgotten its first mirror."""

    async def test(stage: Stage) -> None:
        story = await stage.story()
        stage.orders.logged = [story.created, story.paid, story.cancelled]
        stage.payments.logged = [story.approved, story.refunded]
        await stage.mirrors.record(story.order_id, [story.cancelled])
        await stage.mirrors.record(story.order_id, [story.refunded])
        assert "read from the event logs" in (await stage.mirror(story).query("status"))["waitingFor"]

        await stage.env.sleep(BEGINNING_WITHIN + timedelta(seconds=1))
        await stage.mirror(story).result()
        told = await stage.mirror(story).query("timeline")
        expected = [story.created, story.approved, story.paid, story.cancelled, story.refunded]
        assert [entry["eventId"] for entry in told["entries"]] == [event["eventId"] for event in expected]
        assert stage.orders.steps == []

    on(skipping, test)


def test_a_mirror_whose_beginning_is_nowhere_yet_goes_on_waiting_for_it() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        await stage.mirrors.record(story.order_id, [story.approved])
        await stage.env.sleep(BEGINNING_WITHIN + timedelta(seconds=60))
        assert (await stage.mirror(story).query("status"))["waitingFor"] == "events that are still to come"

        await stage.mirrors.record(story.order_id, [story.created, story.paid])
        await stage.mirror(story).result()

    on(skipping, test)


def test_a_mirror_whose_beginning_comes_in_time_reads_no_event_log() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        stage.orders.logged = [story.cancelled]  # would be in its timeline
        for event in (story.paid, story.approved, story.created):
            await stage.mirrors.record(story.order_id, [event])
        await stage.mirror(story).result()
        told = await stage.mirror(story).query("timeline")
        assert [entry["eventType"] for entry in told["entries"]] == ["OrderCreated", "PaymentApproved", "OrderPaid"]

    on(skipping, test)


async def begun_late(stage: Stage, story: Story, event: dict[str, Any]) -> SagaMirrors:
    """Have the order's mirror begin late with this event, and wait until it has read the event logs."""
    mirrors = mirrors_of(stage.client, beside=stage.client, late=True)
    await mirrors.record(story.order_id, [event])

    async def read() -> bool:
        return not (await stage.mirror(story).query("status"))["waitingFor"].startswith("what came before")

    await eventually(read, "the mirror has read the event logs")
    return mirrors


@pytest.mark.parametrize("begins", ["created", "paid"])
def test_a_mirror_that_begins_late_reads_the_event_logs_at_once(begins: str) -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        stage.orders.logged = [story.created, story.paid]
        stage.payments.logged = [story.approved]
        mirrors = mirrors_of(stage.client, beside=stage.client, late=True)
        await mirrors.record(story.order_id, [getattr(story, begins)])
        await stage.mirror(story).result()
        told = await stage.mirror(story).query("timeline")
        assert [entry["eventType"] for entry in told["entries"]] == ["OrderCreated", "PaymentApproved", "OrderPaid"]
        assert (await stage.env.get_current_time() - story.begin) < BEGINNING_WITHIN

    on(skipping, test)


def test_a_mirror_that_begins_late_with_the_whole_story_reads_nothing() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        mirrors = mirrors_of(stage.client, beside=stage.client, late=True)
        await mirrors.record(story.order_id, [story.created, story.approved, story.paid])
        await stage.mirror(story).result()
        history = await stage.mirror(story).fetch_history()
        assert sorted(event.event_type for event in history.events) == [1, 2, 5, 6, 7]

    on(serving, test)


def test_a_mirror_that_begins_late_keeps_its_timers_while_a_service_is_away() -> None:
    """The payment service never answers. Its log is taken in as soon as it does."""

    async def test(stage: Stage) -> None:
        story = await stage.story()
        stage.orders.logged = [story.created]
        stage.orders.events = [story.event("OrderCancelled", PAYMENT_TIMEOUT, reason="PAYMENT_TIMEOUT", total=999)]
        stage.payments.away = True
        mirrors = mirrors_of(stage.client, beside=stage.client, late=True)
        await mirrors.record(story.order_id, [story.created])
        await stage.sleep_until(story.begin + timedelta(seconds=PAYMENT_TIMEOUT + 5))
        assert stage.orders.names == ["cancel_order"]
        assert abs(stage.orders.seconds_after(story.begin)[0] - PAYMENT_TIMEOUT) <= 1
        stage.payments.logged, stage.payments.away = [story.event("PaymentCancelled", PAYMENT_TIMEOUT + 1)], False
        await stage.end(story)
        told = await stage.mirror(story).query("timeline")
        assert [entry["eventType"] for entry in told["entries"]] == [
            "OrderCreated",
            "OrderCancelled",
            "PaymentCancelled",
        ]

    on(skipping, test)


@pytest.mark.parametrize("end", ["approved", "declined"])
def test_a_mirror_that_begins_late_looks_for_an_end_that_nobody_tells_it(end: str) -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        answer, last = (story.approved, story.paid) if end == "approved" else (story.declined, story.turned_down)
        stage.orders.logged = [story.created]
        mirrors = await begun_late(stage, story, story.created)
        stage.payments.logged = [answer]
        await mirrors.record(story.order_id, [answer])
        await stage.env.sleep(timedelta(seconds=COMPENSATION_TIMEOUT + 5))
        assert (await stage.mirror(story).query("status"))["waitingFor"] == "events that are still to come"
        stage.orders.logged = [story.created, last]
        await stage.env.sleep(timedelta(seconds=2 * COMPENSATION_TIMEOUT + 5))
        await stage.mirror(story).result()
        assert stage.orders.steps == []

    on(skipping, test)


def test_a_mirror_that_begins_late_finds_a_refund_that_nobody_tells_it_and_raises_no_alarm() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        stage.orders.logged = [story.created, story.paid, story.cancelled]
        stage.payments.logged = [story.approved]
        stage.orders.decision = "stale"  # a repeated cancellation changes nothing, and tells nobody anything
        await begun_late(stage, story, story.cancelled)
        stage.payments.logged = [story.approved, story.refunded]
        await stage.env.sleep(timedelta(seconds=COMPENSATION_TIMEOUT + 5))
        await stage.mirror(story).result()
        assert stage.orders.names == ["republish_cancellation"]

    on(skipping, test)


def test_a_mirror_that_begins_late_knows_at_the_end_what_came_before_a_compensation() -> None:
    """The approval was told while the saga was young: past the mirror."""

    async def test(stage: Stage) -> None:
        story = await stage.story()
        stage.orders.logged = [story.created, story.cancelled]
        mirrors = await begun_late(stage, story, story.cancelled)
        stage.payments.logged = [story.approved, story.refunded]
        await mirrors.record(story.order_id, [story.refunded])
        await stage.mirror(story).result()
        told = await stage.mirror(story).query("timeline")
        assert [entry["eventType"] for entry in told["entries"]] == [
            "OrderCreated",
            "PaymentApproved",
            "OrderCancelled",
            "PaymentRefunded",
        ]

    on(skipping, test)


def test_a_mirror_that_is_told_of_a_whole_compensation_at_once_reads_what_came_before_it() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        stage.orders.logged = [story.created, story.cancelled]
        stage.payments.logged = [story.approved, story.refunded]
        mirrors = mirrors_of(stage.client, beside=stage.client, late=True)
        await mirrors.record(story.order_id, [story.created, story.cancelled, story.refunded])
        await stage.mirror(story).result()
        told = await stage.mirror(story).query("timeline")
        assert "PaymentApproved" in {entry["eventType"] for entry in told["entries"]}

    on(skipping, test)


def test_a_mirror_that_is_cancelled_while_it_reads_the_event_logs_ends() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        stage.payments.away = True
        mirrors = mirrors_of(stage.client, beside=stage.client, late=True)
        await mirrors.record(story.order_id, [story.created])
        await stage.mirror(story).cancel()
        state = await stage.mirror(story).result()
        assert state["events"] == [story.created]

    on(serving, test)


def test_a_mirror_that_begins_late_and_cancels_nothing_since_the_order_was_paid_reads_what_it_has_missed() -> None:
    async def test(stage: Stage) -> None:
        story = await stage.story()
        stage.orders.logged, stage.orders.decision = [story.created], "stale"
        await begun_late(stage, story, story.created)
        await stage.env.sleep(timedelta(seconds=PAYMENT_TIMEOUT - 5))
        stage.orders.logged, stage.payments.logged = [story.created, story.paid], [story.approved]
        await stage.env.sleep(timedelta(seconds=10))
        await stage.mirror(story).result()
        assert stage.orders.names == ["cancel_order"]
        told = await stage.mirror(story).query("timeline")
        assert [entry["eventType"] for entry in told["entries"]] == ["OrderCreated", "PaymentApproved", "OrderPaid"]

    on(skipping, test)


def test_registering_search_attributes_twice_changes_nothing() -> None:
    async def test(stage: Stage) -> None:
        async def registered() -> dict[str, int]:
            request = ListSearchAttributesRequest(namespace=stage.client.namespace)
            listed = await stage.client.operator_service.list_search_attributes(request)
            return dict(listed.custom_attributes)

        await worker.register(stage.client)
        before = await registered()
        assert {key.name for key in search_attributes.ALL} <= before.keys()
        await worker.register(stage.client)
        assert await registered() == before

    on(serving, test)


def test_the_timeline_recorded_live_equals_the_one_built_from_the_events() -> None:
    import msgspec

    from models.messages import decode

    async def test(stage: Stage) -> None:
        story = await stage.story()
        events = ENDS["refunded"](story)
        for event in reversed(events):
            await stage.mirrors.record(story.order_id, [event])
        await stage.mirror(story).result()
        live = await stage.mirror(story).query("timeline")
        rebuilt = timeline_as_json(build([decode(msgspec.json.encode(event)) for event in events], source="workflow"))
        assert live == msgspec.json.decode(msgspec.json.encode(rebuilt))

    on(skipping, test)
