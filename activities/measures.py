"""What the core tells whoever measures it: nothing here knows how that is done, and by default nobody does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from models.payment import Payment
from models.saga import Coordinator


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaEnd:
    """How a saga ended: the status of its order tells the outcome."""

    coordinator: Coordinator
    outcome: str


class LedgerMeasures(Protocol):
    """Hears of what a ledger has committed."""

    def batch_committed(self, size: int) -> None:
        """One transaction has applied so many submissions."""

    def saga_ended(self, end: SagaEnd, seconds: float) -> None:
        """A saga has ended, so long after its order was stored; told once a saga, after the commit."""


class ProviderMeasures(Protocol):
    """Hears of each call of the payment provider."""

    def provider_answered(self, operation: str, outcome: str, seconds: float, payment: Payment) -> None:
        """A call about this payment has ended with this outcome: the name of the answer, or of why there is none."""


class Unmeasured:
    """For whoever measures nothing."""

    def batch_committed(self, size: int) -> None:
        pass

    def saga_ended(self, end: SagaEnd, seconds: float) -> None:
        pass
