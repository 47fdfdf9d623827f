"""Run a step of an orchestrated saga: locally in the workflow task, or in the service that owns the step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, cast

from temporalio import workflow
from temporalio.exceptions import ActivityError, RetryState, TimeoutError, TimeoutType

from activities.steps import StepInput, StepResult
from workflows.naming import PAYMENT_TASK_QUEUE
from workflows.retries import LOCAL_RETRIES_WITHIN, ORDER_RETRIES, payment_retries
from workflows.saga_steps import CHARGE_PAYMENT, SagaStep

_PAYMENT_STEP: Final = timedelta(seconds=60)  # a provider may take its time
_ORDER_STEP: Final = timedelta(seconds=10)
_HEARTBEAT_TIMEOUT: Final = timedelta(seconds=5)  # a service that died is noticed after this


async def run_step(
    step: SagaStep, message: StepInput, *, delays: Sequence[float], here: bool, within: timedelta | None
) -> StepResult:
    """Run the step until it is done. Returns its result. `here`: run it as a local activity in this worker.

    `delays` are the seconds before each retry of a charge. Raises ActivityError if the step fails for good, or is not
    done `within` that time.
    """
    summary = f"{step.name} because of {message.event_type}"
    if here:
        answer = await workflow.execute_local_activity(
            step.name,
            message,
            result_type=StepResult,
            start_to_close_timeout=_ORDER_STEP,
            retry_policy=ORDER_RETRIES,
            local_retry_threshold=LOCAL_RETRIES_WITHIN,
            summary=summary,
        )
        return cast(StepResult, answer)
    pays = step.queue == PAYMENT_TASK_QUEUE
    answer = await workflow.execute_activity(
        step.name,
        args=[message, len(delays) + 1] if step is CHARGE_PAYMENT else [message],
        task_queue=step.queue,
        result_type=StepResult,
        schedule_to_close_timeout=within,
        start_to_close_timeout=_PAYMENT_STEP if pays else _ORDER_STEP,
        heartbeat_timeout=_HEARTBEAT_TIMEOUT if pays else None,
        retry_policy=payment_retries(delays) if pays else ORDER_RETRIES,
        summary=summary,
    )
    return cast(StepResult, answer)


def ran_out_of_time(error: ActivityError) -> bool:
    """Whether the step was given up because no time was left for it or for another attempt."""
    timed_out = isinstance(error.cause, TimeoutError) and error.cause.type is TimeoutType.SCHEDULE_TO_CLOSE
    return timed_out or error.retry_state is RetryState.TIMEOUT
