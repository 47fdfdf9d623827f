"""Say to Stripe what is asked for: how much in its units, for which payment, and on whose account it is traced.

Amounts: https://docs.stripe.com/currencies, zero-decimal currencies and special cases.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from stripe import InvalidRequestError, RequestOptions

from models.payment import Payment

# Where Stripe's minor unit isn't that of ISO 4217.
_IN_HUNDREDTHS: Final = frozenset({"ISK", "UGX"})  # which have no minor unit
_WHOLE: Final = frozenset({"MGA"})  # which has hundredths


def amount_of(payment: Payment) -> int:
    """What Stripe counts as the payment's amount. Raises InvalidRequestError if Stripe has no such amount."""
    if payment.currency in _IN_HUNDREDTHS:
        return payment.amount * 100
    if payment.currency not in _WHOLE:
        return payment.amount
    if payment.amount % 100:
        refusal = f"Stripe charges whole {payment.currency} only"
        raise InvalidRequestError(refusal, "amount")  # type: ignore[no-untyped-call]
    return payment.amount // 100


def options(correlation_id: str, *, key: str | None = None) -> RequestOptions:
    """The correlation id goes as a header: a repetition under the same key must have the same body, whoever asks.

    It may be any text where it came by the broker; what a header can't carry is percent-encoded.
    """
    chosen: RequestOptions = {"headers": {"X-Correlation-Id": quote(correlation_id, safe="/:@+=,;")}}
    if key is not None:
        chosen["idempotency_key"] = key
    return chosen


def metadata(payment: Payment) -> dict[str, str]:
    """What an object at Stripe is found by."""
    return {"payment_id": str(payment.id), "order_id": str(payment.order_id)}
