"""The ceilings of Temporal: bare signal-with-start, and a plain workflow of three activities."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from temporalio.client import Client, WorkflowExecutionDescription

from bench.plain_workflows import PLAIN_TASK_QUEUE, PlainSaga
from bench.trials import steady_rate

_UNPOLLED_TASK_QUEUE: Final = "bench-unpolled"  # nobody works for it
# As much as a mirror is told in one call: three events of this size.
_EVENTS: Final = [{"eventType": name, "eventId": str(uuid4()), "payload": "x" * 300} for name in "abc"]
_CALLS: Final = 32  # under way at once: as many as the mirror feed makes (SAGA_MIRROR_CONCURRENCY)
_POLL: Final = 0.2  # seconds between two looks at how many have closed
_PATIENCE: Final = 60.0  # seconds without the end of a single workflow

Start = Callable[[str], Awaitable[object]]  # by workflow id


class RawTemporal:
    """What one Temporal server can do for a client that asks for the least."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def signal_with_start(self, *, seconds: float) -> float:
        """Calls a second, each with an id of its own, while nobody works for the workflows that they start."""

        async def start(workflow_id: str) -> None:
            await self._client.start_workflow(
                "Signalled",
                id=workflow_id,
                task_queue=_UNPOLLED_TASK_QUEUE,
                start_signal="record",
                start_signal_args=[_EVENTS],
            )

        began = time.monotonic()
        calls = await _calls(start, within=seconds)
        return calls / (time.monotonic() - began)

    async def plain_sagas(self, *, seconds: float, in_flight: int) -> float:
        """Workflows of three activities that close a second between the edges of the stretch, as with sagas.

        So many are under way at once. Raises TimeoutError when none ends.
        """
        since = datetime.now(UTC).isoformat()
        query = f"WorkflowType = '{PlainSaga.__name__}' AND ExecutionStatus = 'Completed' AND StartTime >= '{since}'"
        closed, started = 0, 0
        ends: list[float] = []  # of each workflow, as far as looking every now and then can tell

        async def start(workflow_id: str) -> None:
            nonlocal started
            started += 1
            await self._client.start_workflow(PlainSaga.run, workflow_id, id=workflow_id, task_queue=PLAIN_TASK_QUEUE)

        async def watch() -> None:
            nonlocal closed
            while True:
                closed = (await self._client.count_workflows(query)).count
                ends.extend([time.monotonic()] * (closed - len(ends)))
                await asyncio.sleep(_POLL)

        watching = asyncio.create_task(watch())
        try:
            await _calls(start, within=seconds, room=lambda: started - closed < in_flight)
            before, moved = closed, time.monotonic()
            while closed < started:
                await asyncio.sleep(_POLL / 4)
                if watching.done():
                    watching.result()  # it ends only by failing
                if closed > before:
                    before, moved = closed, time.monotonic()
                elif time.monotonic() - moved > _PATIENCE:
                    raise TimeoutError(f"No {PlainSaga.__name__} has closed for {_PATIENCE:g} s")
            return steady_rate(ends)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def plain_at_rate(self, *, seconds: float, rate: float) -> dict[str, float]:
        """Milliseconds from when each workflow of three activities was due until it closed, by its id."""
        began, due = time.time(), {}
        async with asyncio.TaskGroup() as group:
            for number in range(round(seconds * rate)):
                workflow_id = f"bench-{uuid4()}"
                due[workflow_id] = began + number / rate
                await asyncio.sleep(due[workflow_id] - time.time())
                group.create_task(self._plain(workflow_id))
        return {
            run.id: 1000 * (run.close_time.timestamp() - due[run.id])
            for run in await asyncio.gather(*map(self._described, due))
            if run.close_time is not None
        }

    async def _plain(self, workflow_id: str) -> None:
        await self._client.execute_workflow(PlainSaga.run, workflow_id, id=workflow_id, task_queue=PLAIN_TASK_QUEUE)

    async def _described(self, workflow_id: str) -> WorkflowExecutionDescription:
        return await self._client.get_workflow_handle(workflow_id).describe()


async def _calls(start: Start, *, within: float, room: Callable[[], bool] = lambda: True) -> int:
    """Make calls for so many seconds, whenever there is room for one more; how many that were."""
    deadline, made = time.monotonic() + within, 0

    async def call() -> None:
        nonlocal made
        while time.monotonic() < deadline:
            if room():
                made += 1
                await start(f"bench-{uuid4()}")
            else:
                await asyncio.sleep(_POLL / 10)

    async with asyncio.TaskGroup() as group:
        for _ in range(_CALLS):
            group.create_task(call())
    return made


@asynccontextmanager
async def plain_worker(address: str) -> AsyncIterator[None]:
    """A process of its own that works for the plain workflows, until the end of the context."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.plain_worker", address),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        if process.stdout is None or await process.stdout.readline() != b"ready\n":
            raise TimeoutError("The worker of the plain workflows did not start")
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
