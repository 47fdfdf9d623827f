"""The worlds that are explored to their end, without a fault and with each kind of fault."""

from __future__ import annotations

from typing import Final

from models.saga import Coordinator
from tests.model.bounds import Budget, Scenario

_TWIN = Coordinator.ORCHESTRATION
_APPROVES = ("Charged",)
_ANSWERS = ("Charged", "Declined")

# What the test suite explores every time.
QUICK: Final = (
    Scenario(name="users and timers", budget=Budget(cancels=2, timeouts=1)),
    Scenario(name="a republication", verdicts=_APPROVES, budget=Budget(cancels=1, republications=1)),
    Scenario(name="a crash", verdicts=_APPROVES, budget=Budget(crashes=1, cancels=1)),
    Scenario(name="a lost publication", verdicts=_APPROVES, budget=Budget(unconfirmed=1, cancels=1)),
    Scenario(name="a lost answer", budget=Budget(unanswered=1, cancels=1)),
    Scenario(name="a lost connection", verdicts=_APPROVES, budget=Budget(disconnects=1, cancels=1)),
    Scenario(name="a repetition", verdicts=_APPROVES, budget=Budget(repeats=1, cancels=1)),
    Scenario(name="mirror", mirror=True, verdicts=_ANSWERS, budget=Budget(cancels=1, timeouts=1)),
    Scenario(name="twin", coordinator=_TWIN, publishes=False, verdicts=_ANSWERS, budget=Budget(cancels=1, timeouts=1)),
    Scenario(
        name="twin, a crash",
        coordinator=_TWIN,
        publishes=False,
        verdicts=_APPROVES,
        budget=Budget(cancels=1, crashes=1),
    ),
    Scenario(
        name="twin, a stray cancellation",
        coordinator=_TWIN,
        verdicts=_APPROVES,
        stray_cancels=True,
        budget=Budget(cancels=1),
    ),
    Scenario(name="a commit in doubt", budget=Budget(recommits=1, cancels=1)),
    Scenario(
        name="a lost connection and a lost answer",
        verdicts=_APPROVES,
        budget=Budget(disconnects=1, unanswered=1, cancels=1),
    ),
    Scenario(
        name="twin, a lost attempt",
        coordinator=_TWIN,
        publishes=False,
        verdicts=_APPROVES,
        budget=Budget(cancels=1, incomplete=1, unanswered=1),
    ),
)

# What `python -m tests.model` explores: within a few minutes, some millions of states.
FULL: Final = (
    Scenario(name="users and timers", budget=Budget(cancels=2, timeouts=1, republications=1)),
    Scenario(name="a crash", budget=Budget(crashes=1, cancels=1)),
    Scenario(name="two crashes", budget=Budget(crashes=2)),
    Scenario(name="commits in doubt", budget=Budget(recommits=2, cancels=1)),
    Scenario(
        name="a commit in doubt and a crash", verdicts=_APPROVES, budget=Budget(recommits=1, crashes=1, cancels=1)
    ),
    Scenario(name="lost publications", verdicts=_ANSWERS, budget=Budget(unconfirmed=2, cancels=1)),
    Scenario(
        name="lost publications and a crash", verdicts=_APPROVES, budget=Budget(unconfirmed=1, crashes=1, cancels=1)
    ),
    Scenario(name="lost answers", budget=Budget(unanswered=2, cancels=1, timeouts=1)),
    Scenario(name="a lost connection and a lost answer", budget=Budget(disconnects=1, unanswered=1, cancels=1)),
    Scenario(name="repetitions", budget=Budget(repeats=1, cancels=1, timeouts=1)),
    Scenario(name="two payment services", verdicts=_ANSWERS, payment_services=2, budget=Budget(repeats=1, cancels=1)),
    Scenario(name="two order services", order_services=2, budget=Budget(cancels=1, timeouts=1)),
    Scenario(name="mirror, a crash", mirror=True, verdicts=_APPROVES, budget=Budget(crashes=1, cancels=1)),
    Scenario(
        name="mirror, its timers",
        mirror=True,
        verdicts=_APPROVES,
        budget=Budget(cancels=1, timeouts=1, republications=1),
    ),
    Scenario(name="mirror, a commit in doubt", mirror=True, budget=Budget(recommits=1, cancels=1)),
    Scenario(name="mirror, repetitions", mirror=True, verdicts=_ANSWERS, budget=Budget(repeats=1, cancels=1)),
    Scenario(
        name="mirror, two events in one task",
        mirror=True,
        together=True,
        verdicts=_ANSWERS,
        budget=Budget(cancels=1, timeouts=1),
    ),
    Scenario(name="twin, users and timers", coordinator=_TWIN, publishes=False, budget=Budget(cancels=2, timeouts=1)),
    Scenario(
        name="twin, two events in one task",
        coordinator=_TWIN,
        publishes=False,
        together=True,
        budget=Budget(cancels=1, timeouts=1, crashes=1),
    ),
    Scenario(
        name="twin, lost attempts and answers",
        coordinator=_TWIN,
        publishes=False,
        budget=Budget(cancels=1, timeouts=1, incomplete=1, unanswered=1),
    ),
    Scenario(
        name="twin, a commit in doubt",
        coordinator=_TWIN,
        publishes=False,
        budget=Budget(cancels=1, timeouts=1, recommits=1, unanswered=1),
    ),
    Scenario(
        name="twin, two payment services",
        coordinator=_TWIN,
        publishes=False,
        payment_services=2,
        budget=Budget(cancels=1, incomplete=1, crashes=1),
    ),
    Scenario(
        name="twin, published",
        coordinator=_TWIN,
        verdicts=_ANSWERS,
        budget=Budget(cancels=1, timeouts=1, crashes=1),
    ),
    Scenario(
        name="twin, stray cancellations", coordinator=_TWIN, stray_cancels=True, budget=Budget(cancels=1, timeouts=1)
    ),
)
