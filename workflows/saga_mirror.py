"""Mirror one choreographed saga: show its timeline, and run the timers that compensate it when it stalls."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any, Final, assert_never

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.steps import StepInput
    from models.message_types import EventType
    from models.originals import ServiceName
    from workflows.arguments import InvalidArguments, argument_or_refusal, own_order_id, the_argument
    from workflows.display import show_details, timeline_answer, upsert_attributes
    from workflows.event_logs import BEGINNING_WITHIN, Beginning, CatchingUp, Log
    from workflows.mirror_record import MirrorRecord, MirrorState, repetition_of, timeout_of
    from workflows.mirror_steps import StepFailed, take_step
    from workflows.mirror_watch import KEPT, NO_STEPS, Watch, deadline_of, watch_of
    from workflows.story import status

REPUBLISH_ATTEMPTS: Final = 5
_BLANK: Final = MirrorState(payment_timeout=1, compensation_timeout=1)
_READ_THE_BEGINNING: Final = "read-the-beginning"  # a patch
_READ_WHAT_WENT_PAST: Final = "read-what-went-past"  # a patch
_BEFORE: Final = "what came before; it is read from the event logs"


@workflow.defn
class SagaMirror:
    """One order's mirror. Events may come in any order and any number of times. Other signals are ignored."""

    @workflow.init
    def __init__(self, *given: Any) -> None:
        # A refusal is raised in `run`: signals may come before it.
        state, self._refusal = argument_or_refusal(MirrorState, given, blank=_BLANK)
        self._payment_timeout = timedelta(seconds=state.payment_timeout)
        self._compensation_timeout = timedelta(seconds=state.compensation_timeout)
        self._record = MirrorRecord(state.events, state.unknown, order_id=own_order_id(), originals=state.originals)
        self._cancel_asked = state.cancel_asked
        self._republished = state.republished
        self._next_try = datetime.fromisoformat(state.next_try) if state.next_try else None
        self._alarm = state.alarm
        self._quiet = False
        self._beginning = Beginning(self._record.take)
        self._late = state.late
        self._looks = 0  # into the event logs, while nothing but events was waited for
        self._catching_up = CatchingUp(self._take)
        self._read_at_end = False
        self._waiting_for: str | None = None

    @workflow.run
    async def run(self, *_given: Any) -> MirrorState:
        """Watch until the saga is over, all its events are known and it is quiet, or until the workflow is cancelled.

        The result is what the mirror has seen. If a new event comes later, a successor begins with that result.
        """
        if self._refusal is not None:
            raise self._refusal
        try:
            await self._follow()
        except asyncio.CancelledError:
            workflow.logger.info("The mirror is cancelled; its timers are given up")
        self._waiting_for = self._alarm = None
        self._show()
        return self._state()

    async def _follow(self) -> None:
        misses = self._watch() is not None or self._record.is_cancelled
        self._late = self._late and misses and workflow.patched(_READ_WHAT_WENT_PAST)
        if self._late:
            await self._catch_up()
        while (watch := self._watch()) is not None or await self._looked_once_more():
            if watch is None:
                continue
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(self._state())
            if self._record.kept and self._alarm is None:
                self._alarm = KEPT
            if watch is Watch.EVENTS and self._lacks_its_beginning() and workflow.patched(_READ_THE_BEGINNING):
                await self._read_the_beginning()
                continue
            deadline = self._deadline(watch)
            self._show()
            if await self._changes(watch, deadline):
                continue
            match watch:
                case Watch.PAYMENT | Watch.COMPENSATION if ServiceName.ORDER in self._record.originals:
                    self._alarm = NO_STEPS[watch]
                case Watch.PAYMENT:
                    await self._cancel_unpaid(watch)
                case Watch.COMPENSATION if self._republished < REPUBLISH_ATTEMPTS:
                    await self._republish_cancellation(watch)
                case Watch.COMPENSATION:
                    self._alarm = f"the payment is not compensated, after {REPUBLISH_ATTEMPTS} attempts"
                case Watch.QUIET:
                    self._quiet = True
                case Watch.EVENTS:
                    self._looks += 1
                case _ as never:
                    assert_never(never)
            if self._late and self._watch() in (watch, Watch.EVENTS):  # what it did was not enough, or pointless
                self._catching_up.begin(own_order_id(), self._record.originals)

    @workflow.signal
    def record(self, *given: Any) -> None:
        """Take in events in wire form. Copies change nothing, and unknown types are noted."""
        try:
            self._record.take(the_argument(list[object], given))
        except InvalidArguments as refused:
            workflow.logger.warning("The signal record is ignored: %s", refused)
        self._show()

    @workflow.query
    def status(self) -> dict[str, Any]:
        """The saga's status, and what the mirror waits for."""
        cancelled = self._record.last(EventType.ORDER_CANCELLED)
        return status(self._record.timeline, cancelled, waiting_for=self._waiting_for, alarm=self._alarm)

    @workflow.query
    def timeline(self) -> dict[str, Any]:
        """The timeline, in the form in which the gateway answers it."""
        return timeline_answer(self._record.timeline)

    def _watch(self) -> Watch | None:
        alarmed = self._alarm is not None
        return watch_of(self._record, cancel_asked=self._cancel_asked, alarmed=alarmed, quiet=self._quiet)

    def _deadline(self, watch: Watch) -> datetime | None:
        deadline, self._waiting_for = deadline_of(
            watch,
            self._record,
            now=workflow.now(),
            payment_timeout=self._payment_timeout,
            compensation_timeout=self._compensation_timeout,
            may_ask_again=self._republished < REPUBLISH_ATTEMPTS,
            next_try=self._next_try,
            looks=self._looks if self._late else None,
        )
        return deadline

    async def _changes(self, watch: Watch, deadline: datetime | None) -> bool:
        """Wait. Returns whether the mirror has to wait for something else before the deadline."""
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

    def _moved_on(self, watch: Watch) -> bool:
        return self._watch() is not watch or workflow.info().is_continue_as_new_suggested()

    def _lacks_its_beginning(self) -> bool:
        return self._record.lacks_its_beginning and not (self._late or self._beginning.is_read)

    async def _read_the_beginning(self) -> None:
        def changed() -> bool:
            return not self._lacks_its_beginning() or self._moved_on(Watch.EVENTS)

        self._waiting_for = "what came before; it is soon read from the event logs"
        self._show()
        await self._beginning.read(own_order_id(), self._record.originals, pointless=changed)

    async def _catch_up(self) -> None:
        """Read the event logs, because events may have gone past this mirror. A timer that runs is kept meanwhile."""
        watch, within = self._watch(), BEGINNING_WITHIN
        deadline = self._deadline(watch) if watch is not None else None
        if deadline is not None and (left := deadline - workflow.now()) > timedelta(0):
            within = min(within, left)
        self._waiting_for = _BEFORE
        self._show()
        self._catching_up.begin(own_order_id(), self._record.originals)
        await self._catching_up.wait(within=within)

    async def _looked_once_more(self) -> bool:
        """Read the event logs once more before a late mirror of a cancelled saga closes. Returns whether it did so now.

        A compensation tells that the saga is over, and not all that was before.
        """
        if not self._late or self._read_at_end or not self._record.is_cancelled:
            return False
        self._read_at_end, self._waiting_for = True, _BEFORE
        self._show()
        await self._catching_up.again(own_order_id(), self._record.originals)
        return True

    def _take(self, log: Log) -> None:
        self._record.take(log)
        self._show()

    async def _cancel_unpaid(self, watch: Watch) -> None:
        created = self._record.last(EventType.ORDER_CREATED)
        if created is None:
            return  # only OrderCreated makes an order PENDING_PAYMENT
        # If the step is stale, the approval or another cancellation was faster, and its events are on their way.
        summary = "cancel: payment timed out"
        self._cancel_asked = await self._take_step("cancel_order", timeout_of(created), summary, watch)

    async def _republish_cancellation(self, watch: Watch) -> None:
        cancelled = self._record.last(EventType.ORDER_CANCELLED)
        if cancelled is None:
            return  # only OrderCancelled makes an order CANCELLED
        summary = f"publish order.cancelled again ({self._republished + 1} of {REPUBLISH_ATTEMPTS})"
        if await self._take_step("republish_cancellation", repetition_of(cancelled), summary, watch):
            self._republished += 1
            self._next_try = workflow.now() + self._compensation_timeout * 2**self._republished

    async def _take_step(self, name: str, step: StepInput, summary: str, watch: Watch) -> bool:
        """Take the step. Returns False if it became pointless, or if it failed for good, which raises an alarm."""
        self._waiting_for = f"the step {name}"
        self._show()
        try:
            events = await take_step(name, step, summary, pointless=lambda: self._moved_on(watch))
        except StepFailed as failed:
            self._alarm = str(failed)
            return False
        self._record.take(events or ())
        return events is not None

    def _show(self) -> None:
        record = self._record
        show_details(record.timeline, waiting_for=self._waiting_for, alarm=self._alarm, unknown=record.unknown)
        upsert_attributes(record.timeline, record.envelopes, alarm=self._alarm)

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
            originals=sorted(self._record.originals),
            late=self._late,
        )
