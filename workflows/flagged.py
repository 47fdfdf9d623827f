"""Count the sagas that wait for an operator."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import activity
from temporalio.client import Client

from workflows.search_attributes import NEEDS_OPERATOR

_FLAGGED: Final = f"{NEEDS_OPERATOR.name} = true AND ExecutionStatus IN ('Running', 'Failed')"
_CALL: Final = timedelta(seconds=5)


class Flagged:
    """An activity that asks Temporal itself."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn
    async def count_flagged(self) -> int:
        """The number of sagas, open or failed, that are flagged for an operator. Raises RPCError."""
        return (await self._client.count_workflows(_FLAGGED, rpc_timeout=_CALL)).count
