"""Read, in a workflow, what both services have logged of an order."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow

from workflows.retries import ORDER_RETRIES
from workflows.saga_steps import READ_EVENTS

_READING: Final = timedelta(seconds=10)


async def read_event_logs(order_id: str) -> list[list[dict[str, Any]]]:
    """The events of each log in wire form, oldest first; it takes as long as one of the services is away."""
    logs: list[list[dict[str, Any]]] = await asyncio.gather(
        *(
            workflow.execute_activity(
                name,
                order_id,
                task_queue=queue,
                result_type=list[dict[str, Any]],
                start_to_close_timeout=_READING,
                retry_policy=ORDER_RETRIES,
                summary="what happened so far",
            )
            for queue, name in READ_EVENTS.items()
        )
    )
    return logs
