"""Read in a workflow what both services have logged about an order."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final, TypeAlias

from temporalio import workflow

from models.originals import NO_ORIGINALS, Originals
from workflows.naming import queues_of
from workflows.retries import LOCAL_RETRIES_WITHIN, ORDER_RETRIES
from workflows.saga_steps import READ_EVENTS

_READING: Final = timedelta(seconds=10)
_SUMMARY: Final = "what happened so far"

Log: TypeAlias = list[dict[str, Any]]


async def read_event_logs(order_id: str, *, local: str | None = None, originals: Originals = NO_ORIGINALS) -> list[Log]:
    """The events of each log in wire form, oldest first. This waits while one of the services is away.

    Original services keep no log. `local` is the task queue of the service that runs this workflow. It reads its own
    log in the workflow task.
    """
    queues = [queue for queue in READ_EVENTS if queue not in queues_of(originals)]
    readers = (_here if queue == local else _there for queue in queues)
    return list(await asyncio.gather(*(read(order_id, queue) for read, queue in zip(readers, queues, strict=True))))


async def _there(order_id: str, queue: str) -> Log:
    events: Log = await workflow.execute_activity(
        READ_EVENTS[queue],
        order_id,
        task_queue=queue,
        result_type=Log,
        start_to_close_timeout=_READING,
        retry_policy=ORDER_RETRIES,
        summary=_SUMMARY,
    )
    return events


async def _here(order_id: str, queue: str) -> Log:
    events: Log = await workflow.execute_local_activity(
        READ_EVENTS[queue],
        order_id,
        result_type=Log,
        start_to_close_timeout=_READING,
        retry_policy=ORDER_RETRIES,
        local_retry_threshold=LOCAL_RETRIES_WITHIN,
        summary=_SUMMARY,
    )
    return events
