"""Name every life that an order or a payment can have had: all that `decide` leads to, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeAlias
from uuid import UUID

from models import order, payment
from models.outcome import Charged, Declined, Refunded, Refused, Unanswered, Voided
from models.saga import (
    Become,
    CancelReason,
    CreateOrderRequested,
    OrderCancelled,
    OrderCancelRequested,
    OrderCreated,
    OrderId,
    PaymentApproved,
    PaymentDeclined,
    PaymentFailed,
    UserId,
)

_ID: Final = OrderId(UUID(int=1))
_USER: Final = UserId(UUID(int=2))
_ORDER_MESSAGES: Final = (
    CreateOrderRequested(order_id=_ID, user_id=_USER, total=1),
    PaymentApproved(order_id=_ID, transaction_id="t"),
    PaymentDeclined(order_id=_ID, reason="r"),
    PaymentFailed(order_id=_ID, error="e"),
    OrderCancelRequested(order_id=_ID, reason=CancelReason.USER_REQUESTED),
    OrderCancelRequested(order_id=_ID, reason=CancelReason.PAYMENT_TIMEOUT),
)
_PAYMENT_MESSAGES: Final = (
    OrderCreated(order_id=_ID, user_id=_USER, total=1),
    OrderCancelled(order_id=_ID, reason=CancelReason.USER_REQUESTED, total=1, currency="USD"),
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
    """Each as `events|status|cancel_reason`: what the log tells, and where the row then stands."""
    reached = _explore(order.decide, _ORDER_MESSAGES)
    return _sorted({(chain, state.status, state.cancel_reason or "") for state, chain in reached})


@cache
def payment_lives() -> tuple[str, ...]:
    """Each as `events|status|due`."""
    reached = _explore(payment.decide, _PAYMENT_MESSAGES)
    return _sorted({(chain, state.status, state.due or "") for state, chain in reached})


def _explore(decide: _Decide, messages: Sequence[Any]) -> Mapping[tuple[Any, str], None]:
    """Every state that any sequence of messages leads to, with the events logged on the way."""
    reached: dict[tuple[Any, str], None] = {}
    waiting: list[tuple[Any, str]] = [(None, "")]
    while waiting:
        state, chain = waiting.pop()
        for message in messages:
            decision = decide(state, message)
            if not isinstance(decision, Become):
                continue
            names = [*filter(None, [chain]), *([type(decision.emit).__name__] if decision.emit else [])]
            life = (decision.state, ",".join(names))
            if life not in reached:
                reached[life] = None
                waiting.append(life)
    return reached


def _sorted(lives: set[tuple[str, str, str]]) -> tuple[str, ...]:
    return tuple(sorted("|".join(life) for life in lives))
