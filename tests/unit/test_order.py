"""Every status and message of an order is classified, and no sequence of them breaks the lifecycle."""

from dataclasses import replace
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.lifecycle import OrderStatus
from models.order import Order, OrderMessage, decide
from models.saga import (
    Become,
    CancelReason,
    Coordinator,
    CreateOrderRequested,
    Illegal,
    OrderCancelled,
    OrderCancelRequested,
    OrderCreated,
    OrderFailed,
    OrderId,
    OrderPaid,
    PaymentApproved,
    PaymentDeclined,
    PaymentFailed,
    Stale,
    TooEarly,
    UserId,
)

ID = OrderId(UUID(int=1))
CREATE = CreateOrderRequested(order_id=ID, user_id=UserId(UUID(int=2)), total=999)
MESSAGES: dict[str, OrderMessage] = {
    "create": CREATE,
    "create otherwise": replace(CREATE, total=1000),
    "approved": PaymentApproved(order_id=ID, transaction_id="t"),
    "declined": PaymentDeclined(order_id=ID, reason="Insufficient funds"),
    "failed": PaymentFailed(order_id=ID, error="no answer"),
    "cancel by user": OrderCancelRequested(order_id=ID),
    "cancel by timer": OrderCancelRequested(order_id=ID, reason=CancelReason.PAYMENT_TIMEOUT),
}
# Section 3 of docs/specification.md, completed: what each message leads to, for an unknown order and in each status.
TABLE = {
    #                   not known        PENDING_PAYMENT   PAID         CANCELLED  FAILED
    "create":           (OrderCreated,   Stale,            Stale,       Stale,     Stale),
    "create otherwise": (OrderCreated,   Illegal,          Illegal,     Illegal,   Illegal),
    "approved":         (TooEarly,       OrderPaid,        Stale,       Stale,     Stale),
    "declined":         (TooEarly,       OrderCancelled,   Stale,       Stale,     Stale),
    "failed":           (TooEarly,       OrderFailed,      Stale,       Stale,     Stale),
    "cancel by user":   (TooEarly,       OrderCancelled,   OrderCancelled, Stale,  Stale),
    "cancel by timer":  (TooEarly,       OrderCancelled,   Stale,       Stale,     Stale),
}  # fmt: skip


def order(status: OrderStatus) -> Order:
    created = decide(None, CREATE)
    assert isinstance(created, Become)
    reason = CancelReason.USER_REQUESTED if status is OrderStatus.CANCELLED else None
    return replace(created.state, status=status, cancel_reason=reason)


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("column", range(5), ids=["not known", *OrderStatus])
def test_every_status_and_message_is_classified(name: str, column: int) -> None:
    before = None if column == 0 else order(list(OrderStatus)[column - 1])
    decision = decide(before, MESSAGES[name])
    answer = type(decision.emit) if isinstance(decision, Become) else type(decision)
    assert answer == TABLE[name][column]


def test_the_table_names_every_message_and_status() -> None:
    assert TABLE.keys() == MESSAGES.keys()
    assert {type(message) for message in MESSAGES.values()} == {*get_args(OrderMessage)}
    assert {len(row) for row in TABLE.values()} == {1 + len(OrderStatus)}


def test_a_declined_payment_cancels_the_order_with_its_reason() -> None:
    decision = decide(order(OrderStatus.PENDING_PAYMENT), MESSAGES["declined"])
    assert isinstance(decision, Become)
    assert decision.state.cancel_reason == CancelReason.PAYMENT_DECLINED


def test_an_order_keeps_the_coordinator_that_created_it() -> None:
    decision = decide(None, CREATE, Coordinator.ORCHESTRATION)
    assert isinstance(decision, Become)
    assert decision.state.coordinator == Coordinator.ORCHESTRATION


@pytest.mark.parametrize("told", ["approved", "declined", "failed"])
def test_only_its_workflow_tells_an_orchestrated_order_of_its_payment(told: str) -> None:
    state = replace(order(OrderStatus.PENDING_PAYMENT), coordinator=Coordinator.ORCHESTRATION)
    assert isinstance(decide(state, MESSAGES[told]), Stale)
    assert isinstance(decide(state, MESSAGES[told], Coordinator.ORCHESTRATION), Become)


@pytest.mark.parametrize("total", [0, -1, 10**12 + 1])
def test_a_total_out_of_range_is_no_order(total: int) -> None:
    with pytest.raises(ValueError, match="1 … 1000000000000 minor units"):
        replace(CREATE, total=total)


def test_payment_declined_cannot_be_requested_as_a_reason() -> None:
    with pytest.raises(ValueError, match="cannot be requested"):
        OrderCancelRequested(order_id=ID, reason=CancelReason.PAYMENT_DECLINED)


ALLOWED = {
    (None, OrderStatus.PENDING_PAYMENT),
    (OrderStatus.PENDING_PAYMENT, OrderStatus.PAID),
    (OrderStatus.PENDING_PAYMENT, OrderStatus.CANCELLED),
    (OrderStatus.PENDING_PAYMENT, OrderStatus.FAILED),
    (OrderStatus.PAID, OrderStatus.CANCELLED),
}


@given(st.lists(st.sampled_from(list(MESSAGES.values())), max_size=12))
def test_no_sequence_of_messages_leaves_the_lifecycle(messages: list[OrderMessage]) -> None:
    state: Order | None = None
    for message in messages:
        decision = decide(state, message)
        if isinstance(decision, Become):
            assert (state.status if state else None, decision.state.status) in ALLOWED
            assert decision.emit is not None
            assert (decision.state.status is OrderStatus.CANCELLED) == (decision.state.cancel_reason is not None)
            state = decision.state


@given(st.lists(st.sampled_from(list(MESSAGES.values())), max_size=12))
def test_a_message_delivered_again_at_once_changes_nothing(messages: list[OrderMessage]) -> None:
    state: Order | None = None
    for message in messages:
        decision = decide(state, message)
        if isinstance(decision, Become):
            state = decision.state
            assert isinstance(decide(state, message), Stale)
