"""Ask workflows for their timelines and how they stand. Those of both coordinators answer in the same form."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from workflows.naming import workflow_id
from workflows.temporal_errors import TemporalUnavailable, translated

_CALL: Final = timedelta(seconds=1)  # the gateway's own time limit is not longer
_TIMELINE: Final = "timeline"
_STATUS: Final = "status"


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowFacts:
    """What Temporal tells of the latest run of an order's workflow."""

    namespace: str
    id: str
    run_id: str
    type: str
    status: str  # RUNNING, COMPLETED, …
    history_events: int
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
            waiting_for=status.get("waitingFor"),
        )
