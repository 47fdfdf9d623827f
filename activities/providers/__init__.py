"""The protocol of payment providers. All calls are keyed by payment id, so repeating one moves no money twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from models.outcome import Charged, Declined, Refunded, Refused, Voided
from models.payment import Payment

VOIDED = "voided"  # the error of Refused for a charge that comes after its void


class ProviderUnavailable(Exception):
    """The provider gave no answer, or said to try again. Repeating the same request is safe."""


class RefundRefused(Exception):
    """The provider refuses this refund for good, for example because it captured nothing. An operator must look."""


class ForeignAnswer(Exception):
    """The answer is about another payment than was asked about. It settles nothing, and an operator must look."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mischarged:
    """The provider captured another amount or currency than it was asked for. `why` names both."""

    transaction_id: str
    why: str


def captured(
    payment: Payment, transaction_id: str, *, got: tuple[int, str], asked: tuple[int, str]
) -> Charged | Mischarged:
    """The outcome of a capture, compared with what was asked for. Both are in the provider's own units."""
    if got == asked:
        return Charged(order_id=payment.order_id, transaction_id=transaction_id)
    (amount, currency), (wanted, in_currency) = got, asked
    why = f"The provider captured {amount} {currency} as {transaction_id} instead of {wanted} {in_currency}"
    return Mischarged(transaction_id=transaction_id, why=why)


class PaymentProvider(Protocol):
    """Charge, void, refund and look up a payment; every method may raise ProviderUnavailable or ForeignAnswer.

    An implementation compares every answer with the request: a capture goes through `captured`, and an answer about
    another payment is a ForeignAnswer.

    For one payment at most one charge is captured, and no more is refunded than was captured. This holds however often,
    in whatever order and from however many processes the methods are called. The correlation id is for our logs and
    the provider's; it changes nothing.
    """

    async def charge(self, payment: Payment, *, correlation_id: str) -> Charged | Mischarged | Declined | Refused:
        """Capture the payment's amount, or report the outcome of an earlier charge. After a void, capture nothing."""
        ...

    async def void(self, payment: Payment, *, correlation_id: str) -> Voided | Charged | Mischarged:
        """Make sure that nothing is captured, now or later. If it is too late for that, report the capture."""
        ...

    async def refund(self, payment: Payment, *, correlation_id: str) -> Refunded:
        """Give back the whole captured amount, once. Raises RefundRefused if that is impossible."""
        ...

    async def look_up(
        self, payment: Payment, *, correlation_id: str
    ) -> Charged | Mischarged | Declined | Refused | Voided | Refunded | None:
        """What the provider's books say about this payment; None if no charge of it was settled or voided."""
        ...
