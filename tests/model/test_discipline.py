"""The model's payment service and the real `Payments` do the same on every random walk."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from activities.book import Applied, Submission
from activities.payments import Payments
from activities.providers import ProviderUnavailable
from models.outcome import Outcome
from models.payment import Payment
from models.saga import Coordinator
from tests.model.bounds import Budget, Scenario
from tests.model.messages import Messages
from tests.model.payments import PaymentService
from tests.model.rules import Discipline, Rules
from tests.model.state import Books, Copy, Held, Memory, Queue, Slot, Store
from tests.model.steps import Draft
from tests.model.world import World

_LATER = ("retry", "bury", "ack")


class _Surroundings:
    """Ledger and provider of a `Payments`. Each request waits until the walk answers it."""

    def __init__(self) -> None:
        self.submitted: list[tuple[Submission, asyncio.Future[Any]]] = []
        self.asked: list[tuple[str, asyncio.Future[Any]]] = []

    def submit(self, entry: Submission) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        self.submitted.append((entry, future))
        return future

    async def charge(self, _payment: Payment, *, correlation_id: str) -> Any:
        assert correlation_id
        return await self._ask("charge")

    async def void(self, _payment: Payment, **_: Any) -> Any:
        return await self._ask("void")

    async def refund(self, _payment: Payment, **_: Any) -> Any:
        return await self._ask("refund")

    async def _ask(self, verb: str) -> Any:
        future = asyncio.get_running_loop().create_future()
        self.asked.append((verb, future))
        return await future


class _Walk:
    """Takes the same step in the model and in production's code. Then both must wait for the same requests."""

    def __init__(self, seed: int, rules: Rules) -> None:
        self._random = random.Random(seed)
        scenario = Scenario(name="a walk", budget=Budget(unanswered=1), prefetch=4)
        world = World(scenario, rules)
        self._service: PaymentService = world.payment_service
        self._messages: Messages = world.messages
        created, cancelled = _order_events(world)
        self._store, self._memory, self._books = Store(), Memory(), Books()
        self._queue = Queue(waiting=(Copy(created), Copy(created), Copy(cancelled), Copy(cancelled, 2)))
        self._surroundings = _Surroundings()
        surroundings: Any = self._surroundings
        self._real = Payments(surroundings, surroundings)
        self._applying: list[tuple[Held, asyncio.Task[Any]]] = []
        self._calls: dict[tuple[str, int], asyncio.Future[Any]] = {}

    async def take(self) -> bool:
        """Take one step in both. Returns False when no step is left."""
        steps = [step for step in self._steps() if step.cost != "recommits"]
        if not steps:
            return False
        step = self._random.choice(steps)
        before, row = self._memory, self._store.row
        self._store = step.sets.get(Slot.PAYMENTS, self._store)  # type: ignore[assignment]
        (self._memory,) = step.sets[Slot.PAYMENT_MEMORY]  # type: ignore[misc]
        self._books = step.sets.get(Slot.PROVIDER, self._books)  # type: ignore[assignment]
        self._queue = step.sets.get(Slot.PAYMENT_QUEUE, self._queue)  # type: ignore[assignment]
        self._queue = self._queue._replace(waiting=(*self._queue.waiting, *(copy for _, copy in step.puts)))
        await self._follow(step, before, row)
        self._compare(step)
        return True

    def _steps(self) -> Iterator[Draft]:
        yield from self._service.consume(self._store, (self._memory,), self._queue)
        yield from self._service.work(self._store, (self._memory,), self._books)
        yield from self._service.settle(self._store, (self._memory,))

    async def _follow(self, step: Draft, before: Memory, row: Any) -> None:
        ended = [each for each in before.works if each not in self._memory.works]
        match step.label.what:
            case "take":
                attempt = int(step.label.detail.split(":")[0].removeprefix("attempt "))
                held = Held(step.label.numbers[0], attempt, "")
                entry = self._messages.entry(held.number)
                task = asyncio.create_task(self._real.apply(entry, last_try=attempt > len(self._service.delays)))
                await _settle()
                self._applying.append((held, task))
                self._commit(row, entry)
            case "ask again":
                self._commit(row, self._messages.entry(step.label.numbers[0]))
            case "record":
                (work,) = [each for each in ended if each.answer is not None]
                self._commit(row, replace(self._messages.entry(work.number), message=_known(work.answer)))
            case "answer" | "lose the answer" | "be late":
                (work,) = ended
                future = self._calls.pop((work.key, work.number))
                answered = next((each for each in self._memory.works if each.key == work.key), None)
                if step.label.what == "answer" and answered is not None and "Unavailable" not in step.label.detail:
                    future.set_result(answered.answer)
                else:
                    future.set_exception(ProviderUnavailable("no answer"))
        await _settle()
        for work in self._memory.works:
            if work.answer is None and (work.key, work.number) not in self._calls:
                self._calls[work.key, work.number] = self._surroundings.asked.pop()[1]

    def _commit(self, row: Any, entry: Submission) -> None:
        """Answer a submitted message as the model's ledger does."""
        place = next(place for place, (submitted, _) in enumerate(self._surroundings.submitted) if submitted == entry)
        _, future = self._surroundings.submitted.pop(place)
        applied = self._service.ledger.decide("payment", row, entry)
        assert isinstance(applied, Applied)
        future.set_result(applied)

    def _compare(self, step: Draft) -> None:
        assert not self._surroundings.asked, f"after {step.label}: the provider was asked where the model asks nobody"
        answered = [work for work in self._memory.works if work.answer is not None]
        again = [held for held in self._memory.held if held.then == "again"]
        expected = [*(work.answer for work in answered), *(self._messages.message(held.number) for held in again)]
        submitted = [entry.message for entry, _ in self._surroundings.submitted]
        assert sorted(map(repr, submitted)) == sorted(map(repr, expected)), f"after {step.label}"
        self._compare_waiting(step)

    def _compare_waiting(self, step: Draft) -> None:
        """Prove that the same callers wait in model and production, and that the others have the same results."""
        waiting = [(held.number, held.attempt) for held in self._memory.held if held.then.split(" ")[0] not in _LATER]
        going = [(held.number, held.attempt) for held, task in self._applying if not task.done()]
        assert sorted(waiting) == sorted(going), f"after {step.label}"
        done = [(held, _result(task)) for held, task in self._applying if task.done()]
        self._applying = [(held, task) for held, task in self._applying if not task.done()]
        dispositions = [held for held in self._memory.held if held.then.split(" ")[0] in _LATER]
        for held, result in done:
            same = held._replace(then=self._service.disposed(held, result))
            assert same in dispositions, f"after {step.label}: {same} is not among {dispositions}"


