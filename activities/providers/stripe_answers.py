"""Read Stripe's answers, and check that each is about this payment, its amount and its currency; pure."""

from __future__ import annotations

from typing import Final

from stripe import Charge, PaymentIntent, StripeError

from activities.providers import VOIDED, ForeignAnswer, Mischarged, RefundRefused, captured
from activities.providers.stripe_requests import amount_of, metadata
from models.outcome import Charged, Declined, Refunded, Refused
from models.payment import Payment

_SETTLED: Final = frozenset({"succeeded", "canceled", "requires_payment_method"})


def own(payment: Payment, intent: PaymentIntent, intent_id: str | None = None) -> PaymentIntent:
    """The intent. Raises ForeignAnswer unless it is the payment's own, and the one that was asked for."""
    told = intent.metadata["payment_id"] if intent.metadata and "payment_id" in intent.metadata else "no payment"
    if told != metadata(payment)["payment_id"]:
        raise ForeignAnswer(f"Stripe answers for payment {payment.id} with intent {intent.id}, which is of {told}")
    if intent_id is not None and intent.id != intent_id:
        raise ForeignAnswer(f"Stripe was asked about intent {intent_id} and answers with {intent.id}")
    return intent


def is_as_asked(payment: Payment, intent: PaymentIntent) -> bool:
    """Whether the intent is for the payment's amount and currency."""
    return (intent.amount, intent.currency) == (amount_of(payment), payment.currency.lower())


def charge_outcome(payment: Payment, intent: PaymentIntent) -> Charged | Mischarged | Declined | Refused | None:
    """The outcome of a charge by the state of its intent; None if that state settles nothing."""
    if intent.status == "succeeded" or (intent.status in _SETTLED and intent.amount_received):
        # Part of an intent may be captured and the rest cancelled. Therefore the received amount counts.
        got, asked = (intent.amount_received, intent.currency), (amount_of(payment), payment.currency.lower())
        return captured(payment, intent.id, got=got, asked=asked)
    match intent.status:
        case "canceled":
            return Refused(order_id=payment.order_id, error=VOIDED)
        case "requires_payment_method" if intent.last_payment_error:
            reason = intent.last_payment_error.message or "Declined"
            return Declined(order_id=payment.order_id, reason=reason)
        case _:
            return None


def given_back(payment: Payment, intent: PaymentIntent) -> Refunded:
    """Refunded, if the whole captured amount was given back. Raises RefundRefused if the books say otherwise."""
    charge = intent.latest_charge
    refunded = charge.amount_refunded if isinstance(charge, Charge) else 0
    if not isinstance(charge, Charge) or refunded < intent.amount_received:
        kept = f"{intent.amount_received - refunded} of {intent.amount_received} {intent.currency}"
        raise RefundRefused(f"Stripe's refund of payment {payment.id} leaves {kept} captured on intent {intent.id}")
    return Refunded(order_id=payment.order_id)


def message_of(error: StripeError) -> str:
    """The message of a refusal, for a person to read."""
    return error.user_message or error.code or type(error).__name__
