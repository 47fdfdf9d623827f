"""Compare the timelines of workflows with the event logs of both services."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from audit.checks import ORDERS_STORED, TIMELINES_CLOSED, TIMELINES_EQUAL, TIMELINES_EXIST
from audit.database_audit import Scope
from audit.findings import AuditReport, Finding
from audit.snapshot import NotRead, Snapshot
from audit.statements import UNTIL
from audit.timeline_difference import RemovedUntil, difference_of
from models.event_log import ENVELOPE_COLUMNS, EVENT_COLUMNS, logged_envelope
from models.lifecycle import PaymentStatus
from models.message_types import EventType
from models.messages import Envelope
from models.saga import Coordinator
from workflows.naming import workflow_id
from workflows.saga_input import ORDER_SAGA
from workflows.search_attributes import ORDER_STATUS
from workflows.temporal_client import Protection, connect
from workflows.temporal_errors import TemporalUnavailable
from workflows.timeline import Timeline, build, timeline_as_json
from workflows.timeline_queries import WorkflowTimelines

_AT_ONCE: Final = 16
_PAGE: Final = 200  # sagas
_TRIES: Final = 5
_CALL: Final = timedelta(seconds=5)
_SETTLED: Final = """
    FROM orders WHERE status <> 'PENDING_PAYMENT' AND updated_at <= now() - make_interval(secs => %(grace)s)
      AND updated_at > %(since)s"""
_SAMPLE: Final = f"SELECT id {_SETTLED} ORDER BY random() LIMIT %(sample)s"
_ALL: Final = f"SELECT id {_SETTLED} AND id > %(after)s ORDER BY id LIMIT {_PAGE}"
_EVENTS: Final = f"SELECT e.order_id, {EVENT_COLUMNS} FROM event_log e WHERE e.order_id = ANY(%(ids)s) ORDER BY e.seq"
_KNOWN: Final = "SELECT id FROM orders WHERE id = ANY(%(ids)s)"


@dataclass(frozen=True, kw_only=True)
class TimelineAudit:
    """Asks Temporal about sagas that ended at least `scope.grace` ago: a random `sample` of them; None: all.

    A worker must run, because it answers. Sagas are left out if Temporal has deleted their closed workflows by now.
    """

    orders: Snapshot
    payments: Snapshot
    address: str
    namespace: str
    protection: Protection | None
    scope: Scope
    sample: int | None
    report: AuditReport

    async def run(self) -> None:
        """Make the checks. Raises NotRead if Temporal, or the worker that answers for workflows, doesn't answer."""
        try:
            client = await connect(self.address, self.namespace, self.protection, lazy=False)
            kept = await _kept(client)
            for order_ids in self._pages(datetime.now(UTC) - kept):
                await self._check(client, order_ids)
            if self.sample is None:
                await self._check_accepted(client)
        except (RPCError, RuntimeError, OSError, ValueError) as error:
            raise NotRead("timelines", f"Temporal at {self.address} does not answer: {error}") from error
        except TemporalUnavailable as error:
            raise NotRead("timelines", f"{error}; is the worker running?") from error

    def _pages(self, since: datetime) -> Iterator[Sequence[UUID]]:
        parameters: dict[str, Any] = {"grace": self.scope.grace, "since": since, "after": UUID(int=0)}
        if self.sample is not None:
            found = [row[0] for row in self.orders.all(_SAMPLE, {**parameters, "sample": self.sample})]
            yield from (found[at : at + _PAGE] for at in range(0, len(found), _PAGE))
            return
        while found := [row[0] for row in self.orders.all(_ALL, parameters)]:
            yield found
            parameters["after"] = found[-1]

    async def _check(self, client: Client, order_ids: Sequence[UUID]) -> None:
        """Check these orders. What is wrong is checked again after a moment, because a mirror lags behind the logs."""
        started = time.monotonic()
        suspects = await self._wrong(client, order_ids)
        if suspects:
            await asyncio.sleep(max(0.0, started + self.scope.pause - time.monotonic()))
            again = await self._wrong(client, [UUID(order_id) for order_id in suspects])
            for order_id, finding in again.items():
                if finding.check == suspects[order_id].check:
                    self.report.add(finding, keep=self.scope.keep)
        self.report.count("timelines", len(order_ids))

    async def _wrong(self, client: Client, order_ids: Sequence[UUID]) -> Mapping[str, Finding]:
        logged: dict[UUID, list[Envelope]] = {order_id: [] for order_id in order_ids}
        names = ("order_id", *ENVELOPE_COLUMNS)
        for reader in (self.orders, self.payments):
            for row in reader.all(_EVENTS, {"ids": list(order_ids)}):
                logged[row[0]].append(logged_envelope(dict(zip(names, row, strict=True))))
        # Read this after the events: retention has noted by now what it had removed by then.
        removed = RemovedUntil(orders=self.orders.all(UNTIL, {})[0][0], payments=self.payments.all(UNTIL, {})[0][0])
        slots, left_out = asyncio.Semaphore(_AT_ONCE), self.scope.mirror_after > 0
        expected = [build(events) for events in logged.values()]
        found = await asyncio.gather(
            *(
                _compared(client, slots, *each, removed, left_out=left_out)
                for each in zip(logged, expected, strict=True)
            )
        )
        return {finding.id: finding for finding in found if finding is not None}

    async def _check_accepted(self, client: Client) -> None:
        """Report workflows whose order is not stored.

        The start of an orchestrated saga accepts its order, and a mirror has heard that its order was stored. So both
        orders must exist. They are missing if a database was restored to an earlier time.
        """
        before = (datetime.now(UTC) - timedelta(seconds=self.scope.grace)).isoformat()
        heard_of = f"WorkflowType = 'SagaMirror' AND {ORDER_STATUS.name} IS NOT NULL"
        query = f"(WorkflowType = '{ORDER_SAGA}' OR ({heard_of})) AND StartTime < '{before}'"
        async for order_ids in _paged(client, query):
            known = {row[0] for row in self.orders.all(_KNOWN, {"ids": order_ids})}
            for order_id in order_ids:
                if order_id not in known:
                    detail = "its saga has a workflow, yet the order service has no such order"
                    finding = Finding(check=ORDERS_STORED, id=str(order_id), detail=detail)
                    self.report.add(finding, keep=self.scope.keep)


