"""Keep the Temporal Schedule that runs the reconciler at intervals."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from workflows.naming import RECONCILER_ID, SAGA_TASK_QUEUE
from workflows.reconciler import Reconciler
from workflows.sweep import Sweep

log = structlog.get_logger()

_CALL: Final = timedelta(seconds=5)
_LEAST_CATCHUP: Final = timedelta(seconds=10)  # Temporal takes no less
# A sweep that takes longer is ended, so that it doesn't hold up the next one for good.
_LONGEST_SWEEP: Final = timedelta(hours=1)


async def schedule_reconciler(client: Client, sweep: Sweep, *, every: float) -> None:
    """Schedule a sweep every `every` seconds, one at a time. Repeating this changes nothing.

    A schedule that an operator has paused stays paused. Raises RPCError, or RuntimeError while Temporal has never been
    reached.
    """
    wanted = _schedule(sweep, timedelta(seconds=every))
    handle = client.get_schedule_handle(RECONCILER_ID)
    try:
        known = (await handle.describe(rpc_timeout=_CALL)).schedule
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    else:
        if not await _alike(client, known, wanted):
            await handle.update(lambda current: _updated(current, wanted), rpc_timeout=_CALL)
            log.info("reconciler_rescheduled", every=every)
        return
    try:
        await client.create_schedule(RECONCILER_ID, wanted, rpc_timeout=_CALL)
    except ScheduleAlreadyRunningError:
        return  # another worker was faster
    log.info("reconciler_scheduled", every=every)


def _schedule(sweep: Sweep, every: timedelta) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            Reconciler.run,
            sweep,
            id=RECONCILER_ID,
            task_queue=SAGA_TASK_QUEUE,
            execution_timeout=_LONGEST_SWEEP,
            static_summary="Ends what fell through everything else",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        # One sweep makes up for all that were missed while Temporal was away.
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=max(every, _LEAST_CATCHUP)),
    )


async def _alike(client: Client, known: Schedule, wanted: Schedule) -> bool:
    if (known.spec.intervals, known.policy) != (wanted.spec.intervals, wanted.policy):
        return False
    known_action, wanted_action = known.action, wanted.action
    if not isinstance(known_action, ScheduleActionStartWorkflow):
        return False
    if not isinstance(wanted_action, ScheduleActionStartWorkflow):
        return False
    return list(known_action.args) == await client.data_converter.encode(wanted_action.args)


def _updated(current: ScheduleUpdateInput, wanted: Schedule) -> ScheduleUpdate:
    return ScheduleUpdate(schedule=replace(wanted, state=current.description.schedule.state))
