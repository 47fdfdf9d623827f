"""Run the orchestrated sagas that were begun on the task queue `sagas`. All their steps are remote."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from models.lifecycle import OrderStatus
    from models.message_types import EventType
    from models.saga import CancelReason
    from models.times import wire_time
    from workflows.display import upsert_attributes
    from workflows.order_saga import OVERDUE, OrderSaga
    from workflows.saga_input import SagaInput


@workflow.defn(name="OrderSaga")
class RemoteOrderSaga(OrderSaga):
    """OrderSaga as it was before the order service ran it. No gateway begins one any more.

    The tests keep its histories. It can be removed when no run is left on the task queue `sagas`.
    """

    _local = None

    def __init__(self) -> None:
        super().__init__()
        self._timer: asyncio.Task[None] | None = None

    @workflow.run
    async def run(self, *given: Any) -> str | None:
        """Run the saga as OrderSaga does."""
        return await super().run(*given)

    async def _go_forward(self, saga: SagaInput) -> None:
        created = await self._created(saga)
        if self._timeline.order_status is OrderStatus.PENDING_PAYMENT:
            self._timer = asyncio.create_task(self._time_out(created.occurred_at))
        if not self._requests:
            await self._charge_and_settle(created)

    async def _time_out(self, created_at: datetime) -> None:
        deadline = created_at + timedelta(seconds=self._saga.payment_timeout)
        self._waiting_for = f"the payment, until {wire_time(deadline)}; then the order is cancelled"
        self._show()
        # The deadline counts from the order's creation, so an outage doesn't extend it.
        await workflow.sleep(max(timedelta(0), deadline - workflow.now()), summary=OVERDUE)
        self._ask_for_undoing(CancelReason.PAYMENT_TIMEOUT)

    def _ended(self, forward: asyncio.Task[None]) -> bool:
        if not super()._ended(forward):
            return False
        # If the saga can't go forward, its timer or a user cancels it.
        stuck = forward.exception() is not None and self._last(EventType.ORDER_CREATED) is not None
        return not stuck or self._timeline.order_status is not OrderStatus.PENDING_PAYMENT

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super()._rest()

    def _show(self) -> None:
        super()._show()
        upsert_attributes(self._timeline, self._events.values(), alarm=self._alarm)
