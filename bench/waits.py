"""Measure how long Temporal's tasks stood between scheduled and started, while nobody worked on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

SHOWN_UP_TO: Final = (2, 5, 10, 20, 50, 100, 1000)  # milliseconds: the classes of the histogram
_MOST: Final = 200  # workflows whose histories are read


async def waits(client: Client, workflow_ids: Iterable[str]) -> dict[str, list[float]]:
    """The milliseconds of tasks by kind: a workflow's first task, a later one, or an activity by name."""
    found: dict[str, list[float]] = {}
    for workflow_id in list(workflow_ids)[:_MOST]:
        scheduled: dict[int, tuple[str, int]] = {}
        async for event in client.get_workflow_handle(workflow_id).fetch_history_events():
            at = event.event_time.ToNanoseconds()
            match event.event_type:
                case EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
                    scheduled[event.event_id] = ("later workflow tasks" if scheduled else "first workflow task"), at
                case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                    scheduled[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name, at
                case EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
                    task, since = scheduled[event.workflow_task_started_event_attributes.scheduled_event_id]
                    found.setdefault(task, []).append((at - since) / 1e6)
                case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                    task, since = scheduled[event.activity_task_started_event_attributes.scheduled_event_id]
                    found.setdefault(task, []).append((at - since) / 1e6)
                case _:
                    pass
    return found


def histogram(values: Sequence[float]) -> list[int]:
    """The number of values in each class. A class ends at its limit, and the last one has no limit."""
    limits = (float("-inf"), *SHOWN_UP_TO, float("inf"))
    return [sum(low < value <= high for value in values) for low, high in pairwise(limits)]
