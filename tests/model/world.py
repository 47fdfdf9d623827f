"""The world of one saga knows every move from a state, and works out each move once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from operator import itemgetter
from typing import Any, Final

from models.saga import Coordinator
from tests.model.bounds import COSTS, Scenario
from tests.model.local_steps import LocalSteps
from tests.model.messages import QUEUES, TOTAL, Messages
from tests.model.mirror import Mirror
from tests.model.payments import PaymentService, Provider
from tests.model.rules import Ledger, Rules
from tests.model.services import Service
from tests.model.state import Atlas, Books, Copy, Kind, Memory, Move, Queue, Slot, State, Store, Temporal
from tests.model.steps import Draft, bag
from tests.model.surroundings import Surroundings
from tests.model.temporal_activities import Activities
from tests.model.twin import Twin
from tests.model.workflow_runs import Runs

# Moves that could come between a step and its acknowledgement, or between an event's commit and its publication.
ACKS: Final = {"crashes", "disconnects"}
PUBLICATIONS: Final = {"crashes", "recommits", "unconfirmed", "repeats", "republications"}
_SLOT_OF_QUEUE: Final = dict(zip(QUEUES, (Slot.ORDER_QUEUE, Slot.PAYMENT_QUEUE, Slot.MIRROR_QUEUE), strict=True))


class Actor:
    """An actor of the world, and the parts of the state that its moves depend on."""

    def __init__(self, reads: tuple[Slot, ...], steps: Callable[..., Iterator[Draft]]) -> None:
        self.reads = reads
        self.key: Callable[[State], Any] = itemgetter(*reads) if reads else lambda _: ()
        self.steps = steps
        self.known: dict[Any, tuple[Move, ...]] = {}


class World:
    """All states of one scenario under some rules."""

    def __init__(self, scenario: Scenario, rules: Rules) -> None:
        self.scenario = scenario
        self.rules = rules
        self.messages = Messages()
        self.atlas: tuple[Atlas[Any], ...] = tuple(Atlas() for _ in Slot)
        self._bags: Atlas[Any] = Atlas()
        self._merged: dict[tuple[int, int], int] = {}
        self._used_up: dict[int, frozenset[str]] = {}
        self._spent: dict[tuple[int, str], int | None] = {}
        self._allowed = {cost for cost, place in COSTS.items() if scenario.budget.left()[place]}
        self._ledger = Ledger(rules, self.messages, publishes=scenario.publishes)
        delays = (1.0,) * scenario.retries
        self.order_service = Service(rules, self._ledger, self.messages, delays, scenario.prefetch)
        self.payment_service = PaymentService(rules, self._ledger, self.messages, delays, scenario.prefetch)
        self.payment_service.provider = Provider(
            verdicts=scenario.verdicts, one_refund_a_key=rules.discipline.one_refund_a_key
        )
        self.surroundings = Surroundings(self._ledger, self.messages, rules.discipline)
        runs = Runs(rules.workflows)
        self.workflows = Activities(
            runs,
            self.messages,
            self.order_service,
            self.payment_service,
            together=scenario.together,
            budget=scenario.budget,
        )
        self.local = LocalSteps(self.workflows, self.order_service)
        self.twin = Twin(self.workflows, self.messages, scenario.retries)
        self.mirror = Mirror(self.workflows, self.messages, rules.discipline)
        self.actors = tuple(self._actors())
        self._settlers = [actor for actor in self.actors if actor.steps.__name__ == "settle"]
        self._publishers = [actor for actor in self.actors if actor.steps.__name__ == "publish"]

    def start(self) -> State:
        """The first state: the order is accepted, and the broker has confirmed its command."""
        create = Copy(self.messages.create(Coordinator.CHOREOGRAPHY))
        orchestrated = self.scenario.coordinator is Coordinator.ORCHESTRATION
        first: dict[Slot, Hashable] = {
            Slot.ORDERS: Store(),
            Slot.PAYMENTS: Store(),
            Slot.ORDER_MEMORY: (Memory(),) * self.scenario.order_services,
            Slot.PAYMENT_MEMORY: (Memory(),) * self.scenario.payment_services,
            Slot.ORDER_QUEUE: Queue(waiting=() if orchestrated else (create,)),
            Slot.PAYMENT_QUEUE: Queue(),
            Slot.MIRROR_QUEUE: Queue(),
            Slot.PROVIDER: Books(),
            Slot.TEMPORAL: self.twin.start() if orchestrated else Temporal(),
            Slot.BUDGET: self.scenario.budget.left(),
        }
        return tuple(self.atlas[slot].number(first[slot]) for slot in Slot)

    def left(self, state: State) -> tuple[Any, ...]:
        """What both coordinators must leave alike: order, payment, the provider's books and the event logs."""
        orders, payments, books = (self.value(state, slot) for slot in (Slot.ORDERS, Slot.PAYMENTS, Slot.PROVIDER))
        lines = tuple((line.outcome, line.captured, line.refunded) for line in books.lines)
        order = orders.row and (orders.row.status.value, orders.row.cancel_reason)
        payment = payments.row and (payments.row.status.value, payments.row.due)
        return order, payment, lines, self.messages.causes(orders.log), self.messages.causes(payments.log)

    def value(self, state: State, slot: Slot) -> Any:
        return self.atlas[slot][state[slot]]

    def moves_of(self, state: State) -> Iterable[Move]:
        """Every move to explore, whether or not the budget allows it."""
        at_once = self._at_once(state) if self.scenario.reduced else None
        if at_once is not None:
            return (at_once,)
        return (move for actor in self.actors for move in self._moves(actor, state))

    def _at_once(self, state: State) -> Move | None:
        """A move that is explored alone, because its order with others makes no difference any more.

        Once nothing is left that could prevent it, an acknowledgement commutes with every other move, and no invariant
        looks at it. So does publishing by the fast path, where all that is in the outbox is on its way by it: a message
        may wait in its queue for as long as it could have waited to be published.
        """
        exhausted = self._exhausted(state[Slot.BUDGET])
        if exhausted >= ACKS:
            for actor in self._settlers:
                for move in self._moves(actor, state):
                    if move.label.what == "ack":
                        return move
        if exhausted >= PUBLICATIONS and self._publishes_undisturbed(state):
            for actor in self._publishers:
                moves = [move for move in self._moves(actor, state) if move.kind is Kind.PROGRESS]
                if moves and all(move.label.what in ("publish", "forget") for move in moves):
                    return moves[0]
        return None

    def _publishes_undisturbed(self, state: State) -> bool:
        """Whether neither another instance nor a requested republication touches the outbox."""
        temporal = self.value(state, Slot.TEMPORAL)
        alone = self.scenario.order_services == self.scenario.payment_services == 1
        return alone and all(each.name != "republish_cancellation" for each in temporal.activities)

    def _exhausted(self, budget: int) -> frozenset[str]:
        """The events for which no budget is left."""
        found = self._used_up.get(budget)
        if found is None:
            left = self.atlas[Slot.BUDGET][budget]
            found = self._used_up[budget] = frozenset(cost for cost, place in COSTS.items() if not left[place])
        return found

    def _moves(self, actor: Actor, state: State) -> tuple[Move, ...]:
        key = actor.key(state)
        found = actor.known.get(key)
        if found is None:
            values = [self.value(state, slot) for slot in actor.reads]
            found = actor.known[key] = tuple(
                self._move(step) for step in actor.steps(*values) if step.cost is None or step.cost in self._allowed
            )
        return found

    def after(self, state: State, move: Move) -> State | None:
        """The state after a move; None if the budget doesn't allow it."""
        budget = state[Slot.BUDGET]
        if move.cost is not None:
            left = self._spent.get((budget, move.cost), -1)
            if left == -1:
                left = self._spent[budget, move.cost] = self._spend(budget, move.cost)
            if left is None:
                return None
            budget = left
        new = list(state)
        for slot, number in move.sets:
            new[slot] = number
        for slot, more in move.adds:
            key = (new[slot] * 16 + slot, more)
            merged = self._merged.get(key)
            if merged is None:
                merged = self._merged[key] = self._merge(slot, new[slot], more)
            new[slot] = merged
        new[Slot.BUDGET] = budget
        return tuple(new)

    def _spend(self, budget: int, cost: str) -> int | None:
        left = list(self.atlas[Slot.BUDGET][budget])
        place = COSTS[cost]
        if left[place] == 0:
            return None
        left[place] -= 1
        return self.atlas[Slot.BUDGET].number(tuple(left))

    def _merge(self, slot: int, queue: int, more: int) -> int:
        before: Queue = self.atlas[slot][queue]
        waiting, dead = self._bags[more]
        return self.atlas[slot].number(Queue(bag([*before.waiting, *waiting]), bag([*before.dead, *dead])))

    def _move(self, step: Draft) -> Move:
        waiting: dict[Slot, list[Copy]] = {}
        dead: dict[Slot, list[tuple[int, str]]] = {}
        for number in step.sends:
            for queue in self.messages.queues(number):
                waiting.setdefault(_SLOT_OF_QUEUE[queue], []).append(Copy(number))
        for slot, copy in step.puts:
            waiting.setdefault(slot, []).append(copy)
        for slot, number, reason in step.buries:
            dead.setdefault(slot, []).append((number, reason))
        if not self.scenario.mirror:
            waiting.pop(Slot.MIRROR_QUEUE, None)
        adds = tuple(
            (int(slot), self._bags.number((tuple(waiting.get(slot, ())), tuple(dead.get(slot, ())))))
            for slot in sorted({*waiting, *dead})
        )
        sets = tuple((int(slot), self.atlas[slot].number(value)) for slot, value in step.sets.items())
        return Move(step.label, step.kind, step.cost, sets, adds)

    def _actors(self) -> Iterator[Actor]:
        for service in (self.order_service, self.payment_service):
            yield Actor((service.store, service.memory, service.queue), service.consume)
            yield Actor((service.store, service.memory), service.settle)
            yield Actor((service.store, service.memory), service.publish)
            yield Actor((service.memory, Slot.PROVIDER), service.fail)
        payments, around = self.payment_service, self.surroundings
        yield Actor((payments.store, payments.memory, Slot.PROVIDER), payments.work)
        yield Actor((Slot.PROVIDER,), lambda books: payments.be_late(books, TOTAL))
        for slot in (Slot.ORDER_QUEUE, Slot.PAYMENT_QUEUE):
            yield Actor((slot,), lambda queue, slot=slot: around.redrive(slot, queue))
        if self.scenario.coordinator is Coordinator.CHOREOGRAPHY:
            yield Actor((), around.cancel)
            yield Actor((Slot.ORDERS, Slot.PAYMENTS), around.repeat)
            if self.scenario.mirror:
                yield Actor((Slot.MIRROR_QUEUE, Slot.TEMPORAL), self.mirror.feed)
            else:
                yield Actor((Slot.ORDERS, Slot.ORDER_MEMORY), around.time_out)
                yield Actor((Slot.ORDERS,), around.republish)
        else:
            yield Actor((Slot.TEMPORAL,), self.twin.cancel)
            if self.scenario.stray_cancels:
                yield Actor((), around.cancel)
        if self.scenario.mirror or self.scenario.coordinator is Coordinator.ORCHESTRATION:
            yield from self._actors_of_temporal()

    def _actors_of_temporal(self) -> Iterator[Actor]:
        temporal, flows = Slot.TEMPORAL, self.workflows
        yield Actor((temporal,), flows.task)
        yield Actor((temporal,), flows.timers)
        yield Actor((temporal, Slot.ORDERS, Slot.ORDER_MEMORY), flows.order_steps)
        yield Actor((temporal, Slot.ORDERS, Slot.PAYMENTS), flows.reads)
        yield Actor((temporal, Slot.PAYMENTS, Slot.PAYMENT_MEMORY), flows.payment_steps)
        yield Actor((temporal, Slot.PAYMENT_MEMORY), flows.notices)
        yield Actor((temporal,), flows.deadlines)
        yield Actor((temporal, Slot.ORDERS, Slot.ORDER_MEMORY), self.local.steps)
        yield Actor((temporal, Slot.ORDER_MEMORY), self.local.cut_short)
