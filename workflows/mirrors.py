"""Tell mirrors of events: open a mirror, or signal the open one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import structlog
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from models.message_types import EventType, known_type
from models.originals import NO_ORIGINALS, Originals
from workflows import search_attributes
from workflows.mirror_record import MirrorRecord, MirrorState
from workflows.naming import MIRROR_TASK_QUEUE, workflow_id
from workflows.saga_mirror import REPUBLISH_ATTEMPTS, SagaMirror
from workflows.story import headline

log = structlog.get_logger()

_CALL: Final = timedelta(seconds=10)
# A mirror that has tried everything, and still misses something after this long, ends as timed out. An event that comes
# later opens a new one.
_LONGEST_WAIT: Final = timedelta(days=30)


class SagaMirrors:
    """The mirrors of one Temporal namespace. Timeouts are in seconds; a mirror keeps those with which it was opened.

    `beside` gives the client of the worker in this process while it runs. A mirror that is started through that client
    begins at once. With `late`, a saga's first events don't come this way, so its mirror reads them in the event logs.
    """

    def __init__(
        self,
        client: Client,
        *,
        payment_timeout: float,
        compensation_timeout: float,
        beside: Callable[[], Client | None] = lambda: None,
        originals: Originals = NO_ORIGINALS,
        late: bool = False,
    ) -> None:
        self._client = client
        self._beside = beside
        self._fresh = MirrorState(
            payment_timeout=payment_timeout,
            compensation_timeout=compensation_timeout,
            originals=sorted(originals),
            late=late,
        )

    @property
    def _longest_watch(self) -> timedelta:
        """Until the payment is given up, and then until the last attempt to have it compensated is, too."""
        compensation = self._fresh.compensation_timeout * 2 ** (REPUBLISH_ATTEMPTS + 1)
        return timedelta(seconds=self._fresh.payment_timeout + compensation)

    async def record(self, order_id: str, events: Sequence[dict[str, Any]]) -> None:
        """Record events in wire form in the order's mirror. On return Temporal has them, whatever crashes then.

        A closed mirror stays closed unless one of the events is new to it. An orchestrated saga never gets a mirror.
        Raises RPCError, or RuntimeError while Temporal has never been reached.
        """
        if await self._begun_beside(order_id, events):
            return
        try:
            await self._tell(order_id, self._fresh, events, WorkflowIDReusePolicy.REJECT_DUPLICATE)
        except WorkflowAlreadyStartedError:
            found = await self._client.get_workflow_handle(workflow_id(order_id)).describe(rpc_timeout=_CALL)
            if found.workflow_type != SagaMirror.__name__:
                # Our own events of this saga are marked as orchestrated. A stranger has sent these.
                log.info("orchestrated_saga_has_no_mirror", order_id=order_id, events=len(events))
            elif found.status is WorkflowExecutionStatus.COMPLETED:
                await self._tell_closed(order_id, found.run_id, events)
            else:  # it failed or was terminated, so its result doesn't say what it has seen
                await self._tell(order_id, self._fresh, events, WorkflowIDReusePolicy.ALLOW_DUPLICATE)

    async def _tell_closed(self, order_id: str, run_id: str | None, events: Sequence[dict[str, Any]]) -> None:
        """Open a second run only for events that the first has not seen, such as the cancellation of a paid order."""
        handle: WorkflowHandle[SagaMirror, MirrorState] = self._client.get_workflow_handle(
            workflow_id(order_id), run_id=run_id, result_type=MirrorState
        )
        closed = await asyncio.wait_for(handle.result(), _CALL.total_seconds())
        seen = {event["eventId"] for event in closed.events}
        readable = MirrorRecord(events, order_id=order_id).wire
        news = [event for event in readable if event["eventId"] not in seen and known_type(event["eventType"])]
        if not news:
            log.info("mirror_closed_already", order_id=order_id, events=len(events))
            return
        continued = replace(self._fresh, events=closed.events, unknown=closed.unknown, cancel_asked=closed.cancel_asked)
        await self._tell(order_id, continued, news, WorkflowIDReusePolicy.ALLOW_DUPLICATE)

    async def _begun_beside(self, order_id: str, events: Sequence[dict[str, Any]]) -> bool:
        """Open the order's mirror with these events, if they begin its story and it has no mirror yet. Returns if so.

        For Temporal this is half the work of a signal-with-start: the answer brings the worker its first task.
        """
        worker = self._beside()
        if worker is None or all(event.get("eventType") != EventType.ORDER_CREATED for event in events):
            return False
        state = replace(self._fresh, events=list(events))
        try:
            await worker.start_workflow(
                SagaMirror.run,
                state,
                **self._options(order_id, MirrorRecord(events, originals=state.originals)),
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                request_eager_start=True,
            )
        except WorkflowAlreadyStartedError:
            return False
        return True

    async def _tell(
        self, order_id: str, state: MirrorState, events: Sequence[dict[str, Any]], reuse: WorkflowIDReusePolicy
    ) -> None:
        await self._client.start_workflow(
            SagaMirror.run,
            state,
            **self._options(order_id, MirrorRecord([*state.events, *events], originals=state.originals)),
            id_reuse_policy=reuse,
            start_signal="record",
            start_signal_args=[list(events)],
        )

    def _options(self, order_id: str, known: MirrorRecord) -> dict[str, Any]:
        created = known.last(EventType.ORDER_CREATED)
        return {
            "id": workflow_id(order_id),
            "task_queue": MIRROR_TASK_QUEUE,
            "execution_timeout": _LONGEST_WAIT + self._longest_watch,
            "static_summary": headline(created.payload if created else None, order_id),
            # Given at the start, so that a mirror that gets all its events at once has nothing to upsert.
            "search_attributes": search_attributes.attributes(known.timeline, known.envelopes),
            "rpc_timeout": _CALL,
        }
