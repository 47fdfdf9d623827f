"""A workflow that does next to nothing: what it costs is what Temporal costs by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import activity, workflow

PLAIN_TASK_QUEUE: Final = "bench-plain"

_ACTIVITY_WITHIN: Final = timedelta(seconds=60)


@activity.defn
async def create_order(order_id: str) -> str:
    """The first of three steps that do nothing but answer."""
    return order_id


@activity.defn
async def charge_payment(order_id: str) -> str:
    """The second."""
    return order_id


@activity.defn
async def settle_order(order_id: str) -> str:
    """The third."""
    return order_id


@workflow.defn
class PlainSaga:
    """Three activities one after another, as the first page of any guide has it."""

    @workflow.run
    async def run(self, order_id: str) -> str:
        for step in (create_order, charge_payment, settle_order):
            await workflow.execute_activity(step, order_id, start_to_close_timeout=_ACTIVITY_WITHIN)
        return order_id
