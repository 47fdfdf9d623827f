"""Find sagas that stand still, and bring them to an end with the same steps that the sagas take."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    TimeoutError,
    TimeoutType,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from activities.steps import StepInput, StepResult
    from activities.stragglers import Place, Search
    from models.message_types import EventType
    from models.originals import Originals, ServiceName
    from workflows.arguments import InvalidArguments, the_argument
    from workflows.failures import text_of
    from workflows.mirror_record import MirrorRecord
    from workflows.naming import ORDER_TASK_QUEUE, PAYMENT_TASK_QUEUE, SAGA_TASK_QUEUE, queues_of
    from workflows.saga_steps import CHARGE_PAYMENT, READ_EVENTS, SagaStep
    from workflows.sweep import (
        CANCEL_ORDER,
        CANCELLATIONS,
        Part,
        Straggler,
        Sweep,
        SweepReport,
        gone_by,
        is_possible,
        next_step,
        sweep_story,
        told_of,
        without_left_over,
    )

_LOOK_AT_ENDED_PAYMENTS: Final = "look-at-ended-payments"  # a patch
_AT_ONCE: Final = 20  # stragglers
_TRIES: Final = 3  # if they all fail, the next sweep tries again
_RETRIES: Final = RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_attempts=_TRIES)
_STEP_TIMEOUT: Final = timedelta(seconds=60)  # a provider may take its time
_HEARTBEAT_TIMEOUT: Final = timedelta(seconds=5)


@workflow.defn
class Reconciler:
    """One sweep, a page at a time. No straggler makes it fail: a failure is reported, and left to the next sweep."""

    _sweep: Sweep  # from `run` on

    @property
    def _originals(self) -> Originals:
        return frozenset(map(ServiceName, self._sweep.originals))

    def __init__(self) -> None:
        self._report = SweepReport()
        self._away: set[str] = set()  # task queues of services that don't answer

    @workflow.run
    async def run(self, *given: Any) -> SweepReport:
        """Sweep. Returns what was found and what became of it. Fails at once unless its argument is a Sweep."""
        self._sweep = sweep = the_argument(Sweep, given)
        self._report = sweep.so_far or _fresh()
        parts = list(Part)
        for part in parts[parts.index(Part(sweep.part)) :]:
            if not is_possible(part, self._originals):
                continue
            if part is Part.ENDED and not workflow.patched(_LOOK_AT_ENDED_PAYMENTS):
                continue
            self._show(part)
            await self._go_through(part, sweep.after if part == sweep.part else None)
        self._report = replace(self._report, need_operator=await self._count_flagged())
        self._show(None)
        return self._report

    async def _go_through(self, part: Part, after: Place | None) -> None:
        left_over = self._report.left_over(part) if after is None else []
        after = after or self._report.place(part)
        while True:
            try:
                page = await self._find(part, after)
                orders = await self._suspects(part, [place.order_id for place in page], left_over)
            except FailureError as error:
                self._report = replace(
                    self._report, troubles=[*self._report.troubles, f"{part.value}: {text_of(error)}"]
                )
                return
            if left_over:
                self._report, left_over = without_left_over(self._report, part), []
            self._report = told_of(await self._end_all(part, orders), self._report, part)
            self._show(part)
            after = page[-1] if len(page) == self._sweep.page else None
            self._report = gone_by(self._report, part, page, more=after is not None)
            if after is None or part is Part.AGAIN:
                return
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(replace(self._sweep, part=part.value, after=after, so_far=self._report))

    async def _find(self, part: Part, after: Place | None) -> list[Place]:
        sweep = self._sweep
        cancelled = (ORDER_TASK_QUEUE, "find_cancelled_orders", sweep.compensation_patience)
        queue, name, idle = {
            Part.OVERDUE: (ORDER_TASK_QUEUE, "find_overdue_orders", sweep.payment_timeout + sweep.grace),
            Part.DUE: (PAYMENT_TASK_QUEUE, "find_due_payments", sweep.payment_patience),
            Part.CANCELLED: cancelled,
            Part.AGAIN: cancelled,
            Part.ENDED: (PAYMENT_TASK_QUEUE, "find_ended_payments", sweep.compensation_patience),
        }[part]
        search = Search(idle=idle, limit=sweep.page, after=after)
        found: list[Place] = await self._do(queue, name, search, gives=list[Place], summary=part.value)
        return found

    async def _suspects(self, part: Part, orders: list[str], left_over: list[str]) -> list[str]:
        """Those of the found and left-over orders whose state in the other service contradicts what was found."""
        if part in CANCELLATIONS:
            return await self._asked(PAYMENT_TASK_QUEUE, "find_uncompensated", part, orders + left_over)
        if part is Part.ENDED:
            return await self._asked(ORDER_TASK_QUEUE, "find_not_off", part, orders) + left_over
        return orders

    async def _asked(self, queue: str, name: str, part: Part, orders: Sequence[str]) -> list[str]:
        if not orders:
            return []
        found: list[str] = await self._do(queue, name, orders, gives=list[str], summary=part.value)
        return found

    async def _end_all(self, part: Part, orders: Sequence[str]) -> list[Straggler]:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def end(order_id: str) -> Straggler:
            async with slots:
                return await self._end(part, order_id)

        return list(await asyncio.gather(*map(end, orders)))

    async def _end(self, part: Part, order_id: str) -> Straggler:
        """Take the saga's next steps until nothing is left to do."""
        record, steps, trouble = MirrorRecord(originals=self._originals), list[str](), None
        try:
            await self._read(record, order_id)
            while (step := self._next_step(part, record)) and step[0].name not in steps:
                if step[0].queue in queues_of(self._originals):
                    break  # it hears of it by the event
                steps.append(step[0].name)
                await self._take(record, *step)
        except FailureError as error:
            trouble = text_of(error)
        timeline = record.timeline
        return Straggler(
            order_id=order_id,
            found_among=part.value,
            steps=steps,
            order_status=timeline.order_status,
            payment_status=timeline.payment_status,
            over=timeline.over and trouble is None,
            trouble=trouble,
        )

    def _next_step(self, part: Part, record: MirrorRecord) -> tuple[SagaStep, StepInput] | None:
        return next_step(record, unpaid=self._unpaid(part, record), due=part is Part.DUE)

    def _unpaid(self, part: Part, record: MirrorRecord) -> SagaStep | None:
        """The step for an order whose payment is not settled."""
        created = record.last(EventType.ORDER_CREATED)
        if part is not Part.OVERDUE or created is None:
            return CHARGE_PAYMENT if part is Part.DUE else None
        # The deadline must have passed by the database's clock and by Temporal's: one wrong clock cancels nothing.
        deadline = created.occurred_at + timedelta(seconds=self._sweep.payment_timeout)
        return CANCEL_ORDER if deadline <= workflow.now() else None

    async def _read(self, record: MirrorRecord, order_id: str) -> None:
        """Take in the events of both logs. If the payment service is away, its events are missing."""
        away = queues_of(self._originals)
        for queue, name in READ_EVENTS.items():
            if queue in away:
                continue
            try:
                events = await self._do(queue, name, order_id, gives=list[dict[str, Any]], summary=f"order {order_id}")
            except FailureError as error:
                if queue == ORDER_TASK_QUEUE or is_cancelled_exception(error):
                    raise
            else:
                record.take(events)
        if record.last(EventType.ORDER_CREATED) is None:
            raise ApplicationError("the order service's event log knows no such order")

    async def _take(self, record: MirrorRecord, step: SagaStep, message: StepInput) -> None:
        pays = step.queue == PAYMENT_TASK_QUEUE
        arguments = (message, _TRIES) if step is CHARGE_PAYMENT else (message,)
        summary = f"order {message.payload['orderId']}, because of {message.event_type}"
        result: StepResult = await self._do(
            step.queue, step.name, *arguments, gives=StepResult, summary=summary, beats=pays
        )
        record.take(result.events)

    async def _count_flagged(self) -> int | None:
        """The number of sagas that wait for an operator. They are only counted."""
        try:
            flagged: int = await self._do(SAGA_TASK_QUEUE, "count_flagged", gives=int, summary="wait for an operator")
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            return None
        return flagged

    async def _do(
        self, queue: str, name: str, *arguments: Any, gives: type[Any], summary: str, beats: bool = False
    ) -> Any:
        if queue in self._away:
            raise ApplicationError(f"{queue} has not answered before")
        try:
            return await workflow.execute_activity(
                name,
                args=arguments,
                task_queue=queue,
                result_type=gives,
                schedule_to_start_timeout=timedelta(seconds=self._sweep.away_after),
                start_to_close_timeout=_STEP_TIMEOUT,
                heartbeat_timeout=_HEARTBEAT_TIMEOUT if beats else None,
                retry_policy=_RETRIES,
                summary=summary,
            )
        except ActivityError as error:
            if isinstance(error.cause, TimeoutError) and error.cause.type is TimeoutType.SCHEDULE_TO_START:
                self._away.add(queue)
            raise

    def _show(self, under_way: Part | None) -> None:
        workflow.set_current_details(sweep_story(self._report, under_way))


def _fresh() -> SweepReport:
    """The report of a sweep that goes on where the last one ended; from the start if its result can't be read."""
    try:
        last = the_argument(SweepReport, [workflow.get_last_completion_result()])
    except InvalidArguments:
        return SweepReport()
    return SweepReport(
        unfinished=last.unfinished, checked=last.checked, again=last.again, ended=last.ended, unmatched=last.unmatched
    )
