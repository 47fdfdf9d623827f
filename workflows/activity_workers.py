"""Run a service's steps for Temporal: beside its consumer, on the same ledger, and never in its way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import structlog
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from workflows.connection import connect_now

log = structlog.get_logger()

_FIRST_PAUSE: Final = 0.2  # seconds
_LONGEST_PAUSE: Final = 5.0  # seconds


class ActivityWorker:
    """Takes steps from one task queue for as long as Temporal is there, and waits for it when it isn't.

    At most `limit` steps are under way at once: those of the payment service spend their time waiting for the provider.
    """

    def __init__(
        self, client: Client, task_queue: str, steps: Sequence[Callable[..., Any]], *, limit: int, grace: float
    ) -> None:
        self._client = client
        self._task_queue = task_queue
        self._steps = steps
        self._limit = limit
        self._grace = grace  # seconds that steps have to finish when the process stops
        self._worker: Worker | None = None
        self._draining = False

    async def run(self) -> None:
        """Work until cancelled or drained."""
        pause = _FIRST_PAUSE
        while not self._draining:
            try:
                self._worker = self._new_worker(await connect_now(self._client))
                log.info("temporal_connected", task_queue=self._task_queue)
                pause = _FIRST_PAUSE
                await self._worker.run()
            except (RPCError, RuntimeError, OSError) as error:
                log.warning("temporal_unavailable", task_queue=self._task_queue, error=str(error), retry_in=pause)
            finally:
                self._worker = None
            if not self._draining:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def drain(self, timeout: float) -> None:
        """Take nothing new, and finish within `timeout` seconds what was begun; Temporal has the rest done again."""
        self._draining = True
        if self._worker is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._worker.shutdown(), timeout)

    def _new_worker(self, client: Client) -> Worker:
        return Worker(
            client,
            task_queue=self._task_queue,
            activities=self._steps,
            max_concurrent_activities=self._limit,
            graceful_shutdown_timeout=timedelta(seconds=self._grace),
        )
