"""The result and the attempt of a delivery alone decide what becomes of it."""

import pytest

from activities.payments import ContradictoryOutcome
from activities.providers import ProviderUnavailable
from choreography.disposition import Ack, DeadLetter, RetryAfter, dispose
from models.messages import MalformedMessage
from models.saga import Become, Decision, Illegal, Stale, TooEarly

DELAYS = (1.0, 5.0)


@pytest.mark.parametrize("result", [None, Become(state=object()), Stale(why="duplicate")])
def test_a_message_that_was_handled_or_is_stale_is_acknowledged(result: Decision[object] | None) -> None:
    assert dispose(result, 1, DELAYS) == Ack()


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (MalformedMessage("no"), "MALFORMED"),
        (Illegal(why="no"), "ILLEGAL"),
        (ContradictoryOutcome("no"), "ILLEGAL"),
    ],
)
def test_a_message_that_no_retry_can_help_is_a_dead_letter_at_once(
    result: Decision[object] | Exception, reason: str
) -> None:
    assert dispose(result, 1, DELAYS) == DeadLetter(reason=reason, error="no")


@pytest.mark.parametrize(("attempt", "delay"), [(1, 1.0), (2, 5.0)])
def test_a_message_that_may_succeed_later_is_retried_with_growing_delays(attempt: int, delay: float) -> None:
    assert dispose(TooEarly(why="wait"), attempt, DELAYS) == RetryAfter(delay=delay, error="wait")
    assert dispose(KeyError("x"), attempt, DELAYS) == RetryAfter(delay=delay, error="KeyError: 'x'")


def test_attempts_are_bounded() -> None:
    assert dispose(TooEarly(why="wait"), 3, DELAYS) == DeadLetter(reason="TOO_EARLY", error="wait")
    assert dispose(KeyError("x"), 3, DELAYS) == DeadLetter(reason="FAILED", error="KeyError: 'x'")


def test_a_void_or_refund_is_tried_twice_as_often_as_a_charge() -> None:
    error = ProviderUnavailable("away")
    assert dispose(error, 4, DELAYS) == RetryAfter(delay=5.0, error="ProviderUnavailable: away")
    assert dispose(error, 5, DELAYS) == DeadLetter(reason="FAILED", error="ProviderUnavailable: away")
