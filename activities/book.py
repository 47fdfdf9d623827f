"""What a ledger is given and what it answers: submissions, the book they go into, and the way out for their events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar, get_args, get_type_hints
from uuid import UUID

from sqlmodel import SQLModel

from models.columns import columns_of
from models.messages import Envelope
from models.saga import Coordinator, Decision, OrderId
from models.texts import as_id

State = TypeVar("State")


class AboutOrder(Protocol):
    """Any message: it is about one order."""

    @property
    def order_id(self) -> OrderId: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A message to apply, and what events that follow from it are to carry: its own id as their cause.

    A correlation id that no reader could take is made one: nothing may be logged that can't be read.
    """

    message: AboutOrder
    event_id: UUID
    correlation_id: str
    coordinator: Coordinator = Coordinator.CHOREOGRAPHY

    def __post_init__(self) -> None:
        object.__setattr__(self, "correlation_id", as_id(self.correlation_id, str(self.event_id)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied(Generic[State]):
    """What was decided and, on return, is committed; `event` is in the event log."""

    decision: Decision[State]
    event: Envelope | None = None


@dataclass(frozen=True, kw_only=True)
class Book(Generic[State]):
    """How a service keeps its rows: the state that they hold, their table, and who decides.

    The state is a dataclass, and each of its fields is a column of the same name.
    """

    state: type[State]
    rows: type[SQLModel]
    key: str  # the column that holds the order's id
    mutable: Sequence[str]
    decide: Callable[[State | None, Any, Coordinator], Decision[State]]
    totals: str
    totals_by: Sequence[str]  # columns, in the order in which `tally` gives their values
    tally: Callable[[State], tuple[tuple[str, ...], int]]  # under which of them the totals count a row, and its amount

    @cached_property
    def table(self) -> str:
        return str(self.rows.__tablename__)

    @cached_property
    def columns(self) -> Mapping[str, str]:
        """Name to PostgreSQL type, in the order in which `dump` gives and `load` takes their values."""
        types = columns_of(self.rows)
        return {name: types[name] for name in get_type_hints(self.state)}

    @cached_property
    def _enums(self) -> Mapping[str, type[StrEnum]]:
        """The columns whose text stands for a member of an enumeration."""
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
        """The key, and the values of the columns that can change."""
        return tuple(getattr(state, name) for name in (self.key, *self.mutable))


class Outlet(Protocol):
    """Where committed events leave by the fast path; the relay takes those that never get through."""

    def offer(self, events: Sequence[tuple[int, Envelope]]) -> None:
        """Publish these soon, in this order; the numbers are their places in the event log."""

    def carries(self, seq: int) -> bool:
        """Whether this event is on its way through here, ahead of whatever is offered next."""
