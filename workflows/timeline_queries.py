"""Ask workflows for their timelines, by name: whichever coordinator an order has, its workflow answers alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from workflows.naming import workflow_id
from workflows.temporal_errors import TemporalUnavailable, translated

_CALL: Final = timedelta(seconds=1)  # the gateway's own limit is no longer
_QUERY: Final = "timeline"


class WorkflowTimelines:
    """The timelines in one namespace of Temporal."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def timeline(self, order_id: UUID) -> Mapping[str, Any] | None:
        """What the order's latest run tells, ended or not; None if it has no workflow. Raises TemporalUnavailable.

        A worker answers, and for a workflow that it has not in memory it reads the history first.
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
