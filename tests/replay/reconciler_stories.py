"""The scenarios in which histories of the Reconciler are recorded."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid5

from temporalio.client import (
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleHandle,
    ScheduleSpec,
    WorkflowFailureError,
)

from activities.stragglers import Place
from models.originals import ServiceName
from tests.replay.mirror_stage import FixedStory
from tests.replay.reconciler_stage import ReconcilerStage
from tests.replay.stage import Run
from tests.support.waiting import eventually
from workflows.naming import SAGA_TASK_QUEUE
from workflows.reconciler import Reconciler

OFTEN = 100  # how often an activity fails that is not to succeed


# What a sweep finds


async def nothing_has_fallen_through(stage: ReconcilerStage) -> None:
    await stage.begin_and_end()


async def order_past_its_deadline(stage: ReconcilerStage) -> None:
    stage.has_an_overdue_order()
    await stage.begin_and_end()


async def order_past_its_deadline_by_another_clock(stage: ReconcilerStage) -> None:
    stage.story = FixedStory(stage.order_id, datetime.now(UTC))
    stage.has_an_overdue_order()
    await stage.begin_and_end()


async def payment_that_stands_still(stage: ReconcilerStage) -> None:
    stage.services.finds["find_due_payments"] = [[stage.place]]
    stage.services.logs["read_order_events"] = [stage.story.created]
    stage.services.steps = {"charge_payment": [stage.story.approved], "pay_order": [stage.story.paid]}
    await stage.begin_and_end()


async def cancellation_without_compensation(stage: ReconcilerStage) -> None:
    stage.services.finds["find_cancelled_orders"] = [[stage.place]]
    stage.services.finds["find_uncompensated"] = [[str(stage.order_id)]]
    stage.services.logs["read_order_events"] = [stage.story.created, stage.story.paid, stage.story.cancelled]
    stage.services.logs["read_payment_events"] = [stage.story.approved]
    stage.services.steps["cancel_payment"] = [stage.story.refunded]
    await stage.begin_and_end()


async def failed_order_whose_payment_was_approved(stage: ReconcilerStage) -> None:
    failed = stage.story.event("OrderFailed", 2, reason="told so by somebody else")
    stage.services.finds["find_cancelled_orders"] = [[stage.place]]
    stage.services.finds["find_uncompensated"] = [[str(stage.order_id)]]
    stage.services.logs["read_order_events"] = [stage.story.created, failed]
    stage.services.logs["read_payment_events"] = [stage.story.approved]
    stage.services.steps["cancel_payment"] = [stage.story.event("PaymentRefunded", 5, failed, transactionId="t-1")]
    await stage.begin_and_end()


async def paid_order_without_money(stage: ReconcilerStage) -> None:
    stage.services.finds["find_ended_payments"] = [[stage.place]]
    stage.services.finds["find_not_off"] = [[str(stage.order_id)]]
    stage.services.logs["read_order_events"] = [stage.story.created, stage.story.paid]
    stage.services.logs["read_payment_events"] = [stage.story.declined]
    stage.services.steps["cancel_order"] = [stage.story.cancelled]
    await stage.begin_and_end()


async def order_past_its_deadline_beside_an_original_payment_service(stage: ReconcilerStage) -> None:
    stage.sweep = replace(stage.sweep, originals=[ServiceName.PAYMENT])
    stage.has_an_overdue_order()
    await stage.begin_and_end()


async def order_that_no_event_log_knows(stage: ReconcilerStage) -> None:
    stage.services.finds["find_overdue_orders"] = [[stage.place]]
    await stage.begin_and_end()


async def more_than_one_history_holds(stage: ReconcilerStage) -> Run:
    others = [Place(at=stage.place.at, order_id=str(uuid5(stage.order_id, str(n)))) for n in range(8)]
    stage.services.finds["find_overdue_orders"] = [[place] for place in others]
    stage.sweep = replace(stage.sweep, page=1)
    await stage.begin()
    first = await stage.run()
    await stage.saga.result()
    return first


async def carried_on_from_another_run(stage: ReconcilerStage) -> None:
    await more_than_one_history_holds(stage)


async def what_the_sweep_before_left(stage: ReconcilerStage) -> None:
    order_ids = [[str(stage.order_id)]] * 2
    stage.services.finds |= {"find_cancelled_orders": [[stage.place]], "find_uncompensated": order_ids}
    stage.services.logs["read_order_events"] = [stage.story.created, stage.story.approved, stage.story.cancelled]
    stage.services.failures["cancel_payment"] = 3
    stage.services.steps["cancel_payment"] = [stage.story.refunded]
    action = ScheduleActionStartWorkflow(Reconciler.run, stage.sweep, id=stage.workflow_id, task_queue=SAGA_TASK_QUEUE)
    schedule = await stage.client.create_schedule("sweeps", Schedule(action=action, spec=ScheduleSpec()))
    for number in (1, 2):  # a schedule hands on what the one before ended with
        await schedule.trigger()
        stage.workflow_id = await started_by(schedule, number)
        await stage.saga.result()
    await schedule.delete()


async def started_by(schedule: ScheduleHandle, number: int) -> str:
    """The id of the workflow that a schedule has started as its first, second, …"""

    async def begun() -> bool:
        return (await schedule.describe()).info.num_actions >= number

    await eventually(begun, "the schedule has begun a sweep")
    [*_, last] = (await schedule.describe()).info.recent_actions
    assert isinstance(last.action, ScheduleActionExecutionStartWorkflow)
    return last.action.workflow_id


# What goes wrong


async def search_that_fails(stage: ReconcilerStage) -> None:
    stage.services.failures["find_due_payments"] = OFTEN
    await stage.begin_and_end()


async def step_that_fails(stage: ReconcilerStage) -> None:
    stage.has_an_overdue_order()
    stage.services.failures["cancel_payment"] = OFTEN
    await stage.begin_and_end()


async def payment_service_that_is_away(stage: ReconcilerStage) -> None:
    stage.has_an_overdue_order()
    stage.sweep = replace(stage.sweep, away_after=1)
    await stage.payment_worker.shutdown()
    await stage.begin_and_end()


async def nobody_who_can_count(stage: ReconcilerStage) -> None:
    stage.services.failures["count_flagged"] = OFTEN
    await stage.begin_and_end()


async def started_with_something_else(stage: ReconcilerStage) -> None:
    given = {"payment_timeout": 1, "grace": 1, "payment_patience": 1, "compensation_patience": 1, "part": "all of it"}
    id, queue = stage.workflow_id, SAGA_TASK_QUEUE
    await stage.client.start_workflow(Reconciler.__name__, given, id=id, task_queue=queue)
    await stage.fails()


# Cancelled by Temporal, wherever it is


async def cancelled_during_a_search(stage: ReconcilerStage) -> None:
    await cancelled_during(stage, "find_overdue_orders")


async def cancelled_while_reading(stage: ReconcilerStage) -> None:
    await cancelled_during(stage, "read_payment_events")


async def cancelled_during_a_step(stage: ReconcilerStage) -> None:
    await cancelled_during(stage, "cancel_order")


async def cancelled_while_counting(stage: ReconcilerStage) -> None:
    await cancelled_during(stage, "count_flagged")


async def cancelled_during(stage: ReconcilerStage, name: str) -> None:
    stage.has_an_overdue_order()
    stage.services.held = name
    await stage.begin()
    await stage.asked_for(name)
    await stage.saga.cancel()
    with suppress(WorkflowFailureError):
        await stage.saga.result()
