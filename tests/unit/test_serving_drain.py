"""A process that is told to stop begins no new work."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from workflows.serving import Serving

pytestmark = pytest.mark.anyio


class IdleWorker:
    """Notes whether it was told to run."""

    ran = False
    client = cast(Client, object())

    async def run(self) -> None:
        self.ran = True


class BusyWorker(IdleWorker):
    """Runs until its work is done."""

    is_running = True

    def __init__(self) -> None:
        self.done = asyncio.Event()

    async def run(self) -> None:
        await self.done.wait()

    async def shutdown(self) -> None:
        await self.done.wait()


async def test_a_worker_whose_connection_comes_about_during_the_drain_takes_no_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connected, worker = asyncio.Event(), IdleWorker()

    async def connect_late(client: Client) -> Client:
        await connected.wait()
        return client

    async def new_worker(_: Client) -> Worker:
        return cast(Worker, worker)

    monkeypatch.setattr("workflows.serving.connect_now", connect_late)
    serving = Serving(cast(Client, None), new_worker, task_queue="sagas")
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(serving.run())
        await asyncio.sleep(0)
        await serving.drain(1.0)
        connected.set()
    assert not worker.ran


async def test_nothing_begins_beside_a_worker_that_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = BusyWorker()

    async def connect(client: Client) -> Client:
        return client

    async def new_worker(_: Client) -> Worker:
        return cast(Worker, worker)

    monkeypatch.setattr("workflows.serving.connect_now", connect)
    serving = Serving(cast(Client, None), new_worker, task_queue="sagas")
    assert serving.client is None
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(serving.run())
        await asyncio.sleep(0.01)
        assert serving.client is worker.client
        draining = tasks.create_task(serving.drain(5.0))
        await asyncio.sleep(0)
        assert serving.client is None
        worker.done.set()
        await draining
