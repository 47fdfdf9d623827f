"""Decide what becomes of a delivery: acknowledged, retried later, or a dead letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, assert_never

from activities.payments import ContradictoryOutcome
from activities.providers import ProviderUnavailable, RefundRefused
from models.messages import MalformedMessage
from models.saga import Become, Decision, Illegal, Stale, TooEarly


@dataclass(frozen=True, kw_only=True, slots=True)
class Ack:
    """The message is settled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryAfter:
    """The message is to be tried again in `delay` seconds."""

    delay: float
    error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """The message is for an operator. `reason` is MALFORMED, ILLEGAL, TOO_EARLY, FAILED or REDELIVERED."""

    reason: str
    error: str


Disposition: TypeAlias = Ack | RetryAfter | DeadLetter


def dispose(result: Decision[Any] | Exception | None, attempt: int, delays: Sequence[float]) -> Disposition:
    """Decide on a delivery whose attempt number `attempt` (from 1) had this result. `delays` are between attempts."""
    match result:
        case None | Become() | Stale():
            return Ack()
        case Illegal(why=why):
            return DeadLetter(reason="ILLEGAL", error=why)
        case TooEarly(why=why):
            return _retry("TOO_EARLY", why, attempt, delays)
        case MalformedMessage():
            return DeadLetter(reason="MALFORMED", error=str(result))
        case ContradictoryOutcome() | RefundRefused():
            return DeadLetter(reason="ILLEGAL", error=str(result))
        case ProviderUnavailable():
            # Money may depend on it. After the attempts for a charge come as many for its void or refund.
            patient = [*delays, *(delays[-1] for _ in delays)]
            return _retry("FAILED", f"ProviderUnavailable: {result}", attempt, patient)
        case Exception():
            return _retry("FAILED", f"{type(result).__name__}: {result}", attempt, delays)
        case _ as never:
            assert_never(never)


def _retry(reason: str, error: str, attempt: int, delays: Sequence[float]) -> Disposition:
    if attempt > len(delays):
        return DeadLetter(reason=reason, error=error)
    return RetryAfter(delay=delays[attempt - 1], error=error)
