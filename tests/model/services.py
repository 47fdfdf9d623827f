"""A service's process takes, commits, acknowledges, publishes and sweeps, and may crash between any two of these."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

from choreography.disposition import Ack, RetryAfter, dispose
from models.saga import Coordinator, Illegal
from tests.model.messages import Messages
from tests.model.rules import REACTIONS, Ledger, Rules, with_path
from tests.model.state import (
    CONFIRMED,
    DEFERRED,
    GONE,
    LOST,
    OFFERED,
    PUBLISHED,
    RELAYED,
    Books,
    Copy,
    Held,
    Kind,
    Label,
    Memory,
    Queue,
    Slot,
    Store,
)
from tests.model.steps import Draft, bag, places, with_memory, without

Memories = tuple[Memory, ...]


class Service:
    """The part that both services share. The payment service also works at the provider (`payments.py`)."""

    side = "order"
    store, memory, queue = Slot.ORDERS, Slot.ORDER_MEMORY, Slot.ORDER_QUEUE

    def __init__(
        self, rules: Rules, ledger: Ledger, messages: Messages, delays: tuple[float, ...], prefetch: int
    ) -> None:
        self.rules, self.discipline = rules, rules.discipline
        self.ledger = ledger
        self.messages = messages
        self.delays = delays
        self.prefetch = prefetch

    # from the queue to the acknowledgement: `Consumer._handle`

    def consume(self, store: Store, memories: Memories, queue: Queue) -> Iterator[Draft]:
        for copy in dict.fromkeys(queue.waiting):
            rest = queue._replace(waiting=without(queue.waiting, copy))
            for place in places(memories):
                if len(memories[place].held) >= self.prefetch:
                    continue
                for again in (False, True):
                    taken, after, memory = self._react(store, memories[place], copy, again)
                    sets = {self.store: after, self.memory: with_memory(memories, place, memory), self.queue: rest}
                    label = Label(
                        "take again" if again else "take", self.side, (copy.number,), f"attempt {copy.attempt}: {taken}"
                    )
                    step = Draft(label, sets, sends=self._too_soon(taken, store, copy))
                    yield step.at_a_cost("recommits") if again else step

    def _react(self, store: Store, memory: Memory, copy: Copy, again: bool) -> tuple[str, Store, Memory]:
        """Take and commit a delivery in one step (`Consumer._react`), since nobody can see the state in between."""
        number, attempt = copy
        if self._is_orchestrated(number):
            return "not for me", store, self.hold(memory, Held(number, attempt, "ack"))
        if type(self.messages.message(number)) not in REACTIONS[self.side]:
            return "misrouted", store, self.hold(memory, Held(number, attempt, "bury MALFORMED"))
        if not self.discipline.commit_before_ack:
            return "acknowledged", store, self.hold(memory, Held(number, attempt, "apply"))
        if not self.discipline.commit_before_publishing:
            return "published", store, self.hold(memory, Held(number, attempt, "commit"))
        return self.apply(store, memory, Held(number, attempt, ""), again=again)

    def _is_orchestrated(self, number: int) -> bool:
        orchestrated = self.messages.envelope(number).coordinator is Coordinator.ORCHESTRATION
        return orchestrated and self.discipline.ignores_orchestrated

    def apply(self, store: Store, memory: Memory, held: Held, *, again: bool = False) -> tuple[str, Store, Memory]:
        """Commit the result of the message, and hold the next step."""
        entry = self.messages.entry(held.number)
        result, after, memory = self.ledger.commit(self.side, store, memory, entry, again=again)
        return type(result).__name__, after, self.hold(memory, held._replace(then=self.disposed(held, result)))

    def disposed(self, held: Held, result: Any) -> str:
        """The next step of a delivery (`dispose`), or of an attempt of an activity, after this result."""
        if held.activity is not None:
            return "refuse" if isinstance(result, Illegal) else "report"
        disposition = dispose(result, held.attempt, self.delays)
        if isinstance(disposition, Ack):
            return "ack"
        return "retry" if isinstance(disposition, RetryAfter) else f"bury {disposition.reason}"

    def hold(self, memory: Memory, held: Held) -> Memory:
        return memory._replace(held=bag([*memory.held, held]))

    def _too_soon(self, taken: str, store: Store, copy: Copy) -> tuple[int, ...]:
        """The event that is published before its commit, under the fault that does so."""
        if taken != "published":
            return ()
        applied = self.ledger.decide(self.side, store.row, self.messages.entry(copy.number))
        event = None if isinstance(applied, Exception) else applied.event
        return () if event is None else (self.messages.number(event),)

    # what the process does with what it holds

    def settle(self, store: Store, memories: Memories) -> Iterator[Draft]:
        """`Consumer._settle`, and what faults do in its place."""
        for place in places(memories):
            memory = memories[place]
            for held in dict.fromkeys(memory.held):
                rest = memory._replace(held=without(memory.held, held))
                for what, after, then, puts, buries in self._next(store, rest, held):
                    sets = {self.store: after, self.memory: with_memory(memories, place, then)}
                    yield Draft(Label(what, self.side, (held.number,)), sets, puts=puts, buries=buries)

    def _next(self, store: Store, rest: Memory, held: Held) -> Iterator[tuple[str, Store, Memory, Any, Any]]:
        match held.then.split(" "):
            case ["ack"]:
                yield "ack", store, rest, (), ()
            case ["retry"] if not self.discipline.store_before_ack:
                yield "ack", store, self.hold(rest, held._replace(then="store")), (), ()
            case ["retry" | "store" as when]:
                # Stored elsewhere before it is acknowledged here. The retry queue is part of the bag behind the inbox.
                then = self.hold(rest, held._replace(then="ack")) if when == "retry" else rest
                yield "retry", store, then, [(self.queue, Copy(held.number, held.attempt + 1))], ()
            case ["bury", reason]:
                then = self.hold(rest, held._replace(then="ack"))
                yield "bury", store, then, (), [(self.queue, held.number, reason)]
            case ["again"]:
                _, after, then = self.apply(store, rest, held)
                yield "ask again", after, then, (), ()
            case ["apply" | "commit" as late]:
                _, after, then = self.apply(store, rest, held)
                if late == "apply":  # it has been acknowledged already
                    then = then._replace(held=tuple(each for each in then.held if each.then != "ack"))
                yield "apply", after, then, (), ()

    # from the event log to the exchange: `Publisher` and `Relay`

    def publish(self, store: Store, memories: Memories) -> Iterator[Draft]:
        for place in places(memories):
            memory = memories[place]
            for at, phase in self._first_of_each_phase(memory):
                yield from self._fast_path(store, memories, place, at, phase)
            if not any(phase == RELAYED for each in memories for _, phase in each.path):  # one relay at a time
                yield from self._sweep(store, memories, place)
            else:
                yield from self._end_sweep(store, memories, place)

    def _first_of_each_phase(self, memory: Memory) -> list[tuple[int, str]]:
        firsts: dict[str, int] = {}
        for at, phase in memory.path:
            firsts.setdefault(phase, at)
        return [(at, phase) for phase, at in firsts.items() if phase in (OFFERED, CONFIRMED)]

    def _fast_path(self, store: Store, memories: Memories, place: int, at: int, phase: str) -> Iterator[Draft]:
        memory, number = memories[place], store.log[at]
        gone = with_path(memory, drop=[(at, phase)])

        def step(what: str, store: Store, memory: Memory, sends: tuple[int, ...] = ()) -> Draft:
            sets = {self.store: store, self.memory: with_memory(memories, place, memory)}
            return Draft(Label(what, self.side, (number,)), sets, sends=sends)

        first = OFFERED if self.discipline.confirm_before_forgetting else CONFIRMED
        if phase == first:
            there = _marked(store, [at], published=True)
            after = with_path(gone, add=[(at, CONFIRMED)]) if first == OFFERED else gone
            yield step("publish", there, after, (number,))
            yield step("publish without confirm", there, gone, (number,)).at_a_cost("unconfirmed")
            yield step("publish in vain", store, gone).at_a_cost("unconfirmed")
        else:
            after = gone if first == OFFERED else with_path(gone, add=[(at, CONFIRMED)])
            yield step("forget", _marked(store, [at], gone=True), after)

    def _sweep(self, store: Store, memories: Memories, place: int) -> Iterator[Draft]:
        """All rows of the order, once one row is deferred or old. A row that no fast path carries gets old in time."""
        rows = [at for at, mark in enumerate(store.marks) if mark not in (GONE, LOST)]
        if not rows:
            return
        carried = {at for each in memories for at, _ in each.path}
        left = any(
            store.marks[at] & DEFERRED or (at not in carried and self.discipline.relay_finds_old_rows) for at in rows
        )
        swept = with_path(memories[place], add=[(at, RELAYED) for at in rows])
        numbers = tuple(store.log[at] for at in rows)
        if self.discipline.relay_deletes_after_publishing:
            sets = {self.store: _marked(store, rows, published=True), self.memory: with_memory(memories, place, swept)}
            sweep = Draft(Label("sweep", self.side, numbers), sets, sends=numbers)
        else:
            sets = {self.store: _marked(store, rows, gone=True), self.memory: with_memory(memories, place, swept)}
            sweep = Draft(Label("sweep", self.side, numbers), sets)
        # A fast path that takes longer than the relay's grace has its events published twice.
        yield sweep if left else sweep.at_a_cost("repeats")

    def _end_sweep(self, store: Store, memories: Memories, place: int) -> Iterator[Draft]:
        rows = [at for at, phase in memories[place].path if phase == RELAYED]
        if not rows:
            return
        after = with_memory(memories, place, with_path(memories[place], drop=[(at, RELAYED) for at in rows]))
        if self.discipline.relay_deletes_after_publishing:
            sets = {self.store: _marked(store, rows, gone=True), self.memory: after}
            yield Draft(Label("end sweep", self.side), sets)
        else:
            numbers = tuple(store.log[at] for at in rows)
            sets = {self.store: _marked(store, rows, published=True), self.memory: after}
            yield Draft(Label("end sweep", self.side, numbers), sets, sends=numbers)

    # what goes wrong

    def fail(self, memories: Memories, books: Books) -> Iterator[Draft]:
        for place in places(memories):
            memory = memories[place]
            held = [each for each in memory.held if self._is_unacknowledged(each)]
            back = [(self.queue, Copy(each.number, each.attempt)) for each in held]
            if memory != Memory():
                dead = {self.memory: with_memory(memories, place, Memory()), **self.left_behind(memory, books)}
                yield Draft(Label("crash", self.side), dead, puts=back, kind=Kind.FAULT, cost="crashes")
            if held:
                # The process goes on, but can no longer acknowledge anything. The broker delivers everything again.
                rest = memory._replace(held=tuple(each for each in memory.held if each not in held))
                cut = {self.memory: with_memory(memories, place, rest)}
                yield Draft(Label("disconnect", self.side), cut, puts=back, kind=Kind.FAULT, cost="disconnects")

    def left_behind(self, _memory: Memory, _books: Books) -> dict[Slot, Hashable]:
        """The traces that a crash of this process leaves elsewhere."""
        return {}

    def _is_unacknowledged(self, held: Held) -> bool:
        return held.activity is None and held.then not in ("apply", "store")


def _marked(store: Store, rows: list[int], *, published: bool = False, gone: bool = False) -> Store:
    marks = list(store.marks)
    for at in rows:
        if published:
            marks[at] = GONE if marks[at] in (GONE, LOST) else marks[at] | PUBLISHED
        if gone:
            marks[at] = GONE if marks[at] == GONE or marks[at] & PUBLISHED else LOST
    return store._replace(marks=tuple(marks))
