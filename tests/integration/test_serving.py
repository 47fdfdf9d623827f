"""A process says that it is unready while Temporal is away, and ready again once Temporal is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from temporalio import activity
from temporalio.client import Client

from tests.support.temporal import TemporalServer
from tests.support.waiting import eventually
from workflows import worker
from workflows.activity_workers import activity_worker
from workflows.naming import ORDER_TASK_QUEUE
from workflows.serving import Serving
from workflows.temporal_client import connect


@activity.defn(name="a_step")
async def step() -> None:
    """A step that no test asks for."""


def steps(client: Client) -> Serving:
    return activity_worker(client, [step], task_queue=ORDER_TASK_QUEUE, limit=1, grace=1.0)


@asynccontextmanager
async def running(serving: Serving) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(serving.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("kind", [steps, worker.serving])
def test_readiness_says_whether_work_is_taken(temporal: TemporalServer, kind: Callable[[Client], Serving]) -> None:
    temporal.kill()

    async def test() -> None:
        serving = kind(await connect(temporal.address, "default"))

        async def away() -> bool:
            return (await serving.readiness()).startswith("does not answer")

        async def ready() -> bool:
            return await serving.readiness() == "ok"

        assert await away()
        await asyncio.to_thread(temporal.start)
        assert "is not polled from here" in await serving.readiness()
        async with running(serving) as task:
            await eventually(ready)
            temporal.kill()
            await eventually(away)
            await asyncio.to_thread(temporal.start)
            await eventually(ready)
            await serving.drain(5)
            assert "is not polled from here" in await serving.readiness()
            await asyncio.wait_for(task, 60)

    asyncio.run(test())


def test_a_worker_begun_without_temporal_works_as_soon_as_it_is_there(temporal: TemporalServer) -> None:
    temporal.kill()

    async def test() -> None:
        serving = steps(await connect(temporal.address, "default"))

        async def ready() -> bool:
            return await serving.readiness() == "ok"

        async with running(serving):
            assert not await ready()
            await asyncio.to_thread(temporal.start)
            await eventually(ready)

    asyncio.run(test())
