"""Mirror one choreographed saga: its timeline, and the timers that compensate when it stalls."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, Final, assert_never

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    import msgspec

    from activities.steps import Step, StepResult
    from models.order import OrderStatus
    from models.payment import PaymentStatus
    from models.times import wire_time
    from workflows import search_attributes
    from workflows.mirror_record import MirrorRecord, MirrorState, repetition_of, timeout_of
    from workflows.naming import ORDER_TASK_QUEUE
    from workflows.story import story
    from workflows.timeline import timeline_as_json

REPUBLISH_ATTEMPTS: Final = 5
_STEP_TIMEOUT: Final = timedelta(seconds=30)
_STEP_RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(minutes=1)
)


class _Watch(Enum):
    """What an open mirror waits for."""

    PAYMENT = auto()  # that the payment is settled
    COMPENSATION = auto()  # that a refund or void is confirmed
    QUIET = auto()  # that a charge which was under way when its payment was cancelled is refunded, or never was
    EVENTS = auto()  # for what is still missing, without a deadline


@workflow.defn
class SagaMirror:
    """One order's mirror. Any event may come first, in any order, any number of times; none makes it fail."""

    @workflow.init
    def __init__(self, state: MirrorState) -> None:
        self._payment_timeout = timedelta(seconds=state.payment_timeout)
        self._compensation_timeout = timedelta(seconds=state.compensation_timeout)
        self._record = MirrorRecord(state.events, state.unknown)
        self._cancel_asked = state.cancel_asked
        self._republished = state.republished
        self._next_try = datetime.fromisoformat(state.next_try) if state.next_try else None
        self._alarm = state.alarm
        self._quiet = False
        self._waiting_for: str | None = None

    @workflow.run
    async def run(self, _state: MirrorState) -> MirrorState:
        """Watch until the saga is over, told in full and quiet, or Temporal is asked to cancel this.

        Ends with what it has seen either way; the next event that is news opens a successor, which begins with that.
        """
        try:
            await self._follow()
        except asyncio.CancelledError:
            workflow.logger.info("The mirror is cancelled; its timers are given up")
        self._waiting_for = self._alarm = None
        self._show()
        return self._state()

    async def _follow(self) -> None:
        while (watch := self._watch()) is not None:
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(self._state())
            deadline = self._deadline(watch)
            self._show()
            if await self._changes(watch, deadline):
                continue
            match watch:
                case _Watch.PAYMENT:
                    await self._cancel_unpaid(watch)
                case _Watch.COMPENSATION if self._republished < REPUBLISH_ATTEMPTS:
                    await self._republish_cancellation(watch)
                case _Watch.COMPENSATION:
                    self._alarm = f"the payment is not compensated, after {REPUBLISH_ATTEMPTS} attempts"
                case _Watch.QUIET:
                    self._quiet = True
                case _Watch.EVENTS:
                    pass  # has no deadline to miss
                case _ as never:
                    assert_never(never)

    @workflow.signal
    def record(self, events: list[dict[str, Any]]) -> None:
        """Take note of events in wire form; copies change nothing, unknown types are counted."""
        self._record.take(events)
        self._show()

    @workflow.query
    def status(self) -> dict[str, Any]:
        """Where the saga stands, and what is waited for."""
        timeline, cancelled = self._record.timeline, self._record.last("OrderCancelled")
        return {
            "orderId": timeline.order_id,
            "orderStatus": timeline.order_status,
            "paymentStatus": timeline.payment_status,
            "cancelReason": cancelled.payload.get("reason") if cancelled else None,
            "over": timeline.over,
            "waitingFor": self._waiting_for,
            "needsOperator": self._alarm is not None,
        }

    @workflow.query
    def timeline(self) -> dict[str, Any]:
        """What happened, in the form in which the gateway tells it."""
        told: dict[str, Any] = msgspec.to_builtins(timeline_as_json(self._record.timeline))
        return told

    def _watch(self) -> _Watch | None:
        timeline = self._record.timeline
        unsettled = timeline.order_status is OrderStatus.PENDING_PAYMENT and timeline.payment_status is None
        if unsettled and not (self._cancel_asked or self._alarm):
            return _Watch.PAYMENT
        if self._record.uncompensated and not self._alarm:
            return _Watch.COMPENSATION
        if not self._record.complete:
            return _Watch.EVENTS
        if timeline.payment_status is PaymentStatus.CANCELLED and not self._quiet:
            return _Watch.QUIET
        return None

    def _deadline(self, watch: _Watch) -> datetime | None:
        """When patience ends, counted from the event that began the wait: an outage doesn't extend it."""
        match watch:
            case _Watch.PAYMENT:
                deadline = self._since("OrderCreated") + self._payment_timeout
                self._waiting_for = f"the payment, until {wire_time(deadline)}: then the order is cancelled"
            case _Watch.COMPENSATION:
                deadline = self._next_try or self._since("OrderCancelled") + self._compensation_timeout
                what_then = (
                    "it is asked for again" if self._republished < REPUBLISH_ATTEMPTS else "an operator must look"
                )
                self._waiting_for = f"the refund or void, until {wire_time(deadline)}: then {what_then}"
            case _Watch.QUIET:
                deadline = self._since("PaymentCancelled") + self._compensation_timeout
                self._waiting_for = f"a refund of what was under way, until {wire_time(deadline)}: then all is done"
            case _Watch.EVENTS:
                self._waiting_for = "events that are still to come"
                return None
            case _ as never:
                assert_never(never)
        return deadline

    def _since(self, event_type: str) -> datetime:
        event = self._record.last(event_type)
        # An event from the future only tells of a wrong clock.
        return min(event.occurred_at, workflow.now()) if event else workflow.now()

    async def _changes(self, watch: _Watch, deadline: datetime | None) -> bool:
        """Whether something else is to be waited for before the deadline."""
        if deadline is None:
            await workflow.wait_condition(lambda: self._moved_on(watch))
            return True
        remaining = deadline - workflow.now()
        if remaining <= timedelta(0):
            return False
        try:
            summary = f"wait for {self._waiting_for}"
            await workflow.wait_condition(lambda: self._moved_on(watch), timeout=remaining, timeout_summary=summary)
        except TimeoutError:
            return self._moved_on(watch)
        return True

    def _moved_on(self, watch: _Watch) -> bool:
        return self._watch() is not watch or workflow.info().is_continue_as_new_suggested()

    async def _cancel_unpaid(self, watch: _Watch) -> None:
        created = self._record.last("OrderCreated")
        if created is None:
            return  # only OrderCreated makes an order PENDING_PAYMENT
        # Stale says that the approval, or another cancellation, was faster: its events are on their way.
        self._cancel_asked = await self._take_step(
            "cancel_order", timeout_of(created), "cancel: payment timed out", watch
        )

    async def _republish_cancellation(self, watch: _Watch) -> None:
        cancelled = self._record.last("OrderCancelled")
        if cancelled is None:
            return  # only OrderCancelled makes an order CANCELLED
        summary = f"publish order.cancelled again ({self._republished + 1} of {REPUBLISH_ATTEMPTS})"
        if await self._take_step("republish_cancellation", repetition_of(cancelled), summary, watch):
            self._republished += 1
            self._next_try = workflow.now() + self._compensation_timeout * 2**self._republished

    async def _take_step(self, name: str, step: Step, summary: str, watch: _Watch) -> bool:
        """Whether the step was taken: it may become pointless, or be refused for good, which an operator is told."""
        self._waiting_for = f"the step {name}"
        self._show()
        taken = workflow.start_activity(
            name,
            step,
            result_type=StepResult,
            task_queue=ORDER_TASK_QUEUE,
            start_to_close_timeout=_STEP_TIMEOUT,
            retry_policy=_STEP_RETRIES,
            summary=summary,
        )
        # The service may be away for long; what its events tell meanwhile may make the step pointless.
        await workflow.wait_condition(lambda: taken.done() or self._moved_on(watch))
        if not taken.done():
            return False
        try:
            result = await taken
        except (ActivityError, asyncio.CancelledError) as error:
            self._alarm = f"the step {name} failed: {error.__cause__ or error}"
            return False
        if result.decision in ("illegal", "too_early"):
            self._alarm = f"the step {name} was refused: {result.why}"
            return False
        self._record.take(result.events)
        return True

    def _show(self) -> None:
        record, alarmed = self._record, self._alarm is not None
        workflow.set_current_details(
            story(record.timeline, waiting_for=self._waiting_for, alarm=self._alarm, unknown=record.unknown)
        )
        wanted = search_attributes.attributes(record.timeline, record.envelopes, needs_operator=alarmed)
        if updates := search_attributes.updates(workflow.info().typed_search_attributes, wanted):
            workflow.upsert_search_attributes(updates)

    def _state(self) -> MirrorState:
        return MirrorState(
            payment_timeout=self._payment_timeout.total_seconds(),
            compensation_timeout=self._compensation_timeout.total_seconds(),
            events=self._record.wire,
            unknown=self._record.unknown,
            cancel_asked=self._cancel_asked,
            republished=self._republished,
            next_try=self._next_try.isoformat() if self._next_try else None,
            alarm=self._alarm,
        )
