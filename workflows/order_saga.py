"""Orchestrate one saga: create the order, charge its payment, settle the order, and compensate if it is cancelled."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.steps import StepInput
    from models.futures import forget_error
    from models.lifecycle import BEYOND_CANCELLING, OrderStatus, cancellable
    from models.message_types import EventType
    from models.messages import Envelope
    from models.saga import CancelReason
    from models.times import wire_time
    from workflows.arguments import InvalidArguments, check_workflow_id, own_order_id, the_argument, the_event
    from workflows.display import show_details, timeline_answer, upsert_attributes
    from workflows.event_logs import read_event_logs
    from workflows.naming import ORDER_TASK_QUEUE
    from workflows.saga_input import CANCEL, CancelRequest, SagaInput
    from workflows.saga_steps import (
        CHARGE_PAYMENT,
        COMPENSATIONS,
        CREATE_ORDER,
        SETTLE_ORDER,
        SagaStep,
        answer_to,
        cancel_command,
        create_command,
    )
    from workflows.step_runs import ran_out_of_time, run_step
    from workflows.story import status
    from workflows.timeline import Timeline, build, last_of

OVERDUE: Final = "cancel the order: its payment was not settled in time"


@workflow.defn
class OrderSaga:
    """One order's saga. It ends when no step and no compensation is outstanding.

    The order service runs it. The order service's own steps are local activities, which run in the workflow task that
    asks for them. Payment steps are never local, because signals wait for the end of a workflow task.

    A cancellation may come at any time: by signal, by update, or by Temporal's own request. An order that was PAID when
    its saga ended is cancelled by another run under the same id. That run's input has no `order`.

    The input must be a SagaInput, and a cancellation must be a CancelRequest. Other arguments change nothing: a run and
    an update are refused with the reason, and a signal is ignored with a warning in the log.
    """

    _local: ClassVar[str | None] = ORDER_TASK_QUEUE  # the task queue whose steps are local
    _saga: SagaInput  # from `run` on

    def __init__(self) -> None:
        self._events: dict[UUID, Envelope] = {}
        self._timeline: Timeline = build((), source="workflow")
        self._requests: list[CancelRequest] = []
        self._waiting_for: str | None = None
        self._alarm: str | None = None
        self._unheard = False  # whether a step may have had an effect that it did not report

    @workflow.run
    async def run(self, *given: Any) -> str | None:
        """Run the saga. Returns the order's last status. Fails, for an operator to look, if a step fails for good."""
        self._saga = saga = the_argument(SagaInput, given)
        check_workflow_id(saga.order_id)
        steps = asyncio.create_task(self._take_steps(saga))
        while True:
            try:
                return await asyncio.shield(steps)
            except asyncio.CancelledError:
                if steps.cancelled():
                    raise  # only the worker cancels them, when it drops this run from its cache
                # Somebody has cancelled the workflow itself. What was done is compensated all the same.
                self._ask_for_undoing(CancelReason.USER_REQUESTED)

    async def _take_steps(self, saga: SagaInput) -> str | None:
        forward = asyncio.create_task(self._go_forward(saga))
        forward.add_done_callback(forget_error)  # a failed compensation is the error to tell
        try:
            await self._until_ended(forward)
            while self._unheard or not self._timeline.over:
                await self._end_what_others_began()
                if not self._requests:
                    break
                await self._until_ended(forward)  # a cancellation has come meanwhile
            await forward
        except FailureError as error:
            self._alarm = str(error.cause or error)
            self._rest()
            raise
        self._rest()
        return self._timeline.order_status

    async def _until_ended(self, forward: asyncio.Task[None]) -> None:
        while not self._ended(forward):
            await workflow.wait_condition(lambda: bool(self._requests) or self._ended(forward))
            if self._requests:
                await self._compensate(self._requests[0], forward)
                self._requests.pop(0)

    @workflow.signal(name=CANCEL)
    def request_cancel(self, *given: Any) -> None:
        """Cancel the order. An order that is CANCELLED or FAILED by then stays as it is."""
        try:
            self._requests.append(the_argument(CancelRequest, given))
        except InvalidArguments as refused:
            workflow.logger.warning("The signal %s is ignored: %s", CANCEL, refused)

    @workflow.update(name=CANCEL)
    async def cancel(self, *given: Any) -> str | None:
        """Cancel the order and give back its money. Returns the order's status. Refused if it can't be cancelled."""
        request = the_argument(CancelRequest, given)
        self._requests.append(request)
        await workflow.wait_condition(lambda: all(request is not waiting for waiting in self._requests))
        return self._timeline.order_status

    @cancel.validator
    def _check_cancel(self, *given: Any) -> None:
        the_argument(CancelRequest, given)
        order = self._timeline.order_status
        if order in BEYOND_CANCELLING:
            raise ApplicationError(f"Order {own_order_id()} is {order}; it cannot be cancelled any more", order)

    @workflow.query
    def status(self) -> dict[str, Any]:
        """The saga's status."""
        cancelled = self._last(EventType.ORDER_CANCELLED)
        told = status(self._timeline, cancelled, waiting_for=self._waiting_for, alarm=self._alarm)
        return {**told, "orderId": own_order_id()}

    @workflow.query
    def timeline(self) -> dict[str, Any]:
        """The timeline, in the form in which the gateway answers it."""
        return timeline_answer(self._timeline)

    async def _go_forward(self, saga: SagaInput) -> None:
        created = await self._created(saga)
        if not self._requests:  # else the order was cancelled before anything was charged
            await self._go_on(created, created.occurred_at + timedelta(seconds=saga.payment_timeout))

    async def _go_on(self, created: Envelope, deadline: datetime) -> None:
        self._waiting_for = f"the payment, until {wire_time(deadline)}; then the order is cancelled"
        self._show()
        try:
            # The time left counts from the order's creation, so an outage doesn't extend it.
            if (left := deadline - workflow.now()) > timedelta(0):
                return await self._charge_and_settle(created, left)
        except ActivityError as error:
            if not ran_out_of_time(error):
                await self._undone_by(deadline)
                raise
        return await self._undone_by(deadline)

    async def _created(self, saga: SagaInput) -> Envelope:
        created = await self._do(CREATE_ORDER, create_command(saga, saga.order)) if saga.order else None
        if (created := created or await self._recall()) is None:
            raise ApplicationError(f"Order {saga.order_id} is not known; it was never created", "Unknown")
        return created

    async def _charge_and_settle(self, created: Envelope, left: timedelta | None = None) -> None:
        charged = await self._do(CHARGE_PAYMENT, answer_to(created), within=left)
        if charged is not None and charged.event_type in SETTLE_ORDER:
            await self._do(SETTLE_ORDER[charged.event_type], answer_to(charged))

    async def _undone_by(self, deadline: datetime) -> None:
        """Wait until a user or the deadline cancels a saga that can't go forward."""
        self._unheard = True
        left = max(timedelta(0), deadline - workflow.now())
        try:
            await workflow.wait_condition(
                lambda: bool(self._requests) or self._timeline.order_status is not OrderStatus.PENDING_PAYMENT,
                timeout=left,
                timeout_summary=OVERDUE,
            )
        except TimeoutError:
            self._ask_for_undoing(CancelReason.PAYMENT_TIMEOUT)

    def _ask_for_undoing(self, reason: CancelReason) -> None:
        self._requests.append(CancelRequest(correlation_id=self._saga.correlation_id, reason=reason.value))

    async def _compensate(self, request: CancelRequest, forward: asyncio.Task[None]) -> None:
        """Compensate while steps may still be under way. The payment service decides what came first.

        The order is cancelled first, although it was created first. Its row decides whether there is a cancellation,
        and its event is what cancels the payment.
        """
        await workflow.wait_condition(lambda: self._last(EventType.ORDER_CREATED) is not None or forward.done())
        order = self._timeline.order_status
        if self._last(EventType.ORDER_CREATED) is None or order is None:
            return
        if not cancellable(order, CancelReason(request.reason)):
            return
        cancelled = await self._do(COMPENSATIONS[CREATE_ORDER], cancel_command(self._saga.order_id, request))
        if cancelled is not None:
            await self._do(COMPENSATIONS[CHARGE_PAYMENT], answer_to(cancelled))

    def _ended(self, forward: asyncio.Task[None]) -> bool:
        return not self._requests and forward.done() and workflow.all_handlers_finished()

    def _rest(self) -> None:
        self._waiting_for = None
        self._show()

    async def _end_what_others_began(self) -> None:
        """Read the event logs. If another message has cancelled or failed the order, compensate its payment."""
        self._unheard = False
        await self._recall()
        off = self._last(EventType.ORDER_CANCELLED) or self._last(EventType.ORDER_FAILED)
        if off is not None and not self._timeline.over:
            await self._do(COMPENSATIONS[CHARGE_PAYMENT], answer_to(off))

    async def _do(self, step: SagaStep, message: StepInput, *, within: timedelta | None = None) -> Envelope | None:
        """Run the step until it is done. Returns the last event that it logged, or None. Raises as `run_step`."""
        delays, here = self._saga.retry_delays, step.queue == self._local
        return self._take((await run_step(step, message, delays=delays, here=here, within=within)).events)

    async def _recall(self) -> Envelope | None:
        """Take in the events of both logs. Returns the order's creation; None if it isn't logged."""
        for log in await read_event_logs(self._saga.order_id, local=self._local):
            self._take(log)
        return self._last(EventType.ORDER_CREATED)

    def _take(self, events: list[dict[str, Any]]) -> Envelope | None:
        envelope: Envelope | None = None
        for event in events:
            envelope = the_event(event)
            self._events[envelope.event_id] = envelope
        self._timeline = build(self._events.values(), source="workflow")
        self._show()
        return envelope

    def _last(self, event_type: EventType) -> Envelope | None:
        return last_of(self._events, event_type)

    def _show(self) -> None:
        show_details(self._timeline, waiting_for=self._waiting_for, alarm=self._alarm)
        # The first attributes were set at the start. An upsert is expensive, so one at the end must do.
        if self._timeline.order_status not in (None, OrderStatus.PENDING_PAYMENT) or self._alarm is not None:
            upsert_attributes(self._timeline, self._events.values(), alarm=self._alarm)
