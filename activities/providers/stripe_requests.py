"""Make the parts of requests to Stripe: the amount in Stripe's units, the options, and the metadata.

Amounts: https://docs.stripe.com/currencies, zero-decimal currencies and special cases.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from stripe import InvalidRequestError, RequestOptions

from models.payment import Payment

# Currencies whose minor unit at Stripe differs from the one of ISO 4217.
_IN_HUNDREDTHS: Final = frozenset({"ISK", "UGX"})  # ISO 4217 gives them no minor unit
_WHOLE: Final = frozenset({"MGA"})  # ISO 4217 gives it hundredths


def amount_of(payment: Payment) -> int:
    """The payment's amount in Stripe's units. Raises InvalidRequestError if Stripe has no such amount."""
    if payment.currency in _IN_HUNDREDTHS:
        return payment.amount * 100
    if payment.currency not in _WHOLE:
        return payment.amount
    if payment.amount % 100:
        refusal = f"Stripe charges whole {payment.currency} only"
        raise InvalidRequestError(refusal, "amount")  # type: ignore[no-untyped-call]
    return payment.amount // 100


def options(correlation_id: str, *, key: str | None = None) -> RequestOptions:
    """The options of a request. The correlation id is a header: requests with the same key must have the same body.

    A correlation id that came from the broker may be any text. Characters that a header can't carry are
    percent-encoded.
    """
    chosen: RequestOptions = {"headers": {"X-Correlation-Id": quote(correlation_id, safe="/:@+=,;")}}
    if key is not None:
        chosen["idempotency_key"] = key
    return chosen


def metadata(payment: Payment) -> dict[str, str]:
    """The metadata by which an object at Stripe is found."""
    return {"payment_id": str(payment.id), "order_id": str(payment.order_id)}
