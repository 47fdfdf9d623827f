"""Run a service's steps for Temporal, beside its consumer and on the same ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from workflows.serving import Serving


def activity_worker(
    client: Client, steps: Sequence[Callable[..., Any]], *, task_queue: str, limit: int, grace: float
) -> Serving:
    """A worker for the steps of one task queue. Steps have `grace` seconds to finish when the process stops.

    At most `limit` steps run at once. It may be high, because payment steps mostly wait for the provider.
    """

    async def new_worker(connected: Client) -> Worker:
        return Worker(
            connected,
            task_queue=task_queue,
            activities=steps,
            max_concurrent_activities=limit,
            graceful_shutdown_timeout=timedelta(seconds=grace),
        )

    return Serving(client, new_worker, task_queue=task_queue)
