"""Keep how the sagas stand that have moved lately: one entry a saga, however many events it has, and not too many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from models.lifecycle import OrderStatus, PaymentStatus, Stage, over, stage_of
from models.message_types import EventType
from models.messages import Envelope, MalformedMessage, parse
from models.originals import NO_ORIGINALS, Originals, nothing_more_is_told, order_status_of
from models.saga import Coordinator, OrderCreated
from models.times import wire_time

_MOST_REMEMBERED: Final = 64  # events of one saga, to recognise those that come twice


@dataclass(kw_only=True, slots=True)
class MovingSaga:
    """How a saga stands, as far as its events told; `version` grows with each change of any saga."""

    order_id: UUID
    coordinator: Coordinator
    last_event: EventType
    at: datetime
    version: int = 0
    order: Stage | None = None
    payment: Stage | None = None
    user_id: UUID | None = None
    amount: int | None = None
    currency: str | None = None
    started_at: datetime | None = None
    ended: bool = False
    events: set[UUID] = field(default_factory=set)

    def as_json(self, originals: Originals) -> dict[str, Any]:
        """The saga in wire form."""
        order, payment = self.statuses(originals)
        return {
            "orderId": self.order_id,
            "coordinator": self.coordinator,
            "status": order,
            "paymentStatus": payment,
            "amount": self.amount,
            "currency": self.currency,
            "userId": self.user_id,
            "lastEvent": self.last_event,
            "at": wire_time(self.at),
            "startedAt": wire_time(self.started_at) if self.started_at else None,
            "events": len(self.events),
        }

    def statuses(self, originals: Originals) -> tuple[OrderStatus | None, PaymentStatus | None]:
        """Where order and payment stand; None: no event has told."""
        order = self.order.status if self.order else None
        payment = self.payment.status if self.payment else None
        order = order if isinstance(order, OrderStatus) else None
        payment = payment if isinstance(payment, PaymentStatus) else None
        return order_status_of(order, payment, originals), payment


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What an order is, beside how it stands."""

    user_id: UUID
    total: int
    currency: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """How many sagas were seen to start and to end, and how many events, since the first."""

    started: int = 0
    ended: int = 0
    events: int = 0

    def plus(self, *, started: bool, ended: bool) -> Tally:
        return Tally(started=self.started + started, ended=self.ended + ended, events=self.events + 1)


class MovingSagas:
    """The sagas that changed last, at most `most`. An event that comes twice, or late, changes nothing back."""

    def __init__(self, *, most: int = 5000, originals: Originals = NO_ORIGINALS) -> None:
        self.version = 0
        self.known_since = 0  # of what changed after this version, nothing was forgotten or missed
        self.originals = originals
        self._most = most
        self._sagas: OrderedDict[UUID, MovingSaga] = OrderedDict()  # what changed last is last
        self._tallies: dict[UUID | None, Tally] = {None: Tally()}

    def count_for(self, user_id: UUID | None) -> None:
        """Tally the sagas of this user from now on, too. Everybody's are always tallied, under None."""
        self._tallies.setdefault(user_id, Tally())

    def count_no_more(self, user_id: UUID | None) -> None:
        """Tally this user's sagas no more; everybody's always are."""
        if user_id is not None:
            self._tallies.pop(user_id, None)

    def tally(self, user_id: UUID | None) -> Tally:
        """What was counted of this user's sagas; of everybody's for None."""
        return self._tallies.get(user_id, Tally())

    def miss(self) -> None:
        """Events may have been missed: whoever has seen no later version than this one has to look elsewhere."""
        self.version += 1
        self.known_since = self.version

    def take(self, event: Envelope) -> MovingSaga | None:
        """Take in an event. Returns its saga; None if the event tells nothing new."""
        if not isinstance(event.event_type, EventType) or event.order_id is None:
            return None
        order_id = UUID(event.order_id)
        saga = self._sagas.get(order_id) or MovingSaga(
            order_id=order_id, coordinator=event.coordinator, last_event=event.event_type, at=event.occurred_at
        )
        if event.event_id in saga.events or len(saga.events) >= _MOST_REMEMBERED:
            return None
        saga.events.add(event.event_id)
        self._apply(saga, event, event.event_type)
        started, ended = event.event_type is EventType.ORDER_CREATED, self._ends(saga)
        for user_id in {None, saga.user_id} & self._tallies.keys():
            self._tallies[user_id] = self._tallies[user_id].plus(started=started, ended=ended)
        self._note(saga)
        return saga

    def complete(self, order_id: UUID, facts: Facts) -> None:
        """Add what the order service told of an order whose first event was not heard."""
        saga = self._sagas.get(order_id)
        if saga is not None and saga.user_id is None:
            saga.user_id, saga.amount, saga.currency = facts.user_id, facts.total, facts.currency
            saga.started_at = facts.created_at
            self._note(saga)

    def changed_since(self, version: int, user_id: UUID | None) -> Iterator[MovingSaga]:
        """What changed after this version, the latest first: of one user, or of all."""
        for saga in reversed(self._sagas.values()):
            if saga.version <= version:
                return
            if user_id is None or saga.user_id == user_id:
                yield saga

    def _apply(self, saga: MovingSaga, event: Envelope, event_type: EventType) -> None:
        told = stage_of(event_type)
        if isinstance(told.status, OrderStatus):
            is_news = saga.order is None or told.place >= saga.order.place
            saga.order = told if is_news else saga.order
        else:
            is_news = saga.payment is None or told.place >= saga.payment.place
            saga.payment = told if is_news else saga.payment
        if is_news and event.occurred_at >= saga.at:  # the two services' events arrive in any order
            saga.last_event, saga.at = event_type, event.occurred_at
        if event_type is EventType.ORDER_CREATED:
            _read_facts(saga, event)

    def _ends(self, saga: MovingSaga) -> bool:
        """Whether the saga is over now and was not before; one that is undone later ends no second time."""
        order, payment = saga.statuses(self.originals)
        ends = not saga.ended and (over(order, payment) or nothing_more_is_told(order, self.originals))
        saga.ended = saga.ended or ends
        return ends

    def _note(self, saga: MovingSaga) -> None:
        self.version += 1
        saga.version = self.version
        self._sagas[saga.order_id] = saga
        self._sagas.move_to_end(saga.order_id)
        if len(self._sagas) > self._most:
            _, forgotten = self._sagas.popitem(last=False)
            self.known_since = max(self.known_since, forgotten.version)


def _read_facts(saga: MovingSaga, event: Envelope) -> None:
    try:
        created = parse(event)
    except MalformedMessage:
        return  # the payment service makes it a dead letter
    if isinstance(created, OrderCreated):
        saga.user_id, saga.amount, saga.currency = created.user_id, created.total, created.currency
        saga.started_at = event.occurred_at
