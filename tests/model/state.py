"""A state of the world consists of small immutable values; each is kept once, and has a number."""

from __future__ import annotations

from collections.abc import Hashable
from enum import IntEnum
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from models.order import Order
from models.outcome import Outcome
from models.payment import Payment

Value = TypeVar("Value", bound=Hashable)


class Slot(IntEnum):
    """The place of a component in a state."""

    ORDERS = 0
    PAYMENTS = 1
    ORDER_MEMORY = 2
    PAYMENT_MEMORY = 3
    ORDER_QUEUE = 4
    PAYMENT_QUEUE = 5
    MIRROR_QUEUE = 6
    PROVIDER = 7
    TEMPORAL = 8
    BUDGET = 9


State: TypeAlias = tuple[int, ...]  # by slot, the number of the component's value

# What the outbox holds of a logged event: nothing, a row, or a deferred row; whether it was ever at the broker; and
# that its row is gone although it never was.
GONE, WAITING, DEFERRED, PUBLISHED, LOST = 0, 1, 2, 4, 8

# How far an event has come on its way out of a process.
OFFERED, CONFIRMED, RELAYED = "offered", "confirmed", "relayed"


class Store(NamedTuple):
    """A service's database: the order's row, its events in the event log, and the outbox's mark for each."""

    row: Order | Payment | None = None
    log: tuple[int, ...] = ()
    marks: tuple[int, ...] = ()


class Held(NamedTuple):
    """A delivery, or an attempt of an activity, that a process holds without an answer. `then` is the next step."""

    number: int
    attempt: int
    then: str
    activity: str | None = None


class Work(NamedTuple):
    """A task of `Payments` that has asked the provider, or has the provider's answer."""

    key: str  # what was due when it began
    number: int  # the message that began it
    last_try: bool
    payment: Payment
    answer: Outcome | None = None


class Memory(NamedTuple):
    """The memory of a process, which a crash loses."""

    path: tuple[tuple[int, str], ...] = ()  # events on their way out: place in the log, and how far
    held: tuple[Held, ...] = ()
    works: tuple[Work, ...] = ()


class Copy(NamedTuple):
    """A copy of a message in a queue, or in a retry queue behind it."""

    number: int
    attempt: int = 1


class Queue(NamedTuple):
    """A bag, since any copy may be next. Dead letters have a reason."""

    waiting: tuple[Copy, ...] = ()
    dead: tuple[tuple[int, str], ...] = ()


class Line(NamedTuple):
    """A payment's line in the provider's books, in minor units; `refunds` counts how often money went back."""

    key: Hashable
    outcome: str
    captured: int = 0
    refunded: int = 0
    refunds: int = 0


class Books(NamedTuple):
    """The provider's books, and the requests that it may still act on although nobody waits for the answer."""

    lines: tuple[Line, ...] = ()
    late: tuple[tuple[str, Hashable], ...] = ()


class Activity(NamedTuple):
    """An activity that a workflow waits for. It is `started` while an attempt is under way."""

    name: str
    number: int | None  # its message
    attempt: int = 1
    started: bool = False


class Temporal(NamedTuple):
    """The saga's workflow: how far its newest run has come, the news that it doesn't know yet, and what it waits for.

    `task` is how far a workflow task has come that waits for local steps; it has `taken` the first of what is unseen.
    Only its end makes that part of the history: until then a worker that dies, or is too slow, has done it in vain.
    """

    run: int | None = None
    unseen: tuple[Any, ...] = ()
    activities: tuple[Activity, ...] = ()
    task: int | None = None
    taken: int = 0


class Kind(IntEnum):
    """PROGRESS happens sooner or later, WHIM may happen (a user, a timer, a late request), a FAULT costs budget."""

    PROGRESS = 0
    WHIM = 1
    FAULT = 2


class Label(NamedTuple):
    """Who does what in a move, with which messages, and the result (`telling.py` makes sentences of it)."""

    what: str
    who: str = ""
    numbers: tuple[int, ...] = ()
    detail: str = ""


class Move(NamedTuple):
    """One step of the world: `sets` gives slots new values, `adds` puts copies and dead letters into queues."""

    label: Label
    kind: Kind
    cost: str | None
    sets: tuple[tuple[int, int], ...]
    adds: tuple[tuple[int, int], ...] = ()


class Atlas(Generic[Value]):
    """Numbers values, so that a state is a handful of small integers."""

    def __init__(self) -> None:
        self._numbers: dict[Value, int] = {}
        self._values: list[Value] = []

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, number: int) -> Value:
        return self._values[number]

    def number(self, value: Value) -> int:
        found = self._numbers.get(value)
        if found is None:
            found = self._numbers[value] = len(self._values)
            self._values.append(value)
        return found
