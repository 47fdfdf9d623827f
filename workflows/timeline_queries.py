"""Ask workflows for their timelines by query. Workflows of both coordinators answer in the same form."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from workflows.naming import workflow_id
from workflows.temporal_errors import TemporalUnavailable, translated

_CALL: Final = timedelta(seconds=1)  # the gateway's own time limit is not longer
_QUERY: Final = "timeline"


class WorkflowTimelines:
    """The timelines of the workflows in one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def timeline(self, order_id: UUID) -> Mapping[str, Any] | None:
        """The timeline of the order's latest run, open or closed; None if it has no workflow.

        A worker answers. It reads the history first if the workflow is not in its memory. Raises TemporalUnavailable.
        """
        handle = self._client.get_workflow_handle(workflow_id(order_id))
        with translated():
            try:
                found: Mapping[str, Any] = await handle.query(_QUERY, result_type=dict[str, Any], rpc_timeout=_CALL)
            except WorkflowQueryFailedError as error:
                raise TemporalUnavailable(f"The workflow of order {order_id} cannot tell: {error}") from error
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return None
                raise
            return found
