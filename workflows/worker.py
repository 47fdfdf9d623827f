"""Run the workflows: connect to Temporal, register what can be searched by, and work until told to stop."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

import structlog
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from workflows import search_attributes
from workflows.connection import connect_now
from workflows.naming import SAGA_TASK_QUEUE
from workflows.order_saga import OrderSaga
from workflows.saga_mirror import SagaMirror

log = structlog.get_logger()

# Every workflow the saga worker runs.
WORKFLOWS: Final[tuple[type[Any], ...]] = (SagaMirror, OrderSaga)

_FIRST_PAUSE: Final = 0.2  # seconds
_LONGEST_PAUSE: Final = 5.0  # seconds
_CALL: Final = timedelta(seconds=5)
_USABLE_WITHIN: Final = 30.0  # seconds
# Pure, so every workflow may share one copy: importing them anew for each would cost more than running it.
_SHARED: Final = (
    "msgspec",
    "models",
    "activities.steps",
    "workflows.mirror_record",
    "workflows.naming",
    "workflows.saga_input",
    "workflows.saga_steps",
    "workflows.search_attributes",
    "workflows.story",
    "workflows.summaries",
    "workflows.timeline",
)


def runner() -> SandboxedWorkflowRunner:
    """The sandbox that workflows run in, here and when their histories are replayed."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*_SHARED))


def saga_worker(client: Client) -> Worker:
    """A worker for all workflows; it holds a bounded number of them in memory."""
    return Worker(
        client,
        task_queue=SAGA_TASK_QUEUE,
        workflows=WORKFLOWS,
        workflow_runner=runner(),
        max_cached_workflows=1000,
        max_concurrent_workflow_tasks=100,
        graceful_shutdown_timeout=timedelta(seconds=5),
    )


async def register(client: Client) -> None:
    """Register the search attributes that Temporal doesn't know yet; on return all can be used.

    Raises RPCError, or RuntimeError while Temporal has never been reached; TimeoutError if they don't become usable.
    """
    operator, namespace = client.operator_service, client.namespace
    listed = await operator.list_search_attributes(ListSearchAttributesRequest(namespace=namespace), timeout=_CALL)
    missing = {
        key.name: IndexedValueType.ValueType(int(key.indexed_value_type))
        for key in search_attributes.ALL
        if key.name not in listed.custom_attributes
    }
    if missing:
        request = AddSearchAttributesRequest(namespace=namespace, search_attributes=missing)
        await operator.add_search_attributes(request, timeout=_CALL)
        log.info("search_attributes_registered", names=sorted(missing))
        await _usable(client)


async def _usable(client: Client) -> None:
    """Wait until Temporal's caches know the attributes, too."""
    query = " AND ".join(f"{key.name} IS NULL" for key in search_attributes.ALL)
    async with asyncio.timeout(_USABLE_WITHIN):
        while True:
            try:
                await client.count_workflows(query, rpc_timeout=_CALL)
            except RPCError as error:
                log.debug("search_attributes_not_usable_yet", error=str(error))
            else:
                return
            await asyncio.sleep(0.1)


async def run(client: Client) -> None:
    """Work until cancelled: wait for Temporal as often and as long as it is away."""
    pause = _FIRST_PAUSE
    while True:
        try:
            connected = await connect_now(client)
            await register(connected)
            log.info("temporal_connected")
            pause = _FIRST_PAUSE
            await saga_worker(connected).run()
        except (RPCError, RuntimeError, OSError) as error:
            log.warning("temporal_unavailable", error=str(error), retry_in=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
