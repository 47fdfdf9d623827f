"""List every life that an order or a payment can have: the events logged and the final status, as `decide` allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Final, TypeAlias
from uuid import UUID

from models import order, payment
from models.lifecycle import PaymentStatus
from models.message_types import type_of
from models.outcome import Charged, Declined, Refunded, Refused, Unanswered, Voided
from models.saga import (
    Become,
    CancelReason,
    CreateOrderRequested,
    OrderCancelled,
    OrderCancelRequested,
    OrderCreated,
    OrderFailed,
    OrderId,
    PaymentApproved,
    PaymentDeclined,
    PaymentFailed,
    UserId,
)

# One message of each type that `decide` takes, and one for each reason that a command may give.
_ID: Final = OrderId(UUID(int=1))
_USER: Final = UserId(UUID(int=2))
ORDER_MESSAGES: Final = (
    CreateOrderRequested(order_id=_ID, user_id=_USER, total=1),
    PaymentApproved(order_id=_ID, transaction_id="t"),
    PaymentDeclined(order_id=_ID, reason="r"),
    PaymentFailed(order_id=_ID, error="e"),
    OrderCancelRequested(order_id=_ID, reason=CancelReason.USER_REQUESTED),
    OrderCancelRequested(order_id=_ID, reason=CancelReason.PAYMENT_TIMEOUT),
)
PAYMENT_MESSAGES: Final = (
    OrderCreated(order_id=_ID, user_id=_USER, total=1),
    OrderCancelled(order_id=_ID, reason=CancelReason.USER_REQUESTED, total=1, currency="USD"),
    OrderFailed(order_id=_ID, reason="r"),
    Charged(order_id=_ID, transaction_id="t"),
    Declined(order_id=_ID, reason="r"),
    Refused(order_id=_ID, error="e"),
    Unanswered(order_id=_ID, error="e"),
    Voided(order_id=_ID),
    Refunded(order_id=_ID),
)
_Decide: TypeAlias = Callable[[Any, Any], Any]


@cache
def order_lives() -> tuple[str, ...]:
    """The lives of an order, each as `events|status|cancel_reason`: the logged events, and the row's values then."""
    return _as_lines(_explore(order.decide, ORDER_MESSAGES), _of_order)


@cache
def payment_lives() -> tuple[str, ...]:
    """The lives of a payment, each as `events|status|due`."""
    return _as_lines(_explore(payment.decide, PAYMENT_MESSAGES), _of_payment)


@cache
def rests_of_order_lives() -> tuple[str, ...]:
    """The lives of orders whose events retention has removed, with the events that were logged since, if any."""
    over = {state for state, _ in _explore(order.decide, ORDER_MESSAGES) if state.status.over}
    return _as_lines(_explore(order.decide, ORDER_MESSAGES, over), _of_order)


@cache
def rests_of_payment_lives() -> tuple[str, ...]:
    """The lives of payments whose events retention has removed."""
    reached = _explore(payment.decide, PAYMENT_MESSAGES)
    over = {state for state, _ in reached if state.status is not PaymentStatus.PROCESSING and state.due is None}
    return _as_lines(_explore(payment.decide, PAYMENT_MESSAGES, over), _of_payment)


def _explore(decide: _Decide, messages: Sequence[Any], begins: Iterable[Any] = (None,)) -> set[tuple[Any, str]]:
    """Every state that a sequence of messages leads to, with the events logged on the way."""
    waiting = [(state, "") for state in begins]
    reached = {life for life in waiting if life[0] is not None}
    while waiting:
        state, chain = waiting.pop()
        for message in messages:
            decision = decide(state, message)
            if not isinstance(decision, Become):
                continue
            names = [*filter(None, [chain]), *([type_of(decision.emit)] if decision.emit else [])]
            life = (decision.state, ",".join(names))
            if life not in reached:
                reached.add(life)
                waiting.append(life)
    return reached


def _of_order(state: order.Order) -> tuple[str, str]:
    return state.status, state.cancel_reason or ""


def _of_payment(state: payment.Payment) -> tuple[str, str]:
    return state.status, state.due or ""


def _as_lines(lives: set[tuple[Any, str]], standing: Callable[[Any], tuple[str, str]]) -> tuple[str, ...]:
    return tuple(sorted({"|".join((chain, *standing(state))) for state, chain in lives}))
