"""Show a saga in the Temporal UI: its current details, and the attributes by which it is found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from temporalio import workflow

from models.messages import Envelope
from workflows import search_attributes
from workflows.story import story
from workflows.timeline import Timeline, timeline_as_json


def show_details(
    timeline: Timeline, *, waiting_for: str | None, alarm: str | None, unknown: Sequence[str] = ()
) -> None:
    """Make the story of the saga the current details of its workflow."""
    workflow.set_current_details(story(timeline, waiting_for=waiting_for, alarm=alarm, unknown=unknown))


def upsert_attributes(timeline: Timeline, events: Iterable[Envelope], *, alarm: str | None) -> None:
    """Upsert the search attributes that have changed; a workflow with an alarm needs an operator."""
    wanted = search_attributes.attributes(timeline, events, needs_operator=alarm is not None)
    if updates := search_attributes.updates(workflow.info().typed_search_attributes, wanted):
        workflow.upsert_search_attributes(updates)


def timeline_answer(timeline: Timeline) -> dict[str, Any]:
    """The timeline as the query of that name answers it: in the gateway's form, in plain values."""
    told: dict[str, Any] = msgspec.to_builtins(timeline_as_json(timeline))
    return told
