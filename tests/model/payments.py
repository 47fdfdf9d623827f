"""The provider, and the payment service's calls to it between two transactions."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from activities.book import Submission
from activities.payments import ContradictoryOutcome
from activities.providers import VOIDED, ProviderUnavailable, RefundRefused
from models.lifecycle import Due
from models.outcome import Charged, Declined, Outcome, Refunded, Refused, Unanswered, Voided
from models.payment import Payment
from models.saga import Become, Illegal, Stale
from tests.model.messages import ORDER
from tests.model.services import Memories, Service
from tests.model.state import Books, Held, Kind, Label, Line, Memory, Slot, Store, Work
from tests.model.steps import Draft, bag, places, with_memory, without

_TRANSACTION = "txn_model"
_ANSWERS: dict[str, Outcome] = {
    "Charged": Charged(order_id=ORDER, transaction_id=_TRANSACTION),
    "Declined": Declined(order_id=ORDER, reason="Insufficient funds"),
    "Refused": Refused(order_id=ORDER, error="refused"),
    "Voided": Voided(order_id=ORDER),
    "Refunded": Refunded(order_id=ORDER),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """The provider as its port promises it. `verdicts` are the possible results of a charge, "silence" among them."""

    verdicts: tuple[str, ...]
    one_refund_a_key: bool = True

    def acts(self, books: Books, verb: str, key: Hashable, amount: int) -> Iterator[tuple[Books, Outcome | Exception]]:
        """The possible books after this request, each with its answer."""
        line = next((each for each in books.lines if each.key == key), None)
        match verb:
            case Due.CHARGE if line is None:
                for verdict in self.verdicts:
                    if verdict == "silence":
                        yield books, ProviderUnavailable("no answer to the charge")
                    else:
                        captured = amount if verdict == "Charged" else 0
                        yield _with_line(books, Line(key, verdict, captured)), _ANSWERS[verdict]
            case Due.CHARGE:
                assert line is not None
                voided = Refused(order_id=ORDER, error=VOIDED)
                yield books, voided if line.outcome == "Voided" else _ANSWERS[line.outcome]
            case Due.VOID:
                after = books if line else _with_line(books, Line(key, "Voided"))
                yield after, _ANSWERS["Charged" if line and line.outcome == "Charged" else "Voided"]
            case _:
                if line is None or line.captured == 0:
                    yield books, RefundRefused("nothing was captured")
                elif line.refunded < line.captured or not self.one_refund_a_key:
                    given = line._replace(refunded=line.refunded + line.captured, refunds=line.refunds + 1)
                    yield _with_line(books, given), _ANSWERS["Refunded"]
                else:
                    yield books, _ANSWERS["Refunded"]


def _with_line(books: Books, line: Line) -> Books:
    return books._replace(lines=bag([*(each for each in books.lines if each.key != line.key), line]))


class PaymentService(Service):
    """The payment service commits what is due, does it at the provider, and then commits the answer."""

    side = "payment"
    store, memory, queue = Slot.PAYMENTS, Slot.PAYMENT_MEMORY, Slot.PAYMENT_QUEUE
    provider: Provider

    def apply(self, store: Store, memory: Memory, held: Held, *, again: bool = False) -> tuple[str, Store, Memory]:
        """`Payments.apply` takes up what the message leaves due, or waits for it if it is under way."""
        entry = self.messages.entry(held.number)
        result, after, memory = self.ledger.commit(self.side, store, memory, entry, again=again)
        due = result.state.due if isinstance(result, Become) else None
        if due is None or not (self.discipline.takes_up_what_is_due or result.state != store.row):
            return type(result).__name__, after, self.hold(memory, held._replace(then=self.disposed(held, result)))
        if all(each.key != due for each in memory.works):
            # The last attempt gives up a charge without an answer.
            begun = Work(due, held.number, held.attempt > len(self.delays), result.state)
            memory = memory._replace(works=bag([*memory.works, begun]))
        return type(result).__name__, after, self.hold(memory, held._replace(then=due))

    def disposed(self, held: Held, result: Any) -> str:
        if held.activity is None:
            unanswered = isinstance(result, ProviderUnavailable) and not self.discipline.retries_unanswered
            return "ack" if unanswered else super().disposed(held, result)
        if isinstance(result, ProviderUnavailable):
            return "fail"
        return "refuse" if isinstance(result, ContradictoryOutcome | RefundRefused | Illegal) else "report"

    # what the tasks do: `Payments._settle`

    def work(self, store: Store, memories: Memories, books: Books) -> Iterator[Draft]:
        for place in places(memories):
            for each in dict.fromkeys(memories[place].works):
                if each.answer is None:
                    yield from self._ask(memories, place, each, books)
                else:
                    yield self._record(store, memories, place, each)
                    yield self._record(store, memories, place, each, again=True).at_a_cost("recommits")

    def _ask(self, memories: Memories, place: int, work: Work, books: Books) -> Iterator[Draft]:
        payment, verb = work.payment, _verb(work.payment)
        key = self._key(payment, books)

        def step(what: str, answer: object, after: Memory, books: Books) -> Draft:
            sets = {self.memory: with_memory(memories, place, after), Slot.PROVIDER: books}
            told = f"{verb}: {type(answer).__name__}" if answer else verb
            return Draft(Label(what, "provider", detail=told), sets)

        for after, answer in self.provider.acts(books, verb, key, payment.amount):
            told = self._told(memories[place], work, answer)
            yield step("answer", answer, told, after)
            if not isinstance(answer, Exception):
                lost = self._told(memories[place], work, ProviderUnavailable("the answer was lost"))
                yield step("lose the answer", answer, lost, after).at_a_cost("unanswered")
        away = self._told(memories[place], work, ProviderUnavailable("no answer in time"))
        late = books._replace(late=bag({*books.late, (verb, key)}))
        yield step("be late", None, away, late).at_a_cost("unanswered")

    def _key(self, payment: Payment, books: Books) -> Hashable:
        if not self.discipline.one_key_a_payment and payment.due is Due.CHARGE:
            return len(books.lines)
        return payment.id

    def _told(self, memory: Memory, work: Work, answer: Outcome | Exception) -> Memory:
        """`Payments._ask` decides on the answer. Without one, the last try of a charge gives it up."""
        gives_up = work.last_try and self.discipline.last_try_voids and _verb(work.payment) == Due.CHARGE
        if isinstance(answer, ProviderUnavailable) and gives_up:
            answer = Unanswered(order_id=ORDER, error="no answer")
        if isinstance(answer, Exception):
            return self._done(memory, work, answer)
        return memory._replace(works=bag([*without(memory.works, work), work._replace(answer=answer)]))

    def _record(self, store: Store, memories: Memories, place: int, work: Work, *, again: bool = False) -> Draft:
        cause = self.messages.entry(work.number)
        entry = Submission(
            message=work.answer,  # type: ignore[arg-type]
            event_id=cause.event_id,
            correlation_id=cause.correlation_id,
            coordinator=cause.coordinator,
        )
        result, after, memory = self.ledger.commit(self.side, store, memories[place], entry, again=again)
        if isinstance(result, Illegal):
            memory = self._done(memory, work, ContradictoryOutcome(result.why))
        elif (
            isinstance(result, Become) and result.state.due is not None and self.discipline.settles_until_nothing_is_due
        ):
            going_on = work._replace(payment=result.state, answer=None)
            memory = memory._replace(works=bag([*without(memory.works, work), going_on]))
        else:
            memory = self._done(memory, work, result)
        sets = {self.store: after, self.memory: with_memory(memories, place, memory)}
        told = f"{type(work.answer).__name__}: {type(result).__name__}"
        return Draft(Label("record again" if again else "record", self.side, detail=told), sets)

    def _done(self, memory: Memory, work: Work, result: Any) -> Memory:
        """The task ends, and all that waited for it learn the result."""
        overtaken = isinstance(result, Stale) and self.discipline.asks_again_when_overtaken
        held = bag(
            each._replace(then="again" if overtaken else self.disposed(each, result)) if each.then == work.key else each
            for each in memory.held
        )
        return memory._replace(works=without(memory.works, work), held=held)

    # what goes wrong

    def left_behind(self, memory: Memory, books: Books) -> dict[Slot, Hashable]:
        """A crash leaves requests on which the provider may still act."""
        asked = {(_verb(each.payment), self._key(each.payment, books)) for each in memory.works if each.answer is None}
        return {Slot.PROVIDER: books._replace(late=bag({*books.late, *asked}))}

    def be_late(self, books: Books, amount: int) -> Iterator[Draft]:
        """The provider acts on a request whose caller has gone."""
        for verb, key in books.late:
            for after, answer in self.provider.acts(books, verb, key, amount):
                if not isinstance(answer, Exception):
                    done = after._replace(late=without(after.late, (verb, key)))
                    label = Label("act late", "provider", detail=f"{verb}: {type(answer).__name__}")
                    yield Draft(label, {Slot.PROVIDER: done}, kind=Kind.WHIM)


def _verb(payment: Payment) -> str:
    return payment.due or Due.CHARGE
