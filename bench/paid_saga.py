"""What a choreographed saga says until it is PAID: its command and its events, as large as they are in truth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from models.ids import uuid7
from models.messages import Envelope, envelope_of
from models.saga import CreateOrderRequested, Message, OrderCreated, OrderId, OrderPaid, PaymentApproved


def paid_saga() -> list[Envelope]:
    """Of a new order, each caused by the one before."""
    now = datetime.now(UTC)
    order_id, cause = OrderId(uuid7(now)), uuid4()
    sale: dict[str, Any] = {"order_id": order_id, "user_id": uuid4(), "total": 12_345, "currency": "USD"}
    messages: Sequence[Message] = (
        CreateOrderRequested(**sale, payment_method="pm_card_visa"),
        OrderCreated(**sale, payment_method="pm_card_visa"),
        PaymentApproved(order_id=order_id, transaction_id=f"txn_{uuid4().hex}"),
        OrderPaid(order_id=order_id),
    )
    told: list[Envelope] = []
    for message in messages:
        told.append(_envelope(message, now, cause))
        cause = told[-1].event_id
    return told


def _envelope(message: Message, now: datetime, cause: UUID) -> Envelope:
    return envelope_of(message, event_id=uuid4(), occurred_at=now, correlation_id=str(uuid4()), causation_id=cause)
