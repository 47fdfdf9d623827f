"""Build the timeline of a saga from its events: pure, and the same whatever the order in which they came."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple
from uuid import UUID

from models.lifecycle import OrderStatus, PaymentStatus, Stage, command_behind, over, stage_of
from models.message_types import CommandType, EventType, MessageType
from models.messages import Envelope
from models.originals import NO_ORIGINALS, Originals, nothing_more_is_told, order_status_of
from models.saga import Coordinator
from models.times import wire_time
from workflows.summaries import summary


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """The message that an event answers. `name` is its type: an event's, or a command's."""

    id: UUID | None
    name: MessageType | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One event, and the statuses after it; None: no event has told one yet. `elapsed_ms` is never negative."""

    event_id: UUID
    event_type: EventType
    at: datetime
    actor: str
    cause: Cause
    elapsed_ms: int
    summary: str
    order_status: OrderStatus | None
    payment_status: PaymentStatus | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """A saga's events in causal order. `over` says that no step and no compensation is outstanding."""

    order_id: str | None
    coordinator: Coordinator | None
    order_status: OrderStatus | None
    payment_status: PaymentStatus | None
    over: bool
    entries: tuple[Entry, ...]
    source: str


class _Known(NamedTuple):
    """An event of a type that this version knows, and the stage that it reaches."""

    event: Envelope
    type: EventType
    told: Stage


def build(events: Iterable[Envelope], *, source: str = "event logs", originals: Originals = NO_ORIGINALS) -> Timeline:
    """The timeline of these events: each exactly once, a cause before its effects, else by (occurred_at, event_id).

    Commands, and events of types that this version does not know, are left out. Original services do some things
    without an event; `originals` says which are, so that these things are inferred from what they heard.
    """
    known = _by_id(events)
    ordered = _in_causal_order(known)
    entries: list[Entry] = []
    order_status: OrderStatus | None = None
    payment_status: PaymentStatus | None = None
    for event, event_type, (status, _) in ordered:
        if isinstance(status, OrderStatus):
            order_status = status
        else:
            payment_status = status
        order_status = order_status_of(order_status, payment_status, originals)
        entries.append(
            Entry(
                event_id=event.event_id,
                event_type=event_type,
                at=event.occurred_at,
                actor="order-service" if isinstance(status, OrderStatus) else "payment-service",
                cause=_cause(event, known),
                elapsed_ms=_milliseconds(ordered[0].event.occurred_at, event.occurred_at),
                summary=summary(event_type, event.payload),
                order_status=order_status,
                payment_status=payment_status,
            )
        )
    return Timeline(
        order_id=next((each.event.order_id for each in ordered if each.event.order_id), None),
        coordinator=ordered[0].event.coordinator if ordered else None,
        order_status=order_status,
        payment_status=payment_status,
        over=over(order_status, payment_status) or nothing_more_is_told(order_status, originals),
        entries=tuple(entries),
        source=source,
    )


def entry_as_json(entry: Entry) -> dict[str, Any]:
    """The entry in wire form."""
    return {
        "eventId": entry.event_id,
        "eventType": entry.event_type,
        "at": wire_time(entry.at),
        "actor": entry.actor,
        "cause": {"causationId": entry.cause.id, "name": entry.cause.name},
        "elapsedMs": entry.elapsed_ms,
        "summary": entry.summary,
        "orderStatus": entry.order_status,
        "paymentStatus": entry.payment_status,
    }


def timeline_as_json(timeline: Timeline) -> dict[str, Any]:
    """The timeline in wire form."""
    return {
        "orderId": timeline.order_id,
        "coordinator": timeline.coordinator,
        "orderStatus": timeline.order_status,
        "paymentStatus": timeline.payment_status,
        "over": timeline.over,
        "source": timeline.source,
        "entries": [entry_as_json(entry) for entry in timeline.entries],
    }


def last_of(events: dict[UUID, Envelope], event_type: EventType) -> Envelope | None:
    """The event of this type that was taken in last, of events in the order in which they were taken in."""
    return next((each for each in reversed(events.values()) if each.event_type == event_type), None)


def causes_known(event: Envelope, seen: Iterable[UUID]) -> bool:
    """Whether the event that this one names as its cause is among those seen; True if it names none."""
    return _command_behind(event) is not None or event.causation_id is None or event.causation_id in seen


def _by_id(events: Iterable[Envelope]) -> dict[UUID, _Known]:
    known: dict[UUID, _Known] = {}
    for event in events:
        if not isinstance(event.event_type, EventType):
            continue
        twin = known.get(event.event_id)
        # Copies are equal. If they ever differ, the choice must not depend on which one came first.
        if twin is None or _tie_break(event) < _tie_break(twin.event):
            known[event.event_id] = _Known(event, event.event_type, stage_of(event.event_type))
    return known


def _tie_break(event: Envelope) -> tuple[Any, ...]:
    return event.occurred_at, event.event_type, str(event.causation_id), repr(event)


def _in_causal_order(known: Mapping[UUID, _Known]) -> list[_Known]:
    """Sort topologically. Of the events whose predecessors are placed, the smallest (occurred_at, event_id) is next."""
    effects: dict[UUID, list[UUID]] = {event_id: [] for event_id in known}
    waits_for: dict[UUID, int] = {}
    for event_id, each in known.items():
        predecessors = _predecessors(each, known)
        waits_for[event_id] = len(predecessors)
        for predecessor in predecessors:
            effects[predecessor].append(event_id)
    ready = [_key(known[event_id]) for event_id, count in waits_for.items() if count == 0]
    heapify(ready)
    ordered: list[_Known] = []
    while waits_for:
        if not ready:
            # Some events name each other as causes, by mistake. They are told all the same, the earliest first.
            heappush(ready, min(_key(known[event_id]) for event_id in waits_for))
        _, event_id = heappop(ready)
        if waits_for.pop(event_id, None) is None:
            continue
        ordered.append(known[event_id])
        for effect in effects[event_id]:
            if effect in waits_for:
                waits_for[effect] -= 1
                if waits_for[effect] == 0:
                    heappush(ready, _key(known[effect]))
    return ordered


def _key(known: _Known) -> tuple[datetime, UUID]:
    return known.event.occurred_at, known.event.event_id


def _predecessors(known: _Known, others: Mapping[UUID, _Known]) -> set[UUID]:
    """The event's cause, and the events that its service must have logged before it, whatever their clocks say."""
    status, place = known.told
    before = {
        event_id
        for event_id, other in others.items()
        if type(other.told.status) is type(status) and other.told.place < place
    }
    cause = known.event.causation_id
    if cause is not None and cause in others and cause != known.event.event_id:
        before.add(cause)
    return before


def _cause(event: Envelope, known: Mapping[UUID, _Known]) -> Cause:
    cause = known.get(event.causation_id) if event.causation_id else None
    return Cause(id=event.causation_id, name=cause.type if cause else _command_behind(event))


def _command_behind(event: Envelope) -> CommandType | None:
    if isinstance(event.event_type, EventType):
        return command_behind(event.event_type, event.payload.get("reason"))
    return None


def _milliseconds(start: datetime, end: datetime) -> int:
    return max(0, int((end - start).total_seconds() * 1000))
