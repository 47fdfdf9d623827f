"""Temporal's part of the world: workflows that go on when they learn something, and activities for the services."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from activities import history
from activities.activity_protocol import submission_of
from activities.steps import StepInput, StepResult
from models.messages import wire_form
from models.saga import (
    Become,
    CreateOrderRequested,
    Illegal,
    Message,
    OrderCancelled,
    OrderCancelRequested,
    OrderCreated,
    PaymentApproved,
    PaymentDeclined,
    PaymentFailed,
)
from tests.model.activations import EXPIRED, NO_TIME_LEFT, Done, Fired, Input, data_of, value_of
from tests.model.bounds import Budget
from tests.model.messages import ORDER, Messages
from tests.model.payments import PaymentService
from tests.model.services import Memories, Service
from tests.model.state import Activity, Held, Kind, Label, Memory, Slot, Store, Temporal
from tests.model.steps import Draft, bag, places, with_memory, without
from tests.model.surroundings import requeued
from tests.model.workflow_runs import Run, Runs
from workflows.saga_steps import READ_EVENTS

# The message that each activity takes (`OrderActivities`, `PaymentActivities`).
_TAKES: Final[dict[str, type[Message]]] = {
    "create_order": CreateOrderRequested,
    "pay_order": PaymentApproved,
    "decline_order": PaymentDeclined,
    "fail_order": PaymentFailed,
    "cancel_order": OrderCancelRequested,
    "republish_cancellation": OrderCancelled,
    "charge_payment": OrderCreated,
    "cancel_payment": OrderCancelled,
}
_PAYS: Final = ("charge_payment", "cancel_payment")
# The budget that a firing timer costs, by the beginning of its summary. None costs nothing.
_TIMERS: Final = {
    "wait for the payment": "timeouts",
    "cancel the order": None,  # of a charge that was given up before its deadline, which is paid already
    "wait for the refund or void": "republications",
    "wait for what came before": "timeouts",
    "wait for a refund of what was under way": None,
}


class Workflows:
    """One workflow, and the activities that it asks of the services."""

    def __init__(
        self,
        runs: Runs,
        messages: Messages,
        orders: Service,
        payments: PaymentService,
        *,
        together: bool,
        budget: Budget,
    ) -> None:
        self.runs = runs
        self._messages = messages
        self._orders = orders
        self._payments = payments
        self._together = together
        self.budget = budget
        self._arguments: dict[int, bytes] = {}
        self._numbers: dict[tuple[str, bytes], int] = {}

    # what a workflow learns

    def begins(self, name: str, argument: bytes, *signals: Input) -> Temporal:
        """A new run, which takes its first task at once."""
        return self.goes_on(Temporal(self.runs.fresh(name, argument), signals))

    def learns(self, temporal: Temporal, *inputs: Input) -> Iterator[Temporal]:
        """The worker takes the news at once, or one piece of it together with what comes next."""
        going = self._besides(inputs, temporal.activities)
        told = temporal._replace(unseen=(*temporal.unseen, *inputs), activities=going)
        if temporal.task is not None:
            yield told  # one task at a time
            return
        yield self.goes_on(told)
        if self._together and not temporal.unseen:
            yield told

    def goes_on(self, temporal: Temporal) -> Temporal:
        """Temporal after a workflow task that takes all the news, or within it, if it waits for local steps."""
        assert temporal.run is not None
        taken = len(temporal.unseen)
        return self.comes_to(temporal._replace(taken=taken), self.runs.go_on(temporal.run, temporal.unseen))

    def comes_to(self, temporal: Temporal, number: int) -> Temporal:
        """The progress of a task with this news. The task ends when it waits for no local step."""
        run, news = self.runs[number], temporal.unseen[temporal.taken :]
        if run.local:
            return temporal._replace(task=number)
        if run.ended and news:
            return temporal._replace(task=None, taken=0)  # the server refuses: it is done again, with the news
        # A timer that fired during the task that cancelled it: the server takes both back.
        news = tuple(each for each in news if not isinstance(each, Fired) or each.timer in run.timers)
        after = self.is_at(number, temporal.activities)
        return after._replace(unseen=news, activities=self._besides(news, after.activities))

    def _besides(self, news: tuple[Input, ...], activities: tuple[Activity, ...]) -> tuple[Activity, ...]:
        """The activities, without those whose end is among the news."""
        ended = {(each.activity, each.argument) for each in news if isinstance(each, Done)}
        return tuple(each for each in activities if (each.name, self.argument(each)) not in ended)

    def is_at(self, number: int, before: tuple[Activity, ...] = ()) -> Temporal:
        """Temporal once a run has come this far. Activities that the run still waits for go on."""
        under_way = {(each.name, each.number): each for each in before}
        asked = [self.activity(each.activity, each.argument) for each in self.runs[number].asked]
        return Temporal(number, (), bag(under_way.get((each.name, each.number), each) for each in asked))

    def activity(self, name: str, argument: bytes) -> Activity:
        if name in READ_EVENTS.values():
            return Activity(name, None)
        if (name, argument) not in self._numbers:
            self._numbers[name, argument] = self._number(name, argument)
        return Activity(name, self._numbers[name, argument])

    def _number(self, name: str, argument: bytes) -> int:
        step = value_of(argument, StepInput)
        submission_of(step, _TAKES[name])  # as the activity does; raises if it can't take the message
        number = self._messages.number_of_step(step)
        self._arguments[number] = argument
        return number

    def argument(self, activity: Activity) -> bytes:
        return data_of(str(ORDER)) if activity.number is None else self._arguments[activity.number]

    def task(self, temporal: Temporal) -> Iterator[Draft]:
        begun = temporal.run is not None and bool(self.run(temporal).history)
        if temporal.task is None and (temporal.unseen or not begun) and temporal.run is not None:
            yield Draft(Label("learn", "workflow"), {Slot.TEMPORAL: self.goes_on(temporal)})

    def timers(self, temporal: Temporal) -> Iterator[Draft]:
        heard = {each.timer for each in temporal.unseen if isinstance(each, Fired)}
        timers = self.run(temporal).timers if temporal.run is not None else ()
        for summary in [each for each in timers if each not in heard]:
            cost = next(cost for start, cost in _TIMERS.items() if summary.startswith(start))
            if cost and not self.budget.allows(cost):
                continue  # what never fires need not be played
            for after in self.learns(temporal, Fired(summary)):
                step = Draft(Label("timer", "workflow", detail=summary), {Slot.TEMPORAL: after})
                yield step.at_a_cost(cost, Kind.WHIM) if cost else step

    def run(self, temporal: Temporal) -> Run:
        assert temporal.run is not None
        return self.runs[temporal.run]

    # activities of the order service: a transaction, and its answer

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

    # activities of the payment service: the provider works in between

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