async def _kept(client: Client) -> timedelta:
    """The time for which Temporal keeps a closed workflow."""
    request = DescribeNamespaceRequest(namespace=client.namespace)
    described = await client.workflow_service.describe_namespace(request, timeout=_CALL)
    return described.config.workflow_execution_retention_ttl.ToTimedelta()


async def _paged(client: Client, query: str) -> AsyncIterator[list[UUID]]:
    page: list[UUID] = []
    async for found in client.list_workflows(query, rpc_timeout=_CALL):
        with suppress(ValueError):  # started by hand under another id: it was refused, and accepted nothing
            page.append(UUID(found.id.removeprefix(workflow_id(""))))
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


async def _compared(
    client: Client,
    slots: asyncio.Semaphore,
    order_id: UUID,
    logged: Timeline,
    removed: RemovedUntil,
    *,
    left_out: bool,
) -> Finding | None:
    """What is wrong with the order's workflow, compared with a timeline made of the event logs.

    `left_out` says that sagas that were soon over have no mirror.
    """
    async with slots:
        try:
            found = await client.get_workflow_handle(workflow_id(order_id)).describe(rpc_timeout=_CALL)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            if not logged.entries or (left_out and _watches_nothing(logged)):
                return None  # what has no events was taken over, or else another check tells of it
            detail = f"Temporal has no workflow {workflow_id(order_id)}"
            return Finding(check=TIMELINES_EXIST, id=str(order_id), detail=detail)
        told = await _told_by_workflow(client, order_id)
    difference = difference_of(told, msgspec.to_builtins(timeline_as_json(logged)), removed)
    if difference is not None:
        return Finding(check=TIMELINES_EQUAL, id=str(order_id), detail=difference)
    # If the log's first events were removed, the workflow may wait for them.
    begun = any(entry.event_type is EventType.ORDER_CREATED for entry in logged.entries)
    if logged.over and begun and found.status is WorkflowExecutionStatus.RUNNING:
        detail = f"the saga is over, its workflow {found.run_id} is still open"
        return Finding(check=TIMELINES_CLOSED, id=str(order_id), detail=detail)
    return None


async def _told_by_workflow(client: Client, order_id: UUID) -> Mapping[str, Any]:
    """The workflow's own timeline. The query is repeated, because a busy worker may need more than its one second."""
    for left in reversed(range(_TRIES)):
        try:
            return await WorkflowTimelines(client).timeline(order_id) or {}
        except TemporalUnavailable:
            if not left:
                raise
    raise AssertionError("unreachable")


def _watches_nothing(logged: Timeline) -> bool:
    """Whether the saga may have ended before its mirror was due. A mirror watches a cancelled payment for a while."""
    choreographed = logged.coordinator is Coordinator.CHOREOGRAPHY
    return choreographed and logged.over and logged.payment_status is not PaymentStatus.CANCELLED
