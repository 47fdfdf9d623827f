"""Histories are recorded on a real Temporal server, with the real workflows and scripted services."""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeAlias
from uuid import UUID, uuid5

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from tests.support.waiting import eventually
from workflows import worker
from workflows.naming import SAGA_TASK_QUEUE, workflow_id

Run: TypeAlias = WorkflowHandle[Any, Any]

IDENTITY: Final = "recorder"  # instead of a process and a machine
_NAMES: Final = UUID("5a6a0f5e-6d0b-4c53-9a53-0a3f8f0f4d11")
_QUIET: Final = TelemetryConfig(logging=LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR")))
# With these, a mirror continues as new after a hundred events instead of thousands.
_SMALL_HISTORIES: Final = ("--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=100")


@asynccontextmanager
async def temporal() -> AsyncIterator[Client]:
    """A client of a development server that is gone afterwards."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).parent / "temporal"),
        dev_server_log_level="error",
        dev_server_extra_args=_SMALL_HISTORIES,
        identity=IDENTITY,
        runtime=Runtime(telemetry=_QUIET),  # answers come too late in some scenarios, as they should
    ) as env:
        await worker.register(env.client)
        yield env.client


@dataclass
class Stage(ABC):
    """One order, whose ids are the same in every recording, and a worker that can be stopped."""

    task_queue: ClassVar[str] = SAGA_TASK_QUEUE

    client: Client
    name: str
    workflows: Sequence[type[Any]] = ()  # those that are worked on in its task queue, unless others are given
    cached: int = 100  # workflows that the worker keeps in memory

    @property
    def order_id(self) -> UUID:
        return uuid5(_NAMES, self.name)

    @property
    def saga(self) -> Run:
        return self.client.get_workflow_handle(workflow_id(self.order_id))

    @property
    def steps_beside(self) -> Sequence[Callable[..., Any]]:
        """Steps that the workflow's own worker runs."""
        return ()

    @abstractmethod
    def service_workers(self) -> list[Worker]:
        """Workers of the services that the workflow asks."""

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[Self]:
        """Play with all workers, and terminate open workflows at the end, so that the next scenario has free queues."""
        async with AsyncExitStack() as stack:
            for each in self.service_workers():
                await stack.enter_async_context(each)
            await self.come()
            try:
                yield self
                if (await self.saga.describe()).close_time is None:
                    await self.saga.terminate()
            finally:
                await self.leave()

    async def come(self) -> None:
        """The saga worker begins to work."""
        self._worker = Worker(
            worker.reading_anything(self.client),
            task_queue=self.task_queue,
            workflows=self.workflows or worker.WORKFLOWS[self.task_queue],
            activities=self.steps_beside,
            workflow_runner=worker.runner(),
            max_cached_workflows=self.cached,
        )
        self._working = asyncio.create_task(self._worker.run())

    async def start_with(self, workflow: str, *given: object) -> None:
        """Start the order's workflow with any input, as a stranger can."""
        await self.client.start_workflow(
            workflow, args=given, id=workflow_id(self.order_id), task_queue=self.task_queue
        )

    async def fails(self) -> None:
        try:
            await self.saga.result()
        except WorkflowFailureError:
            return
        raise AssertionError(f"{self.name!r} should have failed")

    async def leave(self) -> None:
        """Stop the saga worker. From now on everything waits for another one."""
        await self._worker.shutdown()
        await self._working

    async def run(self) -> Run:
        """The present run of the order, whose history can be read when another run has followed."""
        described = await self.saga.describe()
        return self.client.get_workflow_handle(described.id, run_id=described.run_id)

    async def settled(self) -> None:
        """Wait until the workflow has handled everything that it was told, and no step is under way.

        So each thing that happens gets a workflow task of its own, in every recording.
        """

        async def idle() -> bool:
            described = (await self.saga.describe()).raw_description
            return not described.HasField("pending_workflow_task") and not described.pending_activities

        await eventually(idle, f"the workflow of {self.name!r} is idle")

    async def took_it_in(self) -> None:
        """Wait until the workflow has handled everything that it was told. Steps may be under way."""

        async def done() -> bool:
            return not (await self.saga.describe()).raw_description.HasField("pending_workflow_task")

        await eventually(done, f"the workflow of {self.name!r} has no task")

    async def happened(self, kind: str, times: int = 1) -> None:
        """Wait until the history has this many events of a kind, such as "TIMER_FIRED"."""

        async def known() -> bool:
            events = (await self.saga.fetch_history()).to_json_dict()["events"]
            return [event["eventType"] for event in events].count(f"EVENT_TYPE_{kind}") >= times

        await eventually(known, f"{kind} in the history of {self.name!r}")
