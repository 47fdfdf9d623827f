"""A Temporal server of its own for a test, which can be started, killed and wiped."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from embedded.program import http_ok
from embedded.temporal import TUNING
from tests.support.ports import free_port
from tests.support.waiting import until
from workflows.naming import workflow_id

Result = TypeVar("Result")


class TemporalServer:
    """The development server on a file, at an address that stays the same."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._port, self._http = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._data.mkdir(exist_ok=True)
        with (self._data.parent / "temporal.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(Path(sys.executable).parent / "temporal"),
                    *("server", "start-dev", "--headless", "--log-level", "warn", "--ip", "127.0.0.1"),
                    *("--port", str(self._port), "--http-port", str(self._http)),
                    *("--db-filename", str(self._data / "temporal.db")),
                    *TUNING,
                ],
                stdout=log,
                stderr=log,
            )
        until(lambda: http_ok(self._http, "/api/v1/namespaces/default"), what="Temporal answers")

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process is not None else None

    def kill(self) -> None:
        """Kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Kill it and forget all it knew."""
        self.kill()
        shutil.rmtree(self._data)

    def ask(self, question: Callable[[Client], Awaitable[Result]]) -> Result:
        """Ask something through a client. Returns the answer."""

        async def run() -> Result:
            return await question(await Client.connect(self.address))

        return asyncio.run(run())

    def count(self, query: str) -> int:
        """How many runs match."""

        async def question(client: Client) -> int:
            return (await client.count_workflows(query)).count

        return self.ask(question)

    def timeline(self, order_id: str) -> Any:
        """The timeline that an order's workflow tells. Its worker must be running."""

        async def question(client: Client) -> Any:
            return await client.get_workflow_handle(workflow_id(order_id)).query("timeline")

        return self.ask(question)

    def began_beside(self, order_id: str) -> bool:
        """Whether whoever started the order's saga got its first task with Temporal's answer."""
        history = self.ask(lambda client: client.get_workflow_handle(workflow_id(order_id)).fetch_history())
        return history.events[0].workflow_execution_started_event_attributes.eager_execution_accepted

    def run_of(self, order_id: str) -> tuple[str, WorkflowExecutionStatus | None] | None:
        """The last run of an order's workflow and its status. None if Temporal knows no run."""

        async def describe(client: Client) -> tuple[str, WorkflowExecutionStatus | None] | None:
            try:
                found = await client.get_workflow_handle(workflow_id(order_id)).describe()
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return None
                raise
            return found.run_id, found.status

        return self.ask(describe)

    def forget(self, order_id: str) -> None:
        """Do to an order's closed workflow what Temporal's retention does."""

        async def delete(client: Client) -> None:
            execution = WorkflowExecution(workflow_id=workflow_id(order_id))
            request = DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=execution)
            await client.workflow_service.delete_workflow_execution(request)

        self.ask(delete)
        until(lambda: self.run_of(order_id) is None, what="Temporal has forgotten it")
