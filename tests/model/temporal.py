"""Temporal's part of the world: a workflow that goes on when it learns something, and its timers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from activities.activity_protocol import submission_of
from activities.steps import StepInput
from models.saga import (
    CreateOrderRequested,
    Message,
    OrderCancelled,
    OrderCancelRequested,
    OrderCreated,
    PaymentApproved,
    PaymentDeclined,
    PaymentFailed,
)
from tests.model.activations import Done, Fired, Input, data_of, value_of
from tests.model.bounds import Budget
from tests.model.messages import ORDER, Messages
from tests.model.payments import PaymentService
from tests.model.services import Service
from tests.model.state import Activity, Kind, Label, Slot, Temporal
from tests.model.steps import Draft, bag
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
# The budget that a firing timer costs, by the beginning of its summary. None costs nothing.
_TIMERS: Final = {
    "wait for the payment": "timeouts",
    "cancel the order": None,  # of a charge that was given up before its deadline, which is paid already
    "wait for the refund or void": "republications",
    "wait for what came before": "timeouts",
    "wait for a refund of what was under way": None,
}


class Workflows:
    """One workflow, and the activities that it waits for."""

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
