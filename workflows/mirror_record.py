"""Record what a mirror knows of its saga: its events, each once, and their timeline; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from activities.steps import StepInput
from models.lifecycle import OrderStatus
from models.message_types import CommandType, EventType
from models.messages import Envelope, MalformedMessage, read_wire
from models.originals import Originals, ServiceName
from models.saga import CancelReason, Coordinator, cancel_id
from models.texts import plain
from models.times import check_seconds
from workflows.timeline import Timeline, build, causes_known, last_of

MOST_BYTES: Final = 1024 * 1024  # of all events of one order; a saga has three to five events of a few hundred bytes
_MOST_UNKNOWN: Final = 20
_LONGEST_KIND: Final = 100  # characters
_MOST_REPUBLISHED: Final = 100


@dataclass(frozen=True, kw_only=True)
class MirrorState:
    """The state with which a run of a mirror begins and ends: events in wire form, and its compensations' progress.

    Timeouts are in seconds. A later run for the same order begins with the state with which the earlier one ended.
    """

    payment_timeout: float
    compensation_timeout: float
    events: list[dict[str, Any]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)  # event types that nobody here knows
    cancel_asked: bool = False
    republished: int = 0
    next_try: str | None = None  # ISO 8601, with its offset from UTC
    alarm: str | None = None  # why an operator must look
    originals: list[str] = field(default_factory=list)  # the services that are not ours
    late: bool = False  # whether events may have gone past the mirror, so that it must look into the event logs

    def __post_init__(self) -> None:
        check_seconds("payment_timeout", self.payment_timeout)
        check_seconds("compensation_timeout", self.compensation_timeout)
        if not 0 <= self.republished <= _MOST_REPUBLISHED:
            raise ValueError(f"republished is {self.republished}; it must be 0 … {_MOST_REPUBLISHED}")
        for name in self.originals:
            ServiceName(name)
        if self.next_try is not None and datetime.fromisoformat(self.next_try).tzinfo is None:
            raise ValueError(f"next_try is {self.next_try!r}; it must tell its offset from UTC")


class MirrorRecord:
    """Takes in events in wire form, in any order and any number of times. With `order_id`, only that order's events.

    `originals` are the services that are not ours. The record does not wait for events that they never send.
    """

    def __init__(
        self,
        events: Iterable[object] = (),
        unknown: Iterable[str] = (),
        *,
        order_id: str | None = None,
        originals: Iterable[str] = (),
    ) -> None:
        self.unknown = [text[:_LONGEST_KIND] for text in unknown][:_MOST_UNKNOWN]
        self._order_id = order_id
        self.originals: Originals = frozenset(map(ServiceName, originals))
        self._size = 0  # bytes; Temporal takes two million as the input or the result of a run
        self._wire: dict[UUID, dict[str, Any]] = {}
        self._events: dict[UUID, Envelope] = {}
        self.take(events)

    def take(self, events: Iterable[object]) -> None:
        """Take in events. A known event, or one that can't be read, does not change the timeline."""
        for event in events:
            try:
                envelope, body = read_wire(event)
                order_id = str(UUID(envelope.order_id or ""))
            except (MalformedMessage, ValueError):
                self._note_unknown(event)
                continue
            if self._order_id not in (None, order_id):
                self._note_unknown(event)
            elif envelope.event_id not in self._events and self._size + len(body) <= MOST_BYTES:
                self._size += len(body)
                self._events[envelope.event_id] = envelope
                self._wire[envelope.event_id] = msgspec.json.decode(body)
        self.timeline: Timeline = build(self._events.values(), source="workflow", originals=self.originals)

    def _note_unknown(self, event: object) -> None:
        named = event.get("eventType") if isinstance(event, Mapping) else None
        kind = named if isinstance(named, str) else f"{type(event).__name__} without an eventType"
        kind = plain(kind[:_LONGEST_KIND])  # it is shown in details and results
        if kind not in self.unknown and len(self.unknown) < _MOST_UNKNOWN:
            self.unknown.append(kind)

    @property
    def wire(self) -> list[dict[str, Any]]:
        """The events in wire form, in the order in which they came."""
        return list(self._wire.values())

    @property
    def envelopes(self) -> list[Envelope]:
        return list(self._events.values())

    @property
    def complete(self) -> bool:
        """Whether the saga is over, and every event is known that another one names as its cause."""
        known = all(causes_known(event, self._events) for event in self._events.values())
        return self.timeline.over and known and self.last(EventType.ORDER_CREATED) is not None

    @property
    def lacks_its_beginning(self) -> bool:
        """Whether there are events of the order, and not the one that created it."""
        return self.timeline.order_id is not None and self.last(EventType.ORDER_CREATED) is None

    @property
    def is_cancelled(self) -> bool:
        return self.timeline.order_status is OrderStatus.CANCELLED

    @property
    def uncompensated(self) -> bool:
        """Whether the order is cancelled, and no event has said yet that its payment keeps no money."""
        return self.is_cancelled and not self.timeline.over

    @property
    def kept(self) -> bool:
        """Whether money was captured for an order whose payment service says that nothing was.

        Another payment service captured it, and the one that is there now has never heard of it.
        """
        heard = {event.event_type for event in self._events.values()}
        at_odds = {EventType.PAYMENT_APPROVED, EventType.PAYMENT_CANCELLED}
        return at_odds <= heard and EventType.PAYMENT_REFUNDED not in heard

    def last(self, event_type: EventType) -> Envelope | None:
        """The event of this type that was taken in last."""
        return last_of(self._events, event_type)


def timeout_of(created: Envelope) -> StepInput:
    """The command that cancels an order whose payment took too long. Its id is derived, so repeating it is harmless."""
    return cancellation_of(created, CancelReason.PAYMENT_TIMEOUT, Coordinator.CHOREOGRAPHY)


def cancellation_of(created: Envelope, reason: CancelReason, coordinator: Coordinator) -> StepInput:
    """The command that cancels this order for that reason. Its id is derived, too."""
    return StepInput(
        event_type=CommandType.ORDER_CANCEL_REQUESTED,
        payload={"orderId": created.order_id, "reason": reason},
        event_id=str(cancel_id(UUID(created.order_id), reason)),
        correlation_id=created.correlation_id,
        coordinator=coordinator,
    )


def repetition_of(event: Envelope) -> StepInput:
    """The event itself, to be published again."""
    return StepInput(
        event_type=event.event_type,
        payload=dict(event.payload),
        event_id=str(event.event_id),
        correlation_id=event.correlation_id,
        coordinator=event.coordinator,
    )
