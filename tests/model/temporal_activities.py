"""The activities that a workflow asks of the services: what they do to the stores, and what they answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from activities import history
from activities.steps import StepResult
from models.messages import wire_form
from models.saga import Become, Illegal
from tests.model.activations import EXPIRED, NO_TIME_LEFT, Done, data_of
from tests.model.services import Memories
from tests.model.state import Activity, Held, Kind, Label, Memory, Slot, Store, Temporal
from tests.model.steps import Draft, bag, places, with_memory, without
from tests.model.surroundings import requeued
from tests.model.temporal import Workflows

_PAYS: Final = ("charge_payment", "cancel_payment")


class Activities(Workflows):
    """One workflow and the activities of both services: a transaction each, or provider calls between two of them."""

    def order_steps(self, temporal: Temporal, store: Store, memories: Memories) -> Iterator[Draft]:
        for activity in temporal.activities:
            if activity.name in _PAYS or activity.number is None:
                continue
            for place in places(memories):
                done, after, memory = self.order_step(activity, store, memories[place])
                sets = {Slot.ORDERS: after, Slot.ORDER_MEMORY: with_memory(memories, place, memory)}
                for learnt in self.learns(temporal, done):
                    yield Draft(Label("step", "order", detail=activity.name), {**sets, Slot.TEMPORAL: learnt})
                yield Draft(Label("step in vain", "order", detail=activity.name), sets).at_a_cost("incomplete")

    def order_step(self, activity: Activity, store: Store, memory: Memory) -> tuple[Done, Store, Memory]:
        assert activity.number is not None
        if activity.name == "republish_cancellation":
            after = requeued(self._messages, store)
            result = StepResult(decision="become" if after != store else "stale", why=None, status=None, events=[])
            return self._completed(activity, result), after, memory
        decision, after, memory = self._orders.ledger.commit(
            "order", store, memory, self._messages.entry(activity.number)
        )
        return self._answer(activity, decision, after), after, memory

    def _answer(self, activity: Activity, decision: Any, store: Store) -> Done:
        """The events that follow from the message, whoever logged them (`OrderActivities._apply`)."""
        assert activity.number is not None
        if isinstance(decision, Illegal | Exception):
            return Done(activity.name, self.argument(activity), None, type(decision).__name__)
        cause = self._messages.envelope(activity.number).event_id
        logged = [self._messages.envelope(number) for number in store.log]
        result = StepResult(
            decision=history._NAMES[type(decision)],
            why=None if isinstance(decision, Become) else decision.why,
            status=store.row.status if store.row else None,
            events=[wire_form(each) for each in logged if each.causation_id == cause],
        )
        return self._completed(activity, result)

    def _completed(self, activity: Activity, result: StepResult) -> Done:
        return Done(activity.name, self.argument(activity), data_of(result))

    def reads(self, temporal: Temporal, orders: Store, payments: Store) -> Iterator[Draft]:
        for activity in temporal.activities:
            if activity.number is None:
                for after in self.learns(temporal, self.read(activity, orders, payments)):
                    side = "order" if activity.name == "read_order_events" else "payment"
                    yield Draft(Label("step", side, detail=activity.name), {Slot.TEMPORAL: after})

    def read(self, activity: Activity, orders: Store, payments: Store) -> Done:
        log = orders.log if activity.name == "read_order_events" else payments.log
        events = [wire_form(self._messages.envelope(number)) for number in log]
        return Done(activity.name, self.argument(activity), data_of(events))

    def deadlines(self, temporal: Temporal) -> Iterator[Draft]:
        """The charge passes the payment's deadline. Its attempt goes on, and nobody waits for it."""
        for activity in temporal.activities:
            if activity.name == "charge_payment" and self.budget.allows("timeouts"):
                yield from self._gives_up(temporal, activity, EXPIRED)

    def _gives_up(self, temporal: Temporal, activity: Activity, why: str) -> Iterator[Draft]:
        for after in self.learns(temporal, Done(activity.name, self.argument(activity), None, why)):
            label = Label("expire", "workflow", detail=f"{activity.name}: {why}")
            yield Draft(label, {Slot.TEMPORAL: after}).at_a_cost("timeouts", Kind.WHIM)

    def payment_steps(self, temporal: Temporal, store: Store, memories: Memories) -> Iterator[Draft]:
        for activity in temporal.activities:
            if activity.name in _PAYS and not activity.started:
                for place in places(memories):
                    yield self._begin(temporal, store, memories, place, activity)
        for place in places(memories):
            for held in dict.fromkeys(memories[place].held):
                if held.activity is not None:
                    yield from self._end(temporal, store, memories, place, held)

    def _begin(self, temporal: Temporal, store: Store, memories: Memories, place: int, activity: Activity) -> Draft:
        assert activity.number is not None
        held = Held(activity.number, activity.attempt, "", activity.name)
        taken, after, memory = self._payments.apply(store, memories[place], held)
        started = bag([*without(temporal.activities, activity), activity._replace(started=True)])
        sets = {
            Slot.PAYMENTS: after,
            Slot.PAYMENT_MEMORY: with_memory(memories, place, memory),
            Slot.TEMPORAL: temporal._replace(activities=started),
        }
        told = f"{activity.name}, attempt {activity.attempt}: {taken}"
        return Draft(Label("begin", "payment", detail=told), sets)

    def _end(self, temporal: Temporal, store: Store, memories: Memories, place: int, held: Held) -> Iterator[Draft]:
        memory = memories[place]
        rest = with_memory(memories, place, memory._replace(held=without(memory.held, held)))
        mine = Activity(str(held.activity), held.number, held.attempt, started=True)
        if mine not in temporal.activities:
            if held.then in ("report", "fail", "refuse"):  # nobody waits for it any more
                yield Draft(Label("report in vain", "payment", detail=mine.name), {Slot.PAYMENT_MEMORY: rest})
            return
        ended = {Slot.PAYMENT_MEMORY: rest, Slot.TEMPORAL: self._again(temporal, mine)}
        match held.then:
            case "report" | "refuse":
                row = store.row
                decision: Any = Become(state=row) if held.then == "report" else RuntimeError("refused for good")
                for after in self.learns(temporal, self._answer(mine, decision, store)):
                    label = Label(held.then, "payment", detail=mine.name)
                    yield Draft(label, {Slot.PAYMENT_MEMORY: rest, Slot.TEMPORAL: after})
            case "fail":
                yield Draft(Label("fail", "payment", detail=mine.name), ended)
                if mine.name == "charge_payment":
                    for late in self._gives_up(temporal, mine, NO_TIME_LEFT):
                        yield late._replace(sets={**late.sets, Slot.PAYMENT_MEMORY: rest})
        # Temporal hears nothing of the attempt for too long, and the attempt goes on.
        yield Draft(Label("give up", "workflow", detail=mine.name), ended).at_a_cost("incomplete")

    def notices(self, temporal: Temporal, memories: Memories) -> Iterator[Draft]:
        """An attempt whose process has died sends no heartbeats any more."""
        held = {(each.activity, each.number) for memory in memories for each in memory.held}
        for activity in temporal.activities:
            if activity.started and (activity.name, activity.number) not in held:
                label = Label("notice", "workflow", detail=activity.name)
                yield Draft(label, {Slot.TEMPORAL: self._again(temporal, activity)})

    def _again(self, temporal: Temporal, activity: Activity) -> Temporal:
        tries = len(self._payments.delays) + 1
        attempt = min(activity.attempt + 1, tries) if activity.name == "charge_payment" else activity.attempt
        again = activity._replace(attempt=attempt, started=False)
        return temporal._replace(activities=bag([*without(temporal.activities, activity), again]))
