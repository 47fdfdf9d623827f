"""Wrong decisions for the checker to find: each replaces the right decision for some state and message."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from activities.orders import ORDERS
from models.lifecycle import Due, OrderStatus, PaymentStatus
from models.outcome import Charged, Unanswered
from models.saga import (
    Become,
    OrderCancelled,
    OrderCancelRequested,
    OrderCreated,
    PaymentApproved,
    PaymentDeclined,
    PaymentFailed,
    Stale,
)
from tests.model.messages import ORDER

_STALE: Final = Stale(why="a seeded fault")


# wrong decisions of the payment service


def no_tombstone(state: Any, message: Any, decision: Any) -> Any:
    return _STALE if state is None and isinstance(message, OrderCancelled) else decision


def no_void(state: Any, message: Any, decision: Any) -> Any:
    dropped = isinstance(message, OrderCancelled) and isinstance(decision, Become) and decision.state.due is Due.VOID
    return replace(decision, state=replace(decision.state, due=None)) if dropped else decision


def no_refund(state: Any, message: Any, decision: Any) -> Any:
    approved = state is not None and state.status is PaymentStatus.APPROVED
    return _STALE if approved and isinstance(message, OrderCancelled) else decision


def late_charge_ignored(state: Any, message: Any, decision: Any) -> Any:
    cancelled = state is not None and state.status is PaymentStatus.CANCELLED
    return Become(state=replace(state, due=None)) if cancelled and isinstance(message, Charged) else decision


def unanswered_is_declined(state: Any, message: Any, decision: Any) -> Any:
    if not (isinstance(message, Unanswered) and isinstance(decision, Become)):
        return decision
    declined = replace(state, status=PaymentStatus.DECLINED, due=None, reason="no answer")
    return Become(state=declined, emit=PaymentDeclined(order_id=ORDER, reason="no answer"))


def captured_is_failed(state: Any, message: Any, decision: Any) -> Any:
    """The void came too late, and the payment fails although its money was captured."""
    giving_up = state is not None and state.status is PaymentStatus.PROCESSING and state.due is Due.VOID
    if not (giving_up and isinstance(message, Charged)):
        return decision
    failed = replace(state, status=PaymentStatus.FAILED, due=None)
    return Become(state=failed, emit=PaymentFailed(order_id=ORDER, error="no answer"))


def due_forgotten(state: Any, message: Any, decision: Any) -> Any:
    return _STALE if isinstance(decision, Become) and decision.state == state else decision


def charged_anew(state: Any, message: Any, decision: Any) -> Any:
    again = state is not None and isinstance(message, OrderCreated) and state.status is PaymentStatus.APPROVED
    return Become(state=replace(state, status=PaymentStatus.PROCESSING, due=Due.CHARGE)) if again else decision


# wrong decisions of the order service


def timeout_takes_back(state: Any, message: Any, decision: Any) -> Any:
    paid = state is not None and state.status is OrderStatus.PAID
    if not (paid and isinstance(message, OrderCancelRequested)):
        return decision
    emit = OrderCancelled(order_id=ORDER, reason=message.reason, total=state.total, currency=state.currency)
    return Become(state=replace(state, status=OrderStatus.CANCELLED, cancel_reason=message.reason), emit=emit)


def approval_revives(state: Any, message: Any, decision: Any) -> Any:
    cancelled = state is not None and state.status is OrderStatus.CANCELLED
    if not (cancelled and isinstance(message, PaymentApproved)):
        return decision
    pending = replace(state, status=OrderStatus.PENDING_PAYMENT, cancel_reason=None)
    return ORDERS.decide(pending, message, state.coordinator)


def silent_cancellation(state: Any, message: Any, decision: Any) -> Any:
    cancels = isinstance(message, OrderCancelRequested) and isinstance(decision, Become)
    return replace(decision, emit=None) if cancels else decision


def decline_ignored(state: Any, message: Any, decision: Any) -> Any:
    return _STALE if isinstance(message, PaymentDeclined) else decision


def paid_unasked(state: Any, message: Any, decision: Any) -> Any:
    """A declined payment pays the order."""
    if not (isinstance(message, PaymentDeclined) and isinstance(decision, Become)):
        return decision
    return ORDERS.decide(state, PaymentApproved(order_id=ORDER, transaction_id="none"), state.coordinator)
