"""Workflows that do next to nothing: what they cost is what Temporal costs by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import activity, workflow

PLAIN_TASK_QUEUE: Final = "bench-plain"
SIGNALLED_TASK_QUEUE: Final = "bench-signalled"
UNPOLLED_TASK_QUEUE: Final = "bench-unpolled"  # nobody works for it

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


@workflow.defn
class Signalled:
    """Closes with its first signal: the least that a workflow which is told of something can do."""

    def __init__(self) -> None:
        self._told = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._told)

    @workflow.signal
    def record(self, _events: list[dict[str, str]]) -> None:
        self._told = True
