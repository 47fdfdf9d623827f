"""Make the workers that run the workflows, and register the search attributes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, TypeAlias

import structlog
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from workflows import search_attributes
from workflows.arguments import DATA_CONVERTER
from workflows.flagged import Flagged
from workflows.naming import MIRROR_TASK_QUEUE, ORDER_TASK_QUEUE, SAGA_TASK_QUEUE
from workflows.order_saga import OrderSaga
from workflows.reconciler import Reconciler
from workflows.remote_order_saga import RemoteOrderSaga
from workflows.saga_mirror import SagaMirror
from workflows.serving import Serving

log = structlog.get_logger()

# By task queue. `sagas` has the sweeps, and sagas that were begun before they and mirrors had queues of their own.
WORKFLOWS: Final[Mapping[str, tuple[type[Any], ...]]] = {
    ORDER_TASK_QUEUE: (OrderSaga,),
    MIRROR_TASK_QUEUE: (SagaMirror,),
    SAGA_TASK_QUEUE: (Reconciler, RemoteOrderSaga, SagaMirror),
}

Prepare: TypeAlias = Callable[[Client], Awaitable[None]]  # prepares Temporal for the workflows

_CALL: Final = timedelta(seconds=5)
_USABLE_WITHIN: Final = 30.0  # seconds
_PREPARED_EVERY: Final = 30.0  # seconds
# These modules are pure, so all workflows can share one copy. Importing them for each workflow would be expensive.
_SHARED: Final = (
    "msgspec",
    "models",
    "activities.steps",
    "activities.stragglers",
    "workflows.arguments",
    "workflows.display",
    "workflows.failures",
    "workflows.mirror_record",
    "workflows.mirror_watch",
    "workflows.naming",
    "workflows.retries",
    "workflows.saga_input",
    "workflows.saga_steps",
    "workflows.search_attributes",
    "workflows.step_runs",
    "workflows.story",
    "workflows.summaries",
    "workflows.sweep",
    "workflows.timeline",
)


def runner() -> SandboxedWorkflowRunner:
    """The sandbox in which tests run workflows and replay histories. It detects what is not deterministic."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*_SHARED))


def saga_worker(client: Client, *, sandboxed: bool = True) -> Worker:
    """A worker for sweeps, and for sagas and mirrors that were begun before they had queues of their own."""
    return _worker(client, SAGA_TASK_QUEUE, sandboxed, activities=[Flagged(client).count_flagged])


def mirror_worker(client: Client, *, sandboxed: bool = True) -> Worker:
    """A worker for the mirrors. They have their own, because there are many and they must not delay the sagas."""
    return _worker(client, MIRROR_TASK_QUEUE, sandboxed)


def order_worker(
    client: Client, steps: Sequence[Callable[..., Any]], *, limit: int, grace: float, sandboxed: bool = True
) -> Worker:
    """A worker of the order service for orchestrated sagas. `steps` are local for them, and remote for others.

    At most `limit` remote steps run at once. All steps have `grace` seconds to finish when the process stops.
    """
    return _worker(client, ORDER_TASK_QUEUE, sandboxed, activities=steps, limit=limit, grace=grace)


def reading_anything(client: Client) -> Client:
    """The same client for a worker, with a converter that can decode any argument."""
    config = client.config()
    config["data_converter"] = DATA_CONVERTER
    return Client(**config)


def _worker(
    client: Client,
    task_queue: str,
    sandboxed: bool,
    *,
    activities: Sequence[Callable[..., Any]] = (),
    limit: int | None = None,
    grace: float = 5.0,
) -> Worker:
    """A worker that holds a bounded number of workflows in memory."""
    return Worker(
        reading_anything(client),
        task_queue=task_queue,
        workflows=WORKFLOWS[task_queue],
        activities=activities,
        workflow_runner=runner() if sandboxed else UnsandboxedWorkflowRunner(),
        max_cached_workflows=1000,
        max_concurrent_workflow_tasks=100,
        max_concurrent_activities=limit,
        # A workflow waits this long for the worker that has it in memory; then any worker may take it.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        graceful_shutdown_timeout=timedelta(seconds=grace),
    )


async def register(client: Client) -> None:
    """Register the search attributes that Temporal doesn't know yet. On return all of them can be used.

    Raises RPCError, RuntimeError while Temporal has never been reached, or TimeoutError if they don't become usable.
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
    """Wait until Temporal's caches have the attributes, too."""
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


def serving(client: Client, prepare: Prepare = register) -> Serving:
    """Run sweeps, and sagas that were begun here earlier, whenever Temporal is there and prepared."""

    async def prepared_worker(connected: Client) -> Worker:
        await prepare(connected)
        return saga_worker(connected, sandboxed=False)

    return Serving(client, prepared_worker, task_queue=SAGA_TASK_QUEUE)


def serving_sagas(client: Client, steps: Sequence[Callable[..., Any]], *, limit: int, grace: float) -> Serving:
    """Run orchestrated sagas, with the order service's steps, whenever Temporal is there."""

    async def new_worker(connected: Client) -> Worker:
        return order_worker(connected, steps, limit=limit, grace=grace, sandboxed=False)

    return Serving(client, new_worker, task_queue=ORDER_TASK_QUEUE)


def serving_mirrors(client: Client) -> Serving:
    """Run mirrors whenever Temporal is there."""

    async def new_worker(connected: Client) -> Worker:
        # The sandbox would double a mirror's cost in this process. The tests run mirrors in it.
        return mirror_worker(connected, sandboxed=False)

    return Serving(client, new_worker, task_queue=MIRROR_TASK_QUEUE)


async def keep_prepared(client: Client, prepare: Prepare) -> None:
    """Prepare Temporal again every half minute, because nobody reports that its store was wiped."""
    while True:
        await asyncio.sleep(_PREPARED_EVERY)
        try:
            await prepare(client)
        except (RPCError, RuntimeError, OSError) as error:
            log.info("temporal_not_prepared", error=str(error))
