"""Ask workflows for their timelines and how they stand. Those of both coordinators answer in the same form."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from workflows.naming import workflow_id
from workflows.temporal_errors import TemporalUnavailable, translated

_CALL: Final = timedelta(seconds=1)  # the gateway's own time limit is not longer
_RUNS: Final = 20  # of one workflow, which are counted together at most
_TIMELINE: Final = "timeline"
_STATUS: Final = "status"


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowFacts:
    """What Temporal tells of the latest run of an order's workflow, and how long the histories of all runs are."""

    namespace: str
    id: str
    run_id: str
    type: str
    status: str  # RUNNING, COMPLETED, …
    history_events: int
    history_of_all_runs: int | None  # events; None while a run is open, and if not all runs can be told
    waiting_for: str | None  # in its own words; None if it waits for nothing, or no worker answers


class WorkflowTimelines:
    """The workflows in one Temporal namespace: their timelines, and what else they tell."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def timeline(self, order_id: UUID) -> Mapping[str, Any] | None:
        """The timeline of the order's latest run, open or closed; None if it has no workflow.

        A worker answers. It reads the history first if the workflow is not in its memory. Raises TemporalUnavailable.
        """
        handle = self._client.get_workflow_handle(workflow_id(order_id))
        with translated():
            try:
                found: Mapping[str, Any] = await handle.query(_TIMELINE, result_type=dict[str, Any], rpc_timeout=_CALL)
            except WorkflowQueryFailedError as error:
                raise TemporalUnavailable(f"The workflow of order {order_id} cannot tell: {error}") from error
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return None
                raise
            return found

    async def facts(self, order_id: UUID) -> WorkflowFacts | None:
        """The facts of the order's workflow; None if it has no workflow. Raises TemporalUnavailable."""
        handle = self._client.get_workflow_handle(workflow_id(order_id))
        with translated():
            try:
                found = await handle.describe(rpc_timeout=_CALL)
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return None
                raise
        status: Mapping[str, Any] = {}
        if found.status is WorkflowExecutionStatus.RUNNING:
            with suppress(RPCError, WorkflowQueryFailedError):
                status = await handle.query(_STATUS, result_type=dict[str, Any], rpc_timeout=_CALL)
        return WorkflowFacts(
            namespace=found.namespace,
            id=found.id,
            run_id=found.run_id,
            type=found.workflow_type,
            status=found.status.name if found.status else "UNKNOWN",
            history_events=found.history_length,
            history_of_all_runs=await self._history_of_all_runs(found),
            waiting_for=status.get("waitingFor"),
        )

    async def _history_of_all_runs(self, latest: WorkflowExecution) -> int | None:
        """The events of all runs of a closed workflow.

        Temporal brings its list of runs up to date later. It is believed once it has the latest run as closed.
        """
        if latest.status is WorkflowExecutionStatus.RUNNING:
            return None
        query = f"WorkflowId = '{latest.id}'"
        try:
            listed = self._client.list_workflows(query, limit=_RUNS + 1, rpc_timeout=_CALL)
            runs = {run.run_id: run async for run in listed}
        except RPCError:
            return None
        open_runs = [run for run in runs.values() if run.status is WorkflowExecutionStatus.RUNNING]
        if latest.run_id not in runs or open_runs or len(runs) > _RUNS:
            return None
        return sum(run.history_length for run in runs.values())
