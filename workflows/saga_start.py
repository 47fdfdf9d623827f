"""Start the workflows of orchestrated sagas; nothing here runs them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final

import structlog
from temporalio.client import Client
from temporalio.common import TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from models.saga import Coordinator
from workflows import search_attributes
from workflows.naming import ORDER_TASK_QUEUE, workflow_id
from workflows.saga_input import ORDER_SAGA, NewOrder, SagaInput
from workflows.story import headline
from workflows.temporal_errors import RequestNotTaken, translated

log = structlog.get_logger()

TRACE_CONTEXT: Final = "traceparent"  # in a workflow's memo: Temporal tells nobody a workflow's headers
CALL: Final = timedelta(seconds=1.5)  # the gateway's own time limit is not longer


async def start_saga(client: Client, saga: SagaInput, *, traceparent: str | None, beside: bool = False) -> None:
    """Start the saga of a new order; on return the start is durable. A saga that exists already stays as it is.

    `beside`: a worker for sagas runs in this process, with this client. Temporal then hands it the saga's first task in
    its answer. Raises TemporalUnavailable, and ValueError for a saga without its order.
    """
    if (order := saga.order) is None:
        raise ValueError("a saga begins with its order")
    facts = search_attributes.of_new_order(order.user_id, order.total, Coordinator.ORCHESTRATION)
    with translated(), suppress(WorkflowAlreadyStartedError):
        try:
            await _start(client, saga, order, facts, traceparent, beside)
        except RPCError as error:
            if error.status is not RPCStatusCode.INVALID_ARGUMENT:
                raise
            # The search attributes are not registered yet, or Temporal's store was wiped. Start without them.
            await _start(client, saga, order, TypedSearchAttributes([]), traceparent, beside)


async def _start(
    client: Client,
    saga: SagaInput,
    order: NewOrder,
    facts: TypedSearchAttributes,
    traceparent: str | None,
    beside: bool,
) -> None:
    told = {"total": order.total, "currency": order.currency, "userId": order.user_id}
    await client.start_workflow(
        ORDER_SAGA,
        saga,
        id=workflow_id(saga.order_id),
        task_queue=ORDER_TASK_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        static_summary=headline(told, saga.order_id),
        search_attributes=facts,
        memo=memo(traceparent),
        rpc_timeout=CALL,
        request_eager_start=beside,
    )


def memo(traceparent: str | None) -> dict[str, str] | None:
    """The trace context, for a later run of the same saga."""
    return None if traceparent is None else {TRACE_CONTEXT: traceparent}


class StartsBeside:
    """Starts sagas in a process that works on them. `beside` gives the client of its worker while that runs."""

    def __init__(self, beside: Callable[[], Client | None]) -> None:
        self._beside = beside

    async def start(self, saga: SagaInput, *, traceparent: str | None) -> bool:
        """Start the saga. Returns False if it has certainly not been started. Raises TemporalUnavailable."""
        client = self._beside()
        if client is None:
            return False
        try:
            await start_saga(client, saga, traceparent=traceparent, beside=True)
        except RequestNotTaken as error:
            log.warning("saga_not_started", order_id=saga.order_id, error=str(error))
            return False
        return True
