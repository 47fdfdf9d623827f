"""Run a worker while Temporal is there, and wait for Temporal while it isn't."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeAlias

import structlog
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from workflows.temporal_client import answers, connect_now, refusal

log = structlog.get_logger()

NewWorker: TypeAlias = Callable[[Client], Awaitable[Worker]]  # of a client that is connected

_FIRST_PAUSE: Final = 0.2  # seconds
_LONGEST_PAUSE: Final = 5.0  # seconds


class Serving:
    """Takes work from one task queue, with a new worker whenever Temporal comes back."""

    def __init__(self, client: Client, new_worker: NewWorker, *, task_queue: str) -> None:
        self._client = client
        self._new_worker = new_worker
        self._task_queue = task_queue
        self._worker: Worker | None = None
        self._draining = False

    @property
    def client(self) -> Client | None:
        """The running worker's client, else None. Temporal may start this client's workflows in this worker at once."""
        running = self._worker is not None and self._worker.is_running and not self._draining
        return self._worker.client if self._worker is not None and running else None

    async def run(self) -> None:
        """Work until cancelled or drained."""
        pause = _FIRST_PAUSE
        while not self._draining:
            try:
                worker = await self._new_worker(await connect_now(self._client))
                if self._draining:
                    return
                self._worker = worker
                log.info("temporal_connected", task_queue=self._task_queue)
                pause = _FIRST_PAUSE
                await self._worker.run()
            except (RPCError, RuntimeError, OSError) as error:
                log.warning(
                    "temporal_unavailable",
                    task_queue=self._task_queue,
                    error=await refusal(self._client, error) or str(error),
                    retry_in=pause,
                )
            finally:
                self._worker = None
            if not self._draining:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def readiness(self) -> str:
        """`ok` if Temporal answers and the task queue is polled; else what is wrong."""
        found = await answers(self._client)
        if found == "ok" and (self._worker is None or not self._worker.is_running):
            return f"answers, but the queue {self._task_queue} is not polled from here"
        return found

    async def drain(self, timeout: float) -> None:
        """Take no new work, and finish the begun work within `timeout` seconds. Temporal has the rest done again."""
        self._draining = True
        if self._worker is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._worker.shutdown(), timeout)
