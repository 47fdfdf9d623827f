"""What Temporal tells of sagas: whether it knows of them all that happened, and how long their histories are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from temporalio.client import Client, WorkflowExecution

from bench.facts import End
from workflows.naming import workflow_id
from workflows.search_attributes import ORDER_STATUS, PAYMENT_STATUS

_POLL: Final = 0.25  # seconds
_ENDED: Final = f"{ORDER_STATUS.name} IN ('PAID', 'CANCELLED', 'FAILED') AND {PAYMENT_STATUS.name} != 'PROCESSING'"


class Told:
    """The workflows of sagas, as Temporal's visibility store lists them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def caught_up(self, ends: Mapping[UUID, End], since: float, *, within: float) -> float | None:
        """Seconds until the workflow of each saga tells how it ended, for sagas begun after `since` (epoch seconds).

        None if that takes more than `within` seconds. A mirror follows its saga; an orchestrated saga is its workflow,
        but a cancellation may be told to a run of its own, or, with Temporal overloaded, to the order service alone:
        give only those that nobody cancelled.
        """
        began = time.monotonic()
        wanted = {workflow_id(order_id): (end.order, end.payment) for order_id, end in ends.items()}
        while time.monotonic() - began < within:
            # Counting is cheap; to list all of them often would be a load of its own.
            if (await self._client.count_workflows(f"{_since(since)} AND {_ENDED}")).count >= len(wanted):
                told = {run.id: _statuses(run) for run in await self._runs(since)}
                if wanted.items() <= told.items():
                    return time.monotonic() - began
            await asyncio.sleep(_POLL)
        return None

    async def history_events(self, ends: Mapping[UUID, End], since: float) -> float:
        """The average number of events in the histories of a saga's workflows."""
        ids = {workflow_id(order_id) for order_id in ends}
        total = 0
        for run in await self._runs(since):
            if run.id in ids:
                total += run.history_length if run.close_time else await self._length(run)
        return total / len(ids)

    async def _length(self, run: WorkflowExecution) -> int:
        # The visibility store doesn't say how long a history is that still grows.
        return (await self._client.get_workflow_handle(run.id, run_id=run.run_id).describe()).history_length

    async def _runs(self, since: float) -> list[WorkflowExecution]:
        return [run async for run in self._client.list_workflows(_since(since), page_size=1000)]


def _since(since: float) -> str:
    return f"StartTime >= '{datetime.fromtimestamp(since, UTC).isoformat()}'"


def _statuses(run: WorkflowExecution) -> tuple[str | None, str | None]:
    attributes = run.typed_search_attributes
    return attributes.get(ORDER_STATUS), attributes.get(PAYMENT_STATUS)
