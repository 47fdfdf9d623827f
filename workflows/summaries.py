"""Say in one sentence what an event means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from models.messages import Envelope
from models.saga import CancelReason

_REASONS: Final[Mapping[str, str]] = {
    CancelReason.PAYMENT_DECLINED: "because its payment was declined",
    CancelReason.USER_REQUESTED: "at the user's request",
    CancelReason.PAYMENT_TIMEOUT: "because its payment was not settled in time",
}


def summary(event: Envelope) -> str:
    """One sentence for a person to read."""
    payload = event.payload
    match event.event_type:
        case "OrderCreated":
            return f"Order accepted: {payload.get('total')} {payload.get('currency') or 'USD'} in minor units to pay."
        case "OrderPaid":
            return "Order paid."
        case "OrderFailed":
            return f"Order failed{_because(payload.get('reason'))}."
        case "OrderCancelled":
            reason = str(payload.get("reason"))
            return f"Order cancelled {_REASONS.get(reason, f'({reason})')}."
        case "PaymentApproved":
            return f"Payment approved as transaction {payload.get('transactionId')}."
        case "PaymentDeclined":
            return f"Payment declined{_because(payload.get('reason'))}."
        case "PaymentFailed":
            return f"Payment failed{_because(payload.get('error'))}."
        case "PaymentCancelled":
            return "Payment cancelled: no money will be kept."
        case _:
            return "Payment refunded in full."


def _because(text: object) -> str:
    return f": {str(text).rstrip('.')}" if text else ""
