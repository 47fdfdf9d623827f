"""What a ledger is given and what it answers: entries, the book they go into, and the way out for their events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from models.messages import Envelope
from models.saga import Coordinator, Decision, OrderId
from models.texts import as_id

State = TypeVar("State")


class AboutOrder(Protocol):
    """Any message: it is about one order."""

    @property
    def order_id(self) -> OrderId: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
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
    """How a service keeps its rows: the table, its columns with their types, and who decides."""

    table: str
    key: str  # the column that holds the order's id
    columns: Mapping[str, str]  # name to type, in the order in which `dump` gives and `load` takes their values
    mutable: Sequence[str]
    load: Callable[[Sequence[Any]], State]
    dump: Callable[[State], tuple[Any, ...]]
    decide: Callable[[State | None, Any, Coordinator], Decision[State]]
    totals: str
    totals_by: Sequence[str]  # columns, in the order in which `tally` gives their values
    tally: Callable[[State], tuple[tuple[str, ...], int]]  # under which of them the totals count a row, and its amount

    def changes(self, state: State) -> tuple[Any, ...]:
        """The key, and what of the row can change."""
        names, values = tuple(self.columns), self.dump(state)
        return tuple(values[names.index(name)] for name in (self.key, *self.mutable))


class Outlet(Protocol):
    """Where committed events leave by the fast path; the relay takes those that never get through."""

    def offer(self, events: Sequence[tuple[int, Envelope]]) -> None:
        """Publish these soon, in this order; the numbers are their places in the event log."""

    def carries(self, seq: int) -> bool:
        """Whether this event is on its way through here, ahead of whatever is offered next."""
