"""The types around a ledger: submissions, the book that they change, what was applied, and the outlet of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar, get_args, get_type_hints
from uuid import UUID

from sqlmodel import SQLModel

from activities.measures import SagaEnd
from models.columns import columns_of
from models.messages import Envelope
from models.saga import Coordinator, Decision, OrderId
from models.texts import as_id

State = TypeVar("State")


class AboutOrder(Protocol):
    """Any message that is about one order."""

    @property
    def order_id(self) -> OrderId: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A message to apply, with the ids that its events are to carry. Its own id becomes the cause of those events.

    A correlation id that not every reader can take is shortened: the log must hold only what can be read.
    """

    message: AboutOrder
    event_id: UUID
    correlation_id: str
    coordinator: Coordinator = Coordinator.CHOREOGRAPHY
    traceparent: str | None = None  # the trace context that its events are to carry
    attempt: int | None = None  # at which the message is handled, from 1; None: nobody counts

    def __post_init__(self) -> None:
        object.__setattr__(self, "correlation_id", as_id(self.correlation_id, str(self.event_id)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied(Generic[State]):
    """A committed decision, and the event that it added to the event log."""

    decision: Decision[State]
    event: Envelope | None = None


def _ends_nothing(_before: object, _after: object) -> None:
    """The changes of this book end no saga."""


@dataclass(frozen=True, kw_only=True)
class Book(Generic[State]):
    """How a service stores its state: the state's class, its table, and the function that decides.

    The state is a dataclass. Each of its fields has a column of the same name.
    """

    state: type[State]
    rows: type[SQLModel]
    key: str  # the column that holds the order's id
    mutable: Sequence[str]
    decide: Callable[[State | None, Any, Coordinator], Decision[State]]
    totals: str
    totals_by: Sequence[str]  # the columns that group the totals, in the order in which `tally` gives their values
    tally: Callable[[State], tuple[tuple[str, ...], int]]  # the group in which the totals count a row, and its amount
    ended: Callable[[State | None, State], SagaEnd | None] = _ends_nothing  # how a change ends a saga, if it does

    @cached_property
    def table(self) -> str:
        return str(self.rows.__tablename__)

    @cached_property
    def columns(self) -> Mapping[str, str]:
        """The columns' PostgreSQL types by name, in the order in which `dump` gives and `load` takes their values."""
        types = columns_of(self.rows)
        return {name: types[name] for name in get_type_hints(self.state)}

    @cached_property
    def _enums(self) -> Mapping[str, type[StrEnum]]:
        """The enumerations of those columns that hold an enumeration's members as text."""
        return {
            name: kind
            for name, hint in get_type_hints(self.state).items()
            for kind in (get_args(hint) or (hint,))
            if isinstance(kind, type) and issubclass(kind, StrEnum)
        }

    def load(self, row: Sequence[Any]) -> State:
        """The state that a row holds."""
        values = dict(zip(self.columns, row, strict=True))
        for name, enum in self._enums.items():
            if values[name] is not None:
                values[name] = enum(values[name])
        return self.state(**values)

    def dump(self, state: State) -> tuple[Any, ...]:
        """The row that holds a state."""
        return tuple(getattr(state, name) for name in self.columns)

    def changes(self, state: State) -> tuple[Any, ...]:
        """The values of the key and of the columns that can change."""
        return tuple(getattr(state, name) for name in (self.key, *self.mutable))


class Outlet(Protocol):
    """The fast path by which committed events are published. The relay publishes the events that fail here."""

    def offer(self, events: Sequence[tuple[int, Envelope]]) -> None:
        """Publish these events soon, in this order. The numbers are their places in the event log."""

    def carries(self, seq: int) -> bool:
        """Whether this event waits here, so that it is published before all events that are offered later."""
