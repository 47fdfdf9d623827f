"""Tell mirrors of events: open one, or reach the one that is open; a single call, but for a story that was begun."""

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
from workflows.saga_mirror import SagaMirror
from workflows.story import headline

log = structlog.get_logger()

_CALL: Final = timedelta(seconds=10)
# A mirror that still misses something after this long ends as timed out; an event that comes later opens a new one.
_LONGEST_LIFE: Final = timedelta(days=30)


class SagaMirrors:
    """The mirrors of one Temporal namespace; timeouts are in seconds, those of a mirror's beginning hold to its end.

    `beside` is the client of the worker in this process while there is one: what is started through it begins at once.
    """

    def __init__(
        self,
        client: Client,
        *,
        payment_timeout: float,
        compensation_timeout: float,
        beside: Callable[[], Client | None] = lambda: None,
        originals: Originals = NO_ORIGINALS,
    ) -> None:
        self._client = client
        self._beside = beside
        self._fresh = MirrorState(
            payment_timeout=payment_timeout,
            compensation_timeout=compensation_timeout,
            originals=sorted(originals),
        )

    async def record(self, order_id: str, events: Sequence[dict[str, Any]]) -> None:
        """Have the order's mirror take note of events in wire form; on return it will, whatever crashes.

        A mirror that has closed stays closed unless one of the events is news to it; an orchestrated saga that has
        closed gets none, whatever events come. Raises RPCError, or RuntimeError while Temporal has never been reached.
        """
        if await self._begun_beside(order_id, events):
            return
        try:
            await self._tell(order_id, self._fresh, events, WorkflowIDReusePolicy.REJECT_DUPLICATE)
        except WorkflowAlreadyStartedError:
            found = await self._client.get_workflow_handle(workflow_id(order_id)).describe(rpc_timeout=_CALL)
            if found.workflow_type != SagaMirror.__name__:
                # Its events come marked as orchestrated; these came from somebody who doesn't know that.
                log.info("orchestrated_saga_has_no_mirror", order_id=order_id, events=len(events))
            elif found.status is WorkflowExecutionStatus.COMPLETED:
                await self._tell_closed(order_id, found.run_id, events)
            else:  # it failed, or somebody put an end to it: nothing says what it had seen
                await self._tell(order_id, self._fresh, events, WorkflowIDReusePolicy.ALLOW_DUPLICATE)

    async def _tell_closed(self, order_id: str, run_id: str | None, events: Sequence[dict[str, Any]]) -> None:
        """Open a second run only for what the first can't have seen, such as the cancellation of a paid order."""
        handle: WorkflowHandle[SagaMirror, MirrorState] = self._client.get_workflow_handle(
            workflow_id(order_id), run_id=run_id, result_type=MirrorState
        )
        closed = await asyncio.wait_for(handle.result(), _CALL.total_seconds())
        seen = {event["eventId"] for event in closed.events}
        news = [event for event in events if event["eventId"] not in seen and known_type(event["eventType"])]
        if not news:
            log.info("mirror_closed_already", order_id=order_id, events=len(events))
            return
        continued = replace(self._fresh, events=closed.events, unknown=closed.unknown, cancel_asked=closed.cancel_asked)
        await self._tell(order_id, continued, news, WorkflowIDReusePolicy.ALLOW_DUPLICATE)

    async def _begun_beside(self, order_id: str, events: Sequence[dict[str, Any]]) -> bool:
        """Whether these events begin the story, and a mirror that nobody has opened yet was opened with them.

        Half the work of a signal-with-start for Temporal: the answer to the call brings the worker its first task.
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
            "execution_timeout": _LONGEST_LIFE,
            "static_summary": headline(created.payload if created else None, order_id),
            # Given with the start, so that a mirror that hears everything at once has nothing to upsert.
            "search_attributes": search_attributes.attributes(known.timeline, known.envelopes),
            "rpc_timeout": _CALL,
        }
