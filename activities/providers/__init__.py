"""What moves the money, keyed by payment id: asking again never charges or refunds twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from models.outcome import Charged, Declined, Refunded, Refused, Voided
from models.payment import Payment

VOIDED = "voided"  # the error of Refused for a charge that comes after its void


class ProviderUnavailable(Exception):
    """No answer, or one that says to try again; the same request for the same payment is safe to repeat."""


class RefundRefused(Exception):
    """The provider will never give this back, say because it captured nothing: its books and ours need a look."""


class ForeignAnswer(Exception):
    """The answer is about something else than was asked for: it settles nothing, and somebody must look."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mischarged:
    """The provider captured another amount or currency than it was asked for; `why` says which, and as what."""

    transaction_id: str
    why: str


def captured(
    payment: Payment, transaction_id: str, *, got: tuple[int, str], asked: tuple[int, str]
) -> Charged | Mischarged:
    """What a capture amounts to, compared with what was asked for; both in the provider's own units."""
    if got == asked:
        return Charged(order_id=payment.order_id, transaction_id=transaction_id)
    (amount, currency), (wanted, in_currency) = got, asked
    why = f"The provider captured {amount} {currency} as {transaction_id} instead of {wanted} {in_currency}"
    return Mischarged(transaction_id=transaction_id, why=why)


class PaymentProvider(Protocol):
    """Charge, void, refund and look up a payment; every method may raise ProviderUnavailable or ForeignAnswer.

    No answer is believed that isn't compared: what is captured goes through `captured`, and an answer that is about
    another payment is a ForeignAnswer.

    For one payment at most one charge is ever captured, and no more is refunded than was captured, however often,
    in whatever order and from however many processes these are called. The correlation id is for logs, and for the
    provider's own; it has no part in what is done.
    """

    async def charge(self, payment: Payment, *, correlation_id: str) -> Charged | Mischarged | Declined | Refused:
        """Capture the payment's amount, or tell what became of it before; after a void it captures nothing."""
        ...

    async def void(self, payment: Payment, *, correlation_id: str) -> Voided | Charged | Mischarged:
        """Make sure that nothing is or will be captured; else it is too late, and a refund is needed."""
        ...

    async def refund(self, payment: Payment, *, correlation_id: str) -> Refunded:
        """Give back all that was captured, whatever that is, once; raises RefundRefused if that is impossible."""
        ...

    async def look_up(
        self, payment: Payment, *, correlation_id: str
    ) -> Charged | Mischarged | Declined | Refused | Voided | Refunded | None:
        """What the provider's books say of this payment; None if no charge of it was settled or voided."""
        ...
