"""Tell the story of a saga from its events: pure, and the same whatever order they come in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Any, Final, NamedTuple
from uuid import UUID

from models.messages import Envelope
from models.order import OrderStatus
from models.payment import PaymentStatus
from models.saga import CancelReason, Coordinator
from models.times import wire_time
from workflows.summaries import summary


class _Step(NamedTuple):
    """What an event type says: the status it leads to, and its place in its service's lifecycle."""

    status: OrderStatus | PaymentStatus
    place: int


_STEPS: Final[Mapping[str, _Step]] = {
    "OrderCreated": _Step(OrderStatus.PENDING_PAYMENT, 0),
    "OrderPaid": _Step(OrderStatus.PAID, 1),
    "OrderFailed": _Step(OrderStatus.FAILED, 1),
    "OrderCancelled": _Step(OrderStatus.CANCELLED, 2),
    "PaymentApproved": _Step(PaymentStatus.APPROVED, 0),
    "PaymentDeclined": _Step(PaymentStatus.DECLINED, 0),
    "PaymentFailed": _Step(PaymentStatus.FAILED, 0),
    "PaymentCancelled": _Step(PaymentStatus.CANCELLED, 0),
    "PaymentRefunded": _Step(PaymentStatus.REFUNDED, 1),
}

# An order may end as cancelled only once its payment has ended in one of these.
_COMPENSATED: Final = frozenset(
    {PaymentStatus.CANCELLED, PaymentStatus.DECLINED, PaymentStatus.FAILED, PaymentStatus.REFUNDED}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """What an event answers: `name` is an event type, or the command that started it all."""

    id: UUID | None
    name: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One event, and where order and payment stood after it; None: not heard of yet. `elapsed_ms` is never negative."""

    event_id: UUID
    event_type: str
    at: datetime
    actor: str
    cause: Cause
    elapsed_ms: int
    summary: str
    order_status: OrderStatus | None
    payment_status: PaymentStatus | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """A saga's events in causal order; `over` says that nothing is outstanding, neither a step nor a compensation."""

    order_id: str | None
    coordinator: Coordinator | None
    order_status: OrderStatus | None
    payment_status: PaymentStatus | None
    over: bool
    entries: tuple[Entry, ...]
    source: str


def build(events: Iterable[Envelope], *, source: str = "event logs") -> Timeline:
    """Every event exactly once, a cause before its effects, else by (occurred_at, event_id); commands are no events."""
    known = _by_id(event for event in events if event.event_type in _STEPS)
    ordered = _in_causal_order(known)
    entries: list[Entry] = []
    order_status: OrderStatus | None = None
    payment_status: PaymentStatus | None = None
    for event in ordered:
        status = _STEPS[event.event_type].status
        if isinstance(status, OrderStatus):
            order_status = status
        else:
            payment_status = status
        entries.append(
            Entry(
                event_id=event.event_id,
                event_type=event.event_type,
                at=event.occurred_at,
                actor="order-service" if isinstance(status, OrderStatus) else "payment-service",
                cause=_cause(event, known),
                elapsed_ms=_milliseconds(ordered[0].occurred_at, event.occurred_at),
                summary=summary(event),
                order_status=order_status,
                payment_status=payment_status,
            )
        )
    return Timeline(
        order_id=next((event.order_id for event in ordered if event.order_id), None),
        coordinator=ordered[0].coordinator if ordered else None,
        order_status=order_status,
        payment_status=payment_status,
        over=_over(order_status, payment_status),
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


def causes_known(event: Envelope, seen: Iterable[UUID]) -> bool:
    """Whether what must come before this event, as far as the event itself tells, is among those seen."""
    return _command_behind(event) is not None or event.causation_id is None or event.causation_id in seen


def _by_id(events: Iterable[Envelope]) -> dict[UUID, Envelope]:
    known: dict[UUID, Envelope] = {}
    for event in events:
        twin = known.get(event.event_id)
        # Copies are equal; should they ever differ, the choice must not depend on which came first.
        if twin is None or _tie_break(event) < _tie_break(twin):
            known[event.event_id] = event
    return known


def _tie_break(event: Envelope) -> tuple[Any, ...]:
    return event.occurred_at, event.event_type, str(event.causation_id), repr(event)


def _in_causal_order(known: Mapping[UUID, Envelope]) -> list[Envelope]:
    """A topological sort, smallest (occurred_at, event_id) first among the events whose predecessors are told."""
    effects: dict[UUID, list[UUID]] = {event_id: [] for event_id in known}
    waits_for: dict[UUID, int] = {}
    for event in known.values():
        predecessors = _predecessors(event, known)
        waits_for[event.event_id] = len(predecessors)
        for predecessor in predecessors:
            effects[predecessor].append(event.event_id)
    ready = [_key(known[event_id]) for event_id, count in waits_for.items() if count == 0]
    heapify(ready)
    ordered: list[Envelope] = []
    while waits_for:
        if not ready:
            # Events that name each other as causes are somebody's mistake; they are still told, the earliest first.
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


def _key(event: Envelope) -> tuple[datetime, UUID]:
    return event.occurred_at, event.event_id


def _predecessors(event: Envelope, known: Mapping[UUID, Envelope]) -> set[UUID]:
    """Its cause, and what its own service must have done before: a clock that is set back can't reorder a lifecycle."""
    step = _STEPS[event.event_type]
    before = {
        other.event_id
        for other in known.values()
        if type(_STEPS[other.event_type].status) is type(step.status) and _STEPS[other.event_type].place < step.place
    }
    if event.causation_id is not None and event.causation_id in known and event.causation_id != event.event_id:
        before.add(event.causation_id)
    return before


def _cause(event: Envelope, known: Mapping[UUID, Envelope]) -> Cause:
    cause = known.get(event.causation_id) if event.causation_id else None
    return Cause(id=event.causation_id, name=cause.event_type if cause else _command_behind(event))


def _command_behind(event: Envelope) -> str | None:
    if event.event_type == "OrderCreated":
        return "CreateOrderRequested"
    if event.event_type == "OrderCancelled" and event.payload.get("reason") != CancelReason.PAYMENT_DECLINED:
        return "OrderCancelRequested"
    return None


def _over(order: OrderStatus | None, payment: PaymentStatus | None) -> bool:
    if order is OrderStatus.CANCELLED:
        return payment in _COMPENSATED
    if order is OrderStatus.FAILED and payment is PaymentStatus.APPROVED:
        return False  # told so by others, while its charge went well: a refund is outstanding
    return order is not None and order.over


def _milliseconds(start: datetime, end: datetime) -> int:
    return max(0, int((end - start).total_seconds() * 1000))