def _order_events(world: World) -> tuple[int, int]:
    """OrderCreated and OrderCancelled, as the order service logs them."""
    store, memory = Store(), Memory()
    for command in (world.messages.create(Coordinator.CHOREOGRAPHY), world.messages.cancel()):
        entry = world.messages.entry(command)
        _, store, memory = world.order_service.ledger.commit("order", store, memory, entry)
    created, cancelled = store.log
    return created, cancelled


def _known(answer: Outcome | None) -> Outcome:
    assert answer is not None
    return answer


def _result(task: asyncio.Task[Any]) -> Any:
    return task.exception() or task.result()


async def _settle() -> None:
    """Let all tasks run as far as they can. None of them waits for time."""
    for _ in range(20):
        await asyncio.sleep(0)


def _steps_of(seed: int, rules: Rules) -> int:
    async def walk() -> int:
        each, steps = _Walk(seed, rules), 0
        while steps < 60 and await each.take():
            steps += 1
        return steps

    with capture_logs():
        return asyncio.run(walk())


def test_the_model_of_the_payment_service_waits_and_answers_as_production_does() -> None:
    assert min(_steps_of(seed, Rules()) for seed in range(100)) > 5


@pytest.mark.parametrize(
    "another",
    [
        "asks_again_when_overtaken",
        "last_try_voids",
        "settles_until_nothing_is_due",
        "takes_up_what_is_due",
    ],
)
def test_a_model_with_another_discipline_is_told_apart_from_production(another: str) -> None:
    flags = {another: not getattr(Discipline(), another)}
    with pytest.raises(AssertionError):
        for seed in range(100):
            _steps_of(seed, Rules(discipline=Discipline(**flags)))
