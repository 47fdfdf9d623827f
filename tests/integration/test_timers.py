"""Every timer of every workflow fires to the second, on a server that skips time."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.testservice.v1 import LockTimeSkippingRequest, UnlockTimeSkippingRequest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from activities.steps import StepInput, StepResult
from tests.replay.mirror_stage import MirrorStage, PatientOrderService
from tests.replay.saga_stage import SagaStage
from tests.replay.stage import Stage, temporal
from tests.support.fakes.saga_services import Clock, FakeServices
from workflows import search_attributes
from workflows.event_logs import BEGINNING_WITHIN
from workflows.mirror_record import MirrorState
from workflows.order_saga import OrderSaga
from workflows.saga_input import SagaInput
from workflows.saga_mirror import REPUBLISH_ATTEMPTS, SagaMirror

SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
STARTED = EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
BINARY = str(Path(sys.executable).parent / "temporal-test-server")
PAYMENT_TIMEOUT, COMPENSATION_TIMEOUT = 900, 60  # seconds
PAUSES = [COMPENSATION_TIMEOUT * 2**n for n in range(REPUBLISH_ATTEMPTS + 1)]  # before each try, and before the alarm
RETRY_DELAYS = (0.5, 2.0, 8.0, 30.0, 120.0)


@dataclass(frozen=True, kw_only=True)
class Timer:
    """A timer of a history: its duration, when it was due, and how it ended."""

    seconds: float
    due: datetime
    end: str  # fired, cancelled, open


def timers_of(events: Sequence[HistoryEvent]) -> list[Timer]:
    """The timers, in the order in which they were set."""
    fired = {event.timer_fired_event_attributes.started_event_id for event in events}
    cancelled = {event.timer_canceled_event_attributes.started_event_id for event in events}
    found, now = [], events[0].event_time.ToDatetime(UTC)
    for event in events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            now = event.event_time.ToDatetime(UTC)  # a workflow's clock stands still until the next task
        if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED:
            patience = event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
            end = "fired" if event.event_id in fired else "cancelled" if event.event_id in cancelled else "open"
            found.append(Timer(seconds=patience.total_seconds(), due=now + patience, end=end))
    return found


@dataclass
class Timed(Stage):
    """A stage on a server that skips time whenever nothing happens."""

    env: WorkflowEnvironment = field(kw_only=True)

    async def settled(self) -> None:
        await self.saga.query("status")  # answered after all that came before it

    async def pass_time(self, until: datetime) -> None:
        """Let time pass up to this moment. With a worker, the workflow has then done what follows."""
        await self.env.sleep(until - await self.env.get_current_time())

    async def result(self) -> Any:
        """The result of the workflow."""
        service = self.client.test_service
        await service.unlock_time_skipping(UnlockTimeSkippingRequest())
        try:
            return await self.saga.result()
        finally:
            await service.lock_time_skipping(LockTimeSkippingRequest())

    async def timers(self) -> list[Timer]:
        return timers_of((await self.saga.fetch_history()).events)

    async def steps(self) -> list[tuple[str, datetime]]:
        """The steps that were asked for, and when."""
        events = (await self.saga.fetch_history()).events
        return [
            (event.activity_task_scheduled_event_attributes.activity_type.name, event.event_time.ToDatetime(UTC))
            for event in events
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
        ]


class NotingOrderService(PatientOrderService):
    """Notes when each attempt at a step began."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[datetime] = []

    def _answer(self, step: StepInput) -> StepResult:
        self.attempts.append(activity.info().started_time)
        return super()._answer(step)


