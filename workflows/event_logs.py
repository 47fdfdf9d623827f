"""Read in a workflow what both services have logged about an order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, TypeAlias

from temporalio import workflow

from models.futures import forget_error
from models.originals import NO_ORIGINALS, Originals
from workflows.naming import queues_of
from workflows.retries import LOCAL_RETRIES_WITHIN, ORDER_RETRIES
from workflows.saga_steps import READ_EVENTS

BEGINNING_WITHIN: Final = timedelta(seconds=10)  # from when nothing but events is waited for
_READING: Final = timedelta(seconds=10)
_SUMMARY: Final = "what happened so far"

Log: TypeAlias = list[dict[str, Any]]


async def read_event_logs(order_id: str, *, local: str | None = None, originals: Originals = NO_ORIGINALS) -> list[Log]:
    """The events of each log in wire form, oldest first. This waits while one of the services is away.

    Original services keep no log. `local` is the task queue of the service that runs this workflow. It reads its own
    log in the workflow task.
    """
    readings = (_here(order_id, queue) if queue == local else _there(order_id, queue) for queue in _queues(originals))
    return list(await asyncio.gather(*readings))


class Beginning:
    """Reads once what was logged before the first event that a workflow was told of. `take` gets each log.

    If Temporal has forgotten an earlier workflow of the order, nobody sends this one the first events again.
    """

    def __init__(self, take: Callable[[Log], None]) -> None:
        self._take = take
        self._reading: asyncio.Task[list[Log]] | None = None
        self.is_read = False

    async def read(self, order_id: str, originals: Originals, *, pointless: Callable[[], bool]) -> None:
        """Wait a moment for the first events, then read the event logs. Leave off once this is `pointless`."""
        try:
            summary = "wait for what came before; then read the event logs"
            await workflow.wait_condition(pointless, timeout=BEGINNING_WITHIN, timeout_summary=summary)
        except TimeoutError:
            reading = self._reading or asyncio.create_task(read_event_logs(order_id, originals=originals))
            self._reading = reading
            reading.add_done_callback(forget_error)  # the events may come meanwhile, and the saga end
            await workflow.wait_condition(lambda: reading.done() or pointless())
            if reading.done():
                self.is_read = True
                for log in await reading:
                    self._take(log)


class CatchingUp:
    """Reads both event logs beside the workflow. `take` gets each log as soon as its service answers."""

    def __init__(self, take: Callable[[Log], None]) -> None:
        self._take = take
        self._reading: dict[str, asyncio.Task[None]] = {}  # by task queue

    @property
    def _done(self) -> bool:
        return all(each.done() for each in self._reading.values())

    def begin(self, order_id: str, originals: Originals = NO_ORIGINALS) -> None:
        """Ask for each log as it is now, unless it is still being read."""
        for queue in _queues(originals):
            if queue not in self._reading or self._reading[queue].done():
                reading = asyncio.create_task(self._take_over(order_id, queue))
                reading.add_done_callback(forget_error)  # the workflow may end meanwhile
                self._reading[queue] = reading

    async def wait(self, *, within: timedelta) -> None:
        """Wait until all logs are there, but no longer than so. A log that comes later is handed over then."""
        try:
            summary = "wait for the event logs; then go on without them"
            await workflow.wait_condition(lambda: self._done, timeout=within, timeout_summary=summary)
        except TimeoutError:
            workflow.logger.warning("A service is away, so this workflow goes on without its event log")

    async def again(self, order_id: str, originals: Originals = NO_ORIGINALS) -> None:
        """Ask for each log as it is now, and wait until all are there: also while a service is away."""
        await workflow.wait_condition(lambda: self._done)
        self.begin(order_id, originals)
        await workflow.wait_condition(lambda: self._done)

    async def _take_over(self, order_id: str, queue: str) -> None:
        self._take(await _there(order_id, queue))


def _queues(originals: Originals) -> Sequence[str]:
    return [queue for queue in READ_EVENTS if queue not in queues_of(originals)]


async def _there(order_id: str, queue: str) -> Log:
    events: Log = await workflow.execute_activity(
        READ_EVENTS[queue],
        order_id,
        task_queue=queue,
        result_type=Log,
        start_to_close_timeout=_READING,
        retry_policy=ORDER_RETRIES,
        summary=_SUMMARY,
    )
    return events


async def _here(order_id: str, queue: str) -> Log:
    events: Log = await workflow.execute_local_activity(
        READ_EVENTS[queue],
        order_id,
        result_type=Log,
        start_to_close_timeout=_READING,
        retry_policy=ORDER_RETRIES,
        local_retry_threshold=LOCAL_RETRIES_WITHIN,
        summary=_SUMMARY,
    )
    return events
