"""Say in one sentence what an event means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, assert_never

from models.message_types import EventType
from models.saga import CancelReason

_REASONS: Final[Mapping[str, str]] = {
    CancelReason.PAYMENT_DECLINED: "because its payment was declined",
    CancelReason.USER_REQUESTED: "at the user's request",
    CancelReason.PAYMENT_TIMEOUT: "because its payment was not settled in time",
}


def summary(event: EventType, payload: Mapping[str, Any]) -> str:
    """One sentence for a person to read, about an event of this type with this payload."""
    match event:
        case EventType.ORDER_CREATED:
            return f"Order accepted: {payload.get('total')} {payload.get('currency') or 'USD'} in minor units to pay."
        case EventType.ORDER_PAID:
            return "Order paid."
        case EventType.ORDER_FAILED:
            return f"Order failed{_because(payload.get('reason'))}."
        case EventType.ORDER_CANCELLED:
            reason = str(payload.get("reason"))
            return f"Order cancelled {_REASONS.get(reason, f'({reason})')}."
        case EventType.PAYMENT_APPROVED:
            return f"Payment approved as transaction {payload.get('transactionId')}."
        case EventType.PAYMENT_DECLINED:
            return f"Payment declined{_because(payload.get('reason'))}."
        case EventType.PAYMENT_FAILED:
            return f"Payment failed{_because(payload.get('error'))}."
        case EventType.PAYMENT_CANCELLED:
            return "Payment cancelled: no money will be kept."
        case EventType.PAYMENT_REFUNDED:
            return "Payment refunded in full."
        case _ as never:
            assert_never(never)


def _because(text: object) -> str:
    return f": {str(text).rstrip('.')}" if text else ""
