"""The events of one order, for each outcome of its saga."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from models.message_types import UnknownType, known_type
from models.messages import Envelope

START = datetime(2026, 2, 15, 1, 42, 19, tzinfo=UTC)
ORDER = UUID("019c5ef4-0d8f-7a3c-9f1e-5b1d2c3e4f50")
COMMAND = uuid5(ORDER, "command")


def event(kind: str, *, cause: UUID = COMMAND, at: float = 0.0, **payload: object) -> Envelope:
    return Envelope(
        event_type=known_type(kind) or UnknownType(kind),
        event_id=uuid5(ORDER, kind),
        occurred_at=START + timedelta(seconds=at),
        correlation_id="c",
        payload={"orderId": str(ORDER), **payload},
        causation_id=cause,
    )


CREATED = event("OrderCreated", total=999, currency="USD")
APPROVED = event("PaymentApproved", cause=CREATED.event_id, at=1.5, transactionId="tx_1")
PAID = event("OrderPaid", cause=APPROVED.event_id, at=1.6)
DECLINED = event("PaymentDeclined", cause=CREATED.event_id, at=1.5, reason="Insufficient funds")
FAILED = event("PaymentFailed", cause=CREATED.event_id, at=1.5, error="card refused")
ORDER_FAILED = event("OrderFailed", cause=FAILED.event_id, at=1.6, reason="card refused")
CANCELLED_AS_DECLINED = event("OrderCancelled", cause=DECLINED.event_id, at=1.6, reason="PAYMENT_DECLINED")
CANCELLED_BY_USER = event("OrderCancelled", at=3, reason="USER_REQUESTED")
TIMED_OUT = event("OrderCancelled", at=900, reason="PAYMENT_TIMEOUT")
PAYMENT_CANCELLED = event("PaymentCancelled", cause=CANCELLED_BY_USER.event_id, at=3.1)
REFUNDED = event("PaymentRefunded", cause=CANCELLED_BY_USER.event_id, at=4, transactionId="tx_1")
LATE_REFUND = event("PaymentRefunded", cause=CREATED.event_id, at=4, transactionId="tx_1")

SAGAS = {
    "approved": [CREATED, APPROVED, PAID],
    "declined": [CREATED, DECLINED, CANCELLED_AS_DECLINED],
    "failed": [CREATED, FAILED, ORDER_FAILED],
    "refunded": [CREATED, APPROVED, PAID, CANCELLED_BY_USER, REFUNDED],
    "cancelled": [CREATED, CANCELLED_BY_USER, PAYMENT_CANCELLED],
    "cancelled during the charge": [CREATED, CANCELLED_BY_USER, PAYMENT_CANCELLED, LATE_REFUND],
}
