"""Tell an order's timeline, either its workflow's or the one of the event logs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
import structlog

from api.gateway.dependencies import Limits, TimelineSource
from api.gateway.queries import Queries, events_removed
from models.message_types import EventType
from workflows.temporal_errors import TemporalUnavailable
from workflows.timeline import Timeline, build, timeline_as_json

log = structlog.get_logger()


class Timelines:
    """Asks the workflow and the event logs at once. The workflow's timeline is used if it lacks no logged event.

    The logs have what was committed. A mirror follows them, and may lag behind after an outage. Both are asked at the
    same time, and the workflow is waited for at most `limits.workflow` seconds.
    """

    def __init__(self, *, queries: Queries, workflows: TimelineSource, limits: Limits) -> None:
        self._queries = queries
        self._workflows = workflows
        self._limits = limits

    async def read(self, order_id: UUID, correlation_id: str) -> bytes:
        """The order's timeline as JSON. Its `source` says where it comes from.

        While a service is away, the workflow's timeline is used if it has no gap. Raises Problem if the order is
        unknown, if its events were removed, or if neither source can tell.
        """
        told, logged = await asyncio.gather(
            self._told_by_workflow(order_id), self._queries.logged_of_new(order_id, correlation_id)
        )
        by_logs = build(logged.events)
        if told is not None and told.has(by_logs) and (logged.problem is None or told.gapless):
            return told.body
        if told is not None:
            log.info("workflow_timeline_incomplete", order_id=str(order_id))
        if not logged.all():
            raise events_removed(order_id)
        return msgspec.json.encode(timeline_as_json(by_logs))

    async def _told_by_workflow(self, order_id: UUID) -> _Told | None:
        try:
            async with asyncio.timeout(self._limits.workflow):
                timeline = await self._workflows.timeline(order_id)
            return _Told.of(timeline) if timeline is not None else None
        except (TemporalUnavailable, TimeoutError, msgspec.ValidationError) as error:
            log.info("workflow_timeline_unavailable", order_id=str(order_id), error=f"{type(error).__name__}: {error}")
            return None


class _WireCause(msgspec.Struct, rename="camel"):
    causation_id: UUID | None
    name: str | None


class _WireEntry(msgspec.Struct, rename="camel"):
    event_id: UUID
    event_type: str
    cause: _WireCause


class _WireTimeline(msgspec.Struct):
    entries: list[_WireEntry]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    """A workflow's timeline. `body` is passed on unchanged."""

    body: bytes
    entries: list[_WireEntry]

    @classmethod
    def of(cls, timeline: Mapping[str, Any]) -> _Told:
        """Read the timeline. Raises msgspec.ValidationError if a workflow of another version has another form."""
        return cls(body=msgspec.json.encode(timeline), entries=msgspec.convert(timeline, _WireTimeline).entries)

    def has(self, other: Timeline) -> bool:
        """Whether this timeline has entries, and all entries of the other one."""
        told = {each.event_id for each in self.entries}
        return bool(told) and all(each.event_id in told for each in other.entries)

    @property
    def gapless(self) -> bool:
        """Whether it has the order's creation, and every event's cause: a cause that is missing has no name."""
        begun = any(each.event_type == EventType.ORDER_CREATED for each in self.entries)
        return begun and all(each.cause.name is not None or each.cause.causation_id is None for each in self.entries)
