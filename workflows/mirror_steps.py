"""Have the order service take a mirror's step, until it is done or has become pointless."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from activities.steps import StepInput, StepResult
from workflows.naming import ORDER_TASK_QUEUE

_STEP_TIMEOUT: Final = timedelta(seconds=30)
_STEP_RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(minutes=1)
)


class StepFailed(Exception):
    """A step failed for good or was refused, so an operator must look. The message says why."""


async def take_step(
    name: str, step: StepInput, summary: str, *, pointless: Callable[[], bool]
) -> list[dict[str, Any]] | None:
    """Take the step. Returns the events that it logged, in wire form; None once it is `pointless`.

    The service may be away for long. Events that arrive meanwhile may make the step pointless. Raises StepFailed.
    """
    taken = workflow.start_activity(
        name,
        step,
        result_type=StepResult,
        task_queue=ORDER_TASK_QUEUE,
        start_to_close_timeout=_STEP_TIMEOUT,
        retry_policy=_STEP_RETRIES,
        summary=summary,
    )
    await workflow.wait_condition(lambda: taken.done() or pointless())
    if not taken.done():
        return None
    try:
        result = await taken
    except (ActivityError, asyncio.CancelledError) as error:
        raise StepFailed(f"the step {name} failed: {error.__cause__ or error}") from error
    if result.decision in ("illegal", "too_early"):
        raise StepFailed(f"the step {name} was refused: {result.why}")
    events: list[dict[str, Any]] = result.events
    return events
