"""The port to whoever moves the money, keyed by payment id: asking again never charges or refunds twice."""

from __future__ import annotations

from typing import Protocol

from models.outcome import Charged, Declined, Refunded, Refused, Voided
from models.payment import Payment

VOIDED = "voided"  # the error of Refused for a charge that comes after its void


class ProviderUnavailable(Exception):
    """No answer, or one that says to try again; the same request for the same payment is safe to repeat."""


class RefundRefused(Exception):
    """The provider will never give this back, say because it captured nothing: its books and ours need a look."""


class PaymentProvider(Protocol):
    """Charge, void, refund and look up a payment; every method may raise ProviderUnavailable.

    For one payment at most one charge is ever captured, and no more is refunded than was captured, however often,
    in whatever order and from however many processes these are called. The correlation id is for logs, and for the
    provider's own; it has no part in what is done.
    """

    async def charge(self, payment: Payment, *, correlation_id: str) -> Charged | Declined | Refused:
        """Capture the payment's amount, or tell what became of it before; after a void it captures nothing."""
        ...

    async def void(self, payment: Payment, *, correlation_id: str) -> Voided | Charged:
        """Make sure that nothing is or will be captured; Charged says it is too late, and a refund is needed."""
        ...

    async def refund(self, payment: Payment, *, correlation_id: str) -> Refunded:
        """Give back all that was captured, once; raises RefundRefused if that is impossible for good."""
        ...

    async def look_up(
        self, payment: Payment, *, correlation_id: str
    ) -> Charged | Declined | Refused | Voided | Refunded | None:
        """What the provider's books say of this payment; None if no charge of it was settled or voided."""
        ...
