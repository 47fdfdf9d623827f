"""How long tasks stood between scheduled and started is read from recorded histories."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from bench.waits import SHOWN_UP_TO, histogram, waits

pytestmark = pytest.mark.anyio


def event(number: int, kind: str, milliseconds: int, **attributes: Any) -> HistoryEvent:
    made = HistoryEvent(event_id=number, event_type=EventType.Value(f"EVENT_TYPE_{kind.upper()}"))
    made.event_time.FromMilliseconds(1_000_000 + milliseconds)
    told = getattr(made, f"{kind}_event_attributes")
    told.SetInParent()
    for name, value in attributes.items():
        if name == "activity":
            told.activity_type.name = value
        else:
            setattr(told, name, value)
    return made


HISTORY = [
    event(1, "workflow_execution_started", 0),
    event(2, "workflow_task_scheduled", 0),
    event(3, "workflow_task_started", 4, scheduled_event_id=2),
    event(4, "workflow_task_completed", 5, scheduled_event_id=2),
    event(5, "activity_task_scheduled", 5, activity="charge"),
    event(6, "activity_task_scheduled", 6, activity="refund"),
    event(7, "activity_task_started", 45, scheduled_event_id=5),
    event(8, "workflow_task_scheduled", 60),
    event(9, "workflow_task_started", 61, scheduled_event_id=8),
]


@dataclass
class Handle:
    events: list[HistoryEvent]

    async def fetch_history_events(self) -> AsyncIterator[HistoryEvent]:
        for each in self.events:
            yield each


class Server:
    """Has the same history of every workflow."""

    def get_workflow_handle(self, _: str) -> Handle:
        return Handle(HISTORY)


async def test_each_task_is_told_by_what_it_is_and_one_that_never_started_is_not() -> None:
    found = await waits(cast(Client, Server()), ["one", "another"])

    assert found == {"first workflow task": [4.0, 4.0], "charge": [40.0, 40.0], "later workflow tasks": [1.0, 1.0]}


def test_every_value_is_in_one_class() -> None:
    values = [0.1, 2.0, 2.1, 50.0, 1000.0, 1000.1]

    counted = histogram(values)

    assert len(counted) == len(SHOWN_UP_TO) + 1
    assert (sum(counted), counted[0], counted[1], counted[-1]) == (len(values), 2, 1, 1)
