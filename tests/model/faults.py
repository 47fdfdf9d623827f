"""Seeded faults are wrong decisions, effects in a wrong order, or wrong workflows, each with a world that shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

from activities.book import Book
from activities.orders import ORDERS
from activities.payments import PAYMENTS
from models.saga import Coordinator
from tests.model import faulty_decisions as decisions
from tests.model.bounds import Budget, Scenario
from tests.model.faulty_workflows import (
    CancelsTheOrderAlone,
    ChargesWithoutLooking,
    EndsTooSoon,
    ForgetsTheDecline,
    ForgetsThePayment,
    LeavesAnAttemptUnheard,
)
from tests.model.rules import Discipline, Rules
from workflows.order_saga import OrderSaga
from workflows.saga_mirror import SagaMirror

# Takes the state, the message and the right decision, and makes a wrong one.
Twist: TypeAlias = Callable[[Any, Any, Any], Any]


class Fault(NamedTuple):
    """A fault, the scenario that shows it, and the invariant that it breaks: None if the system tolerates it."""

    name: str
    rules: Rules
    scenario: Scenario
    breaks: str | None


def _payments(twist: Twist) -> Rules:
    return Rules(payment_book=_twisted(PAYMENTS, twist))


def _orders(twist: Twist) -> Rules:
    return Rules(order_book=_twisted(ORDERS, twist))


def _twisted(book: Book[Any], twist: Twist) -> Book[Any]:
    def decide(state: Any, message: Any, coordinator: Coordinator) -> Any:
        return twist(state, message, book.decide(state, message, coordinator))

    return replace(book, decide=decide)


def _discipline(**flags: bool) -> Rules:
    return Rules(discipline=Discipline(**flags))


def _workflow(faulty: type[OrderSaga]) -> Rules:
    return Rules(workflows=(SagaMirror, faulty))


def _world(*verdicts: str, budget: Budget | None = None, **others: Any) -> Scenario:
    return Scenario(name="for a fault", verdicts=verdicts or ("Charged",), budget=budget or Budget(), **others)


def _twin(*verdicts: str, budget: Budget | None = None, **others: Any) -> Scenario:
    return _world(*verdicts, budget=budget, coordinator=Coordinator.ORCHESTRATION, publishes=False, **others)


_CRASH, _CANCEL = Budget(crashes=1), Budget(cancels=1)

FAULTS: Final = (
    Fault("the tombstone is forgotten", _payments(decisions.no_tombstone), _world(budget=_CANCEL), "3"),
    Fault(
        "a cancellation drops the void", _payments(decisions.no_void), _world(budget=Budget(cancels=1, crashes=1)), "3"
    ),
    Fault("an APPROVED payment is not refunded", _payments(decisions.no_refund), _world(budget=_CANCEL), "3"),
    Fault(
        "a charge that lands after the cancellation is ignored",
        _payments(decisions.late_charge_ignored),
        _world(budget=_CANCEL),
        "3",
    ),
    Fault(
        "an unanswered charge counts as declined",
        _payments(decisions.unanswered_is_declined),
        _world("Charged", "silence", budget=Budget(unanswered=1)),
        "3",
    ),
    Fault(
        "a payment fails although its charge was captured",
        _payments(decisions.captured_is_failed),
        _world("Charged", "silence", budget=Budget(unanswered=1)),
        "3",
    ),
    Fault("what is due is forgotten after a crash", _payments(decisions.due_forgotten), _world(budget=_CRASH), "1"),
    Fault(
        "a duplicate of order.created is charged as new",
        _payments(decisions.charged_anew),
        _world(budget=Budget(repeats=1)),
        "5",
    ),
    Fault(
        "a timeout cancels a PAID order",
        _orders(decisions.timeout_takes_back),
        _world(budget=Budget(timeouts=1)),
        "lifecycle",
    ),
    Fault(
        "an approval revives a cancelled order",
        _orders(decisions.approval_revives),
        _world(budget=_CANCEL),
        "lifecycle",
    ),
    Fault("a cancellation emits no event", _orders(decisions.silent_cancellation), _world(budget=_CANCEL), "5"),
    Fault("a decline is ignored", _orders(decisions.decline_ignored), _world("Declined"), "1"),
    Fault("a declined payment pays the order", _orders(decisions.paid_unasked), _world("Declined"), "2"),
    # a wrong order of effects
    Fault("acknowledged before the commit", _discipline(commit_before_ack=False), _world(budget=_CRASH), "1"),
    Fault("published before the commit", _discipline(commit_before_publishing=False), _world(), "5"),
    Fault("the event is not logged with the state", _discipline(log_with_state=False), _world(), "5"),
    Fault("the outbox row is lost", _discipline(outbox_with_log=False), _world(budget=_CRASH), "1"),
    Fault(
        "marked as published before the confirm",
        _discipline(confirm_before_forgetting=False),
        _world(budget=_CRASH),
        "1",
    ),
    Fault(
        "the relay deletes before it publishes",
        _discipline(relay_deletes_after_publishing=False),
        _world(budget=Budget(crashes=1, unconfirmed=1)),
        "1",
    ),
    Fault("the relay takes deferred rows alone", _discipline(relay_finds_old_rows=False), _world(budget=_CRASH), "1"),
    Fault(
        "a retry is acknowledged before it is stored",
        _discipline(store_before_ack=False),
        _world("Charged", budget=Budget(crashes=1, unanswered=1)),
        "1",
    ),
    Fault(
        "a charge without an answer is not tried again",
        _discipline(retries_unanswered=False),
        _world(budget=Budget(unanswered=1)),
        "1",
    ),
    Fault("the last try gives up without a void", _discipline(last_try_voids=False), _world("silence"), "end"),
    Fault(
        "a duplicate takes up nothing that is due", _discipline(takes_up_what_is_due=False), _world(budget=_CRASH), "1"
    ),
    Fault(
        "acknowledged although a void has become due",
        _discipline(settles_until_nothing_is_due=False),
        _world("silence"),
        "1",
    ),
    Fault(
        "a task overtaken by another takes that one's work for done",
        _discipline(asks_again_when_overtaken=False),
        _world(budget=Budget(recommits=1, cancels=1)),
        "3",
    ),
    Fault(
        "every charge has a key of its own",
        _discipline(one_key_a_payment=False),
        _world(budget=Budget(unanswered=1)),
        "2",
    ),
    Fault(
        "a refund that is asked for again is given again",
        _discipline(one_refund_a_key=False),
        _world(budget=Budget(cancels=1, unanswered=1)),
        "4",
    ),
    Fault(
        "a replay gives an event another id",
        _discipline(repeats_original_ids=False),
        _world(mirror=True, budget=Budget(repeats=1)),
        "5",
    ),
    Fault(
        "the mirror's events are acknowledged before it is told",
        _discipline(feed_tells_before_ack=False),
        _world(mirror=True, budget=_CRASH),
        "7",
    ),
    Fault(
        "a mirror's successor begins with nothing",
        _discipline(successor_inherits=False),
        _world(mirror=True, budget=_CANCEL),
        "7",
    ),
    # wrong workflows
    Fault(
        "the saga forgets the payment when it is cancelled", _workflow(ForgetsThePayment), _twin(budget=_CANCEL), "3"
    ),
    Fault("the saga ends while it charges", _workflow(EndsTooSoon), _twin(), "1"),
    Fault("the saga settles no decline", _workflow(ForgetsTheDecline), _twin("Declined"), "1"),
    Fault(
        "the saga asks nobody what a charge has done that was given up",
        _workflow(LeavesAnAttemptUnheard),
        _twin(budget=Budget(timeouts=1)),
        "7",
    ),
    # tolerated
    Fault(
        "the saga cancels the order, and compensates only at its end",
        _workflow(CancelsTheOrderAlone),
        _twin("Charged", "Declined", budget=_CANCEL),
        None,
    ),
    Fault(
        "the saga charges although it was cancelled",
        _workflow(ChargesWithoutLooking),
        _twin(budget=Budget(cancels=1, timeouts=1)),
        None,
    ),
    Fault(
        "the consumers react to an orchestrator's events",
        _discipline(ignores_orchestrated=False),
        _world("Charged", "Declined", coordinator=Coordinator.ORCHESTRATION, budget=_CANCEL),
        "7",
    ),
)

# Faults that one order alone cannot show, and the tests on real components that do.
ELSEWHERE: Final = {
    "the relay skips an event that commits late": "tests/failures/test_crashes.py::"
    "test_10_an_event_that_commits_late_is_not_skipped_by_the_relay",
    "an order's events leave out of order although one was left behind": "tests/failures/test_crashes.py::"
    "test_events_of_one_order_leave_in_order_although_the_first_was_left_behind",
    "attempts are counted from one again after a restart": "tests/failures/test_crashes.py::"
    "test_13_attempts_are_counted_across_restarts_of_consumer_and_broker",
    "a dead letter is acknowledged although its route is gone": "tests/failures/test_crashes.py::"
    "test_14_a_dead_letter_whose_route_is_gone_is_neither_lost_nor_in_the_way",
    "a message that always fails holds back its neighbours": "tests/failures/test_messages.py::"
    "test_12_a_poison_message_neither_holds_back_nor_fails_its_neighbours",
}