class NotingServices(FakeServices):
    """Notes when each attempt at each step began, and the seconds that it may take and be silent."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.begun: dict[str, list[datetime]] = {}
        self.limits: dict[str, tuple[float, float]] = {}

    async def _begin(self, name: str) -> None:
        info = activity.info()
        may_take, may_be_silent = (each or after(0) for each in (info.start_to_close_timeout, info.heartbeat_timeout))
        self.limits[name] = (seconds(may_take), seconds(may_be_silent))
        try:
            await super()._begin(name)
        finally:
            self.begun.setdefault(name, []).append(self._now)


@dataclass
class TimedMirror(Timed, MirrorStage):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.orders: NotingOrderService = NotingOrderService()
        self.payment_timeout, self.compensation_timeout = PAYMENT_TIMEOUT, COMPENSATION_TIMEOUT


@dataclass
class TimedSaga(Timed, SagaStage):
    def __post_init__(self) -> None:
        self.services: NotingServices = NotingServices(self.env.get_current_time)
        self.payment_timeout, self.retry_delays = PAYMENT_TIMEOUT, RETRY_DELAYS


Acting = TypeVar("Acting", bound=Timed)


def play(stage: type[Acting], act: Callable[[Acting], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with skipping() as env, stage(env.client, "timers", env=env, **options).playing() as playing:
            await asyncio.wait_for(act(playing), 120)

    asyncio.run(run())


@asynccontextmanager
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(test_server_existing_path=BINARY) as env:
        attributes: Any = {key.name: key.indexed_value_type for key in search_attributes.ALL}
        await env.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=env.client.namespace, search_attributes=attributes)
        )
        yield env


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def seconds(time: timedelta) -> int:
    return round(time.total_seconds())


def gaps(times: Sequence[datetime]) -> list[float]:
    """Seconds between one time and the next."""
    return [(later - earlier).total_seconds() for earlier, later in pairwise(times)]


async def limits(stage: Timed) -> dict[str, tuple[int, int]]:
    """The time limit of a step and of its heartbeats, in seconds. 0 is no limit."""
    events = (await stage.saga.fetch_history()).events
    asked = [event.activity_task_scheduled_event_attributes for event in events]
    return {
        each.activity_type.name: (each.start_to_close_timeout.seconds, each.heartbeat_timeout.seconds)
        for each in asked
        if each.activity_id
    }


# The mirror's wait for the payment


@pytest.mark.parametrize("late", [0, 1, 450, 890])
def test_a_payment_is_waited_for_until_its_deadline_however_late_the_order_is_heard_of(late: int) -> None:
    async def act(stage: TimedMirror) -> None:
        story = stage.begun(ago=late)
        await stage.tell(story.created)
        deadline = story.begin + after(PAYMENT_TIMEOUT)
        await stage.pass_time(deadline + after(5))
        [timer] = await stage.timers()
        assert abs(timer.due - deadline) < after(0.01)
        assert timer.end == "fired"
        [(name, asked)] = await stage.steps()
        assert (name, asked >= deadline) == ("cancel_order", True)

    play(TimedMirror, act)


@pytest.mark.parametrize("late", [PAYMENT_TIMEOUT, PAYMENT_TIMEOUT + 86_400])
def test_an_order_heard_of_after_its_deadline_is_cancelled_without_a_timer(late: int) -> None:
    async def act(stage: TimedMirror) -> None:
        story = stage.begun(ago=late)
        await stage.tell(story.created)
        await stage.asked()
        assert [name for name, _ in await stage.steps()] == ["cancel_order"]
        assert await stage.timers() == []

    play(TimedMirror, act)


def test_events_that_come_while_a_timer_runs_set_no_new_timer() -> None:
    async def act(stage: TimedMirror) -> None:
        story = stage.begun(ago=0)
        for minute in range(10):
            await stage.pass_time(story.begin + after(60 * minute))
            await stage.tell(story.created, story.event("OrderShipped", minute))
        [timer] = await stage.timers()
        assert seconds(timer.due - story.begin) == PAYMENT_TIMEOUT

    play(TimedMirror, act)


@pytest.mark.parametrize("approved_at", [PAYMENT_TIMEOUT - 5, PAYMENT_TIMEOUT + 5])
def test_22_whichever_of_timer_and_approval_is_first_the_other_changes_nothing(approved_at: int) -> None:
    async def act(stage: TimedMirror) -> None:
        stage.orders.decision = "become" if approved_at < PAYMENT_TIMEOUT else "stale"
        story = stage.begun(ago=0)
        await stage.tell(story.created)
        await stage.pass_time(story.begin + after(approved_at))
        await stage.tell(story.approved)
        await stage.pass_time(story.begin + after(PAYMENT_TIMEOUT + 86_400))
        await stage.tell(story.paid)
        await stage.result()
        [timer] = await stage.timers()
        in_time = approved_at < PAYMENT_TIMEOUT
        assert timer.end == ("cancelled" if in_time else "fired")
        assert [name for name, _ in await stage.steps()] == ([] if in_time else ["cancel_order"])
        assert (await stage.saga.query("status"))["orderStatus"] == "PAID"

    play(TimedMirror, act)


@pytest.mark.parametrize("first", ["approval", "timer"])
def test_22_timer_and_approval_in_one_task_cancel_nothing(first: str) -> None:
    async def act(stage: TimedMirror) -> None:
        story = stage.begun(ago=0)
        await stage.tell(story.created)
        await stage.leave()
        deadline = story.begin + after(PAYMENT_TIMEOUT)
        # The server skips no time while a task waits for a worker, so the last second passes in real time.
        await stage.pass_time(deadline - after(1))
        if first == "approval":
            await stage.signal(story.approved)
        await stage.happened("TIMER_FIRED")
        if first == "timer":
            await stage.signal(story.approved)
        await stage.come()
        await stage.tell(story.paid)
        await stage.result()
        kinds = [event.event_type for event in (await stage.saga.fetch_history()).events]
        fired = kinds.index(EventType.EVENT_TYPE_TIMER_FIRED)
        _, approved, *_ = (n for n, kind in enumerate(kinds) if kind == SIGNALED)
        assert (approved < fired) == (first == "approval")
        assert STARTED not in kinds[min(fired, approved) : max(fired, approved)]
        assert await stage.steps() == []

    play(TimedMirror, act, cached=0)


def test_22_an_approval_that_comes_while_the_cancellation_is_asked_for_ends_the_wait_for_an_answer() -> None:
    async def act(stage: TimedMirror) -> None:
        stage.orders.gate.clear()
        story = stage.begun(ago=PAYMENT_TIMEOUT)
        await stage.tell(story.created)
        await stage.happened("ACTIVITY_TASK_SCHEDULED")
        await stage.tell(story.approved, story.paid)
        await stage.saga.result()
        assert (await stage.saga.query("status"))["orderStatus"] == "PAID"
        assert stage.orders.attempts == []

    play(TimedMirror, act)


# The mirror's steps


def test_a_step_that_fails_is_tried_again_after_growing_pauses_of_a_minute_at_most() -> None:
    async def act(stage: TimedMirror) -> None:
        stage.orders.failures = 8
        story = stage.begun(ago=PAYMENT_TIMEOUT)
        await stage.tell(story.created)
        await stage.pass_time(story.begin + after(PAYMENT_TIMEOUT + 600))
        assert gaps(stage.orders.attempts) == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60], abs=0.9)
        assert await limits(stage) == {"cancel_order": (30, 0)}

    play(TimedMirror, act)


# The mirror's wait for a compensation


@pytest.mark.parametrize("tries", range(REPUBLISH_ATTEMPTS + 1))
def test_a_compensation_is_asked_for_again_after_pauses_that_double_until_it_is_confirmed(tries: int) -> None:
    async def act(stage: TimedMirror) -> None:
        story = stage.begun(ago=3)  # it is cancelled now
        await stage.tell(story.created, story.approved, story.cancelled)
        for tried in range(tries):
            await stage.pass_time((await stage.timers())[-1].due + after(1))
            await stage.asked(tried + 1)
        await stage.pass_time((await stage.timers())[-1].due - after(5))
        await stage.tell(story.refunded)
        await stage.result()
        timers = await stage.timers()
        assert [timer.end for timer in timers] == ["fired"] * tries + ["cancelled"]
        assert [round(timer.seconds) for timer in timers] == PAUSES[: tries + 1]
        assert seconds(timers[0].due - story.begin) == 3 + COMPENSATION_TIMEOUT
        assert [name for name, _ in await stage.steps()] == ["republish_cancellation"] * tries

    play(TimedMirror, act)


def test_after_the_last_try_an_operator_is_told_when_its_time_is_up_and_no_timer_is_left() -> None:
    async def act(stage: TimedMirror) -> None:
        story = stage.begun(ago=3)
        await stage.tell(story.created, story.approved, story.cancelled)
        await stage.pass_time(story.begin + after(3 + sum(PAUSES) - 60))
        assert not (await stage.saga.query("status"))["needsOperator"]
        await stage.pass_time(story.begin + after(3 + sum(PAUSES) + 60))
        assert (await stage.saga.query("status"))["needsOperator"]
        timers = await stage.timers()
        assert [(round(timer.seconds), timer.end) for timer in timers] == [(pause, "fired") for pause in PAUSES]
        await stage.pass_time(story.begin + after(86_400))
        assert len(await stage.timers()) == len(PAUSES)
        assert len(await stage.steps()) == REPUBLISH_ATTEMPTS

    play(TimedMirror, act)


@pytest.mark.parametrize("late", [20, 3600])
def test_a_compensation_is_waited_for_from_the_cancellations_own_time(late: int) -> None:
    async def act(stage: TimedMirror) -> None:
        story = stage.begun(ago=3 + late)
        await stage.tell(story.created, story.approved, story.cancelled)
        await stage.asked(int(late > COMPENSATION_TIMEOUT))
        [timer] = await stage.timers()
        if late < COMPENSATION_TIMEOUT:
            assert seconds(timer.due - story.begin) == 3 + COMPENSATION_TIMEOUT
        else:  # the first try is due at once, and an outage uses up no further try
            assert round(timer.seconds) == PAUSES[1]

    play(TimedMirror, act)


@pytest.mark.parametrize("late", [0, 20])
def test_a_mirror_closes_when_it_has_been_quiet_since_the_payment_was_cancelled(late: int) -> None:
    async def act(stage: TimedMirror) -> None:
        story = stage.begun(ago=4 + late)
        await stage.tell(story.created, story.cancelled, story.voided)
        await stage.result()
        [timer] = await stage.timers()
        assert (seconds(timer.due - story.begin), timer.end) == (4 + COMPENSATION_TIMEOUT, "fired")
        assert await stage.steps() == []

    play(TimedMirror, act)


# Mirrors that go on from another run, or on for ever


def test_a_run_that_follows_another_goes_on_with_the_timers_where_they_were() -> None:
    async def act(stage: TimedMirror) -> None:
        story = stage.begun(ago=30)
        state = MirrorState(
            payment_timeout=PAYMENT_TIMEOUT,
            compensation_timeout=COMPENSATION_TIMEOUT,
            events=[story.created, story.approved, story.cancelled],
            republished=2,
            next_try=(story.begin + after(130)).isoformat(),
        )
        await stage.client.start_workflow(SagaMirror.run, state, id=stage.saga.id, task_queue=stage.task_queue)
        await stage.pass_time(story.begin + after(135))
        await stage.asked()
        first, second = await stage.timers()
        assert (seconds(first.due - story.begin), round(second.seconds)) == (130, PAUSES[3])

    play(TimedMirror, act)


def test_a_mirror_that_misses_something_for_good_ends_thirty_days_after_its_last_attempt_could_be() -> None:
    async def act(stage: TimedMirror) -> None:
        await stage.tell(stage.story.paid)
        began = (await stage.saga.describe()).start_time
        longest = timedelta(days=30) + after(PAYMENT_TIMEOUT) + 64 * after(COMPENSATION_TIMEOUT)
        await stage.pass_time(began + longest - after(5))
        assert (await stage.saga.describe()).status is WorkflowExecutionStatus.RUNNING
        await stage.pass_time(began + longest + after(5))
        assert (await stage.saga.describe()).status is WorkflowExecutionStatus.TIMED_OUT
        [reading] = await stage.timers()  # what it misses is in no event log either
        assert timedelta(seconds=reading.seconds) == BEGINNING_WITHIN

    play(TimedMirror, act)


# The orchestrated saga


async def cancelled_at_the_deadline(stage: TimedSaga) -> None:
    created, cancelled = stage.services.order_log
    late = cancelled.occurred_at - created.occurred_at - after(PAYMENT_TIMEOUT)
    assert after(0) <= late < after(30)
    assert cancelled.payload["reason"] == "PAYMENT_TIMEOUT"


def test_an_attempt_that_would_come_too_late_is_not_waited_for_but_the_deadline_is() -> None:
    async def act(stage: TimedSaga) -> None:
        stage.services.provider = "never answers"
        stage.retry_delays = (600.0,) * 5
        await stage.start()
        assert await stage.result() == "CANCELLED"
        await cancelled_at_the_deadline(stage)
        [timer] = await stage.timers()
        assert timer.end == "fired"

    play(TimedSaga, act)


def test_22_a_charge_under_way_at_its_deadline_is_given_up_given_back_and_told_of() -> None:
    async def run() -> None:
        async with temporal() as client:
            stage = SagaStage(client, "a late capture", payment_timeout=1.0)
            stage.services.on_cancel = stage.services.charge_gate.set  # captured as the order is cancelled
            async with stage.playing():
                await stage.start_and_hold_the_charge()
                assert await stage.saga.result() == "CANCELLED"
                created, cancelled = stage.services.order_log
                assert after(1.0) <= cancelled.occurred_at - created.occurred_at < after(4)
                assert cancelled.payload["reason"] == "PAYMENT_TIMEOUT"
                status = await stage.saga.query("status")
                assert (status["paymentStatus"], status["over"]) == ("REFUNDED", True)
                # The charge itself has the deadline.
                assert timers_of((await stage.saga.fetch_history()).events) == []

    asyncio.run(run())


def test_a_second_run_counts_from_the_creation_of_the_order_too() -> None:
    async def act(stage: TimedSaga) -> None:
        stage.services.failures["charge_payment"] = 1000
        await stage.start()
        await stage.happened("ACTIVITY_TASK_SCHEDULED")
        [created] = stage.services.order_log
        await stage.pass_time(created.occurred_at + after(300))
        await stage.saga.terminate()
        again = SagaInput(
            order_id=str(stage.order_id), correlation_id="again", order=None, payment_timeout=PAYMENT_TIMEOUT
        )
        await stage.client.start_workflow(OrderSaga.run, again, id=stage.saga.id, task_queue=stage.task_queue)
        await stage.result()
        await cancelled_at_the_deadline(stage)

    play(TimedSaga, act)


def test_an_orchestrated_saga_that_ends_in_time_needs_no_timer() -> None:
    async def act(stage: TimedSaga) -> None:
        await stage.start()
        await stage.result()
        assert await stage.timers() == []

    play(TimedSaga, act)


@pytest.mark.parametrize("first", ["pay_order", "cancel_order"])
def test_an_order_row_that_approval_and_user_both_want_goes_to_the_first(first: str) -> None:
    async def act(stage: TimedSaga) -> None:
        stage.services.failures.update({"pay_order": 1000, "cancel_order": 1000})
        await stage.start()
        await stage.happened("TIMER_STARTED")  # between two attempts at pay_order
        await stage.cancel()
        await stage.happened("TIMER_STARTED", 2)  # both are asked for by now
        stage.services.failures[first] = 0
        await stage.pass_time(await stage.env.get_current_time() + after(60))
        stage.services.failures.clear()
        assert await stage.result() == "CANCELLED"
        told = [event.event_type for event in stage.services.log]
        assert ("OrderPaid" in told) == (first == "pay_order")
        assert stage.services.payment is not None
        assert stage.services.payment.status == "REFUNDED"

    play(TimedSaga, act)


def test_a_charge_without_an_answer_is_tried_again_after_the_delays_of_choreography() -> None:
    async def act(stage: TimedSaga) -> None:
        stage.services.provider = "never answers"
        await stage.start()
        await stage.result()
        assert gaps(stage.services.begun["charge_payment"]) == pytest.approx([0.5, 2, 8, 30, 120], abs=1)

    play(TimedSaga, act)


def test_a_step_of_the_order_is_tried_again_after_growing_pauses_of_half_a_minute_at_most() -> None:
    async def act(stage: TimedSaga) -> None:
        stage.services.failures["pay_order"] = 10
        await stage.start()
        await stage.result()
        pauses = gaps(stage.services.begun["pay_order"])
        assert pauses == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30], abs=1)

    play(TimedSaga, act)


def test_no_step_may_take_for_ever_and_a_payment_must_give_signs_of_life() -> None:
    async def act(stage: TimedSaga) -> None:
        await stage.start()
        await stage.result()
        await stage.cancel()
        await stage.result()
        of_payment = {"charge_payment", "cancel_payment"}
        others = {"create_order", "pay_order", "cancel_order", "read_order_events", "read_payment_events"}
        assert stage.services.limits == dict.fromkeys(of_payment, (60, 5)) | dict.fromkeys(others, (10, 0))

    play(TimedSaga, act)
