"""Start and cancel orchestrated sagas in Temporal, by name; the gateway doesn't run them."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import UUID

from temporalio.client import Client, ScheduleOverlapPolicy
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from api.gateway.saga_starts import OrderServiceStarts
from api.telemetry import HttpTraces
from models.saga import CreateOrderRequested
from workflows.naming import ORDER_TASK_QUEUE, RECONCILER_ID, workflow_id
from workflows.saga_input import CANCEL, ORDER_SAGA, CancelRequest, NewOrder, SagaInput
from workflows.saga_start import CALL, TRACE_CONTEXT, memo, start_saga
from workflows.temporal_errors import translated

_GLANCE: Final = timedelta(seconds=0.5)


class Orchestration:
    """The sagas in one Temporal namespace. `payment_timeout` and `retry_delays` are in seconds.

    New sagas are started `there`, where they are worked on, or else by this client.
    """

    def __init__(
        self,
        client: Client,
        *,
        payment_timeout: float,
        retry_delays: tuple[float, ...],
        there: OrderServiceStarts | None = None,
        traces: HttpTraces | None = None,
    ) -> None:
        self._client = client
        self._there = there
        self._traces = traces
        self._payment_timeout = payment_timeout
        self._retry_delays = list(retry_delays)

    async def start(self, command: CreateOrderRequested, *, event_id: UUID, correlation_id: str) -> None:
        """Start the saga of a new order. Raises TemporalUnavailable."""
        order = NewOrder(
            user_id=str(command.user_id),
            total=command.total,
            currency=command.currency,
            payment_method=command.payment_method,
            event_id=str(event_id),
        )
        saga, trace = self._input(command.order_id, correlation_id, order), self._trace()
        directly = partial(start_saga, self._client, saga, traceparent=trace)
        if self._there is None:
            await directly()
        else:
            await self._there.start(saga, traceparent=trace, directly=directly)

    async def cancel(self, order_id: UUID, *, correlation_id: str) -> None:
        """Signal the saga. If it has ended, start another run that goes on from there. Raises TemporalUnavailable."""
        with await self._saga_trace(order_id), translated():
            await self._client.start_workflow(
                ORDER_SAGA,
                self._input(order_id, correlation_id, None),
                id=workflow_id(order_id),
                task_queue=ORDER_TASK_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                start_signal=CANCEL,
                start_signal_args=[CancelRequest(correlation_id=correlation_id)],
                static_summary=f"Cancellation of order {order_id}",
                memo=memo(self._trace()),
                rpc_timeout=CALL,
            )

    async def reconcile(self) -> None:
        """Have a sweep of the reconciler begin, at the latest after the one under way. Raises TemporalUnavailable."""
        handle = self._client.get_schedule_handle(RECONCILER_ID)
        with translated():
            # The client's own time limit leaves out the seconds in which it connects.
            async with asyncio.timeout(CALL.total_seconds()):
                await handle.trigger(overlap=ScheduleOverlapPolicy.BUFFER_ONE, rpc_timeout=CALL)

    async def orchestrates(self, order_id: UUID) -> bool:
        """Whether the order has an orchestrated saga, ended or not. Raises TemporalUnavailable."""
        with translated():
            try:
                found = await self._client.get_workflow_handle(workflow_id(order_id)).describe(rpc_timeout=CALL)
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return False
                raise
            return found.workflow_type == ORDER_SAGA

    def _trace(self) -> str | None:
        return None if self._traces is None else self._traces.current()

    async def _saga_trace(self, order_id: UUID) -> AbstractContextManager[None]:
        """The saga's trace, in which to cancel it. If Temporal does not tell it, it is the request's own."""
        if self._traces is None:
            return nullcontext()
        try:
            found = await self._client.get_workflow_handle(workflow_id(order_id)).describe(rpc_timeout=_GLANCE)
            known = (await found.memo()).get(TRACE_CONTEXT)
        except (RPCError, RuntimeError):
            return nullcontext()
        return self._traces.joining(known, CANCEL) if isinstance(known, str) else nullcontext()

    def _input(self, order_id: UUID, correlation_id: str, order: NewOrder | None) -> SagaInput:
        return SagaInput(
            order_id=str(order_id),
            correlation_id=correlation_id,
            order=order,
            payment_timeout=self._payment_timeout,
            retry_delays=self._retry_delays,
        )
