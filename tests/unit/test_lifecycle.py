"""The rules of the lifecycles say what `decide` does, and the conditions of SQL say the same as the rules."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from audit.possible_lives import order_lives, payment_lives
from models import conditions, order, payment
from models.lifecycle import (
    BEYOND_CANCELLING,
    Due,
    OrderStatus,
    PaymentStatus,
    at_rest,
    cancellable,
    command_behind,
    over,
    settled,
    stage_of,
    uncompensated,
)
from models.message_types import MESSAGE_TYPES, CommandType, EventType
from models.order import Order
from models.payment import Payment
from models.saga import (
    Become,
    CancelReason,
    CreateOrderRequested,
    OrderCancelled,
    OrderCancelRequested,
    OrderCreated,
    OrderEvent,
    OrderId,
    PaymentEvent,
    UserId,
)

ID = OrderId(UUID(int=1))
CREATE = CreateOrderRequested(order_id=ID, user_id=UserId(UUID(int=2)), total=999)
DUES = (None, *Due)


def order_in(status: OrderStatus) -> Order:
    created = order.decide(None, CREATE)
    assert isinstance(created, Become)
    return replace(created.state, status=status)


def payment_in(status: PaymentStatus, due: Due | None) -> Payment:
    created = payment.decide(None, OrderCreated(order_id=ID, user_id=CREATE.user_id, total=999))
    assert isinstance(created, Become)
    return replace(created.state, status=status, due=due, transaction_id="t")


def lives(told: Sequence[str]) -> set[tuple[tuple[EventType, ...], str, str]]:
    """Each possible log of an order or a payment, with its status and its reason or what is due."""
    parts = (life.split("|") for life in told)
    return {(tuple(EventType(name) for name in chain.split(",") if name), *rest) for chain, *rest in parts}  # type: ignore[misc]


@pytest.mark.parametrize("reason", [reason for reason in CancelReason if reason.requestable])
@pytest.mark.parametrize("status", OrderStatus)
def test_an_order_is_cancellable_where_decide_cancels_it(status: OrderStatus, reason: CancelReason) -> None:
    decision = order.decide(order_in(status), OrderCancelRequested(order_id=ID, reason=reason))
    assert cancellable(status, reason) is isinstance(decision, Become)


@pytest.mark.parametrize("reason", CancelReason)
def test_a_reason_is_requestable_where_a_command_may_give_it(reason: CancelReason) -> None:
    try:
        OrderCancelRequested(order_id=ID, reason=reason)
    except ValueError:
        assert not reason.requestable
    else:
        assert reason.requestable


def test_only_an_order_that_is_off_is_beyond_cancelling() -> None:
    assert {status for status in OrderStatus if status.off} == BEYOND_CANCELLING


@pytest.mark.parametrize(("status", "due"), [*product(PaymentStatus, DUES)])
def test_a_payment_is_uncompensated_where_decide_calls_it_off(status: PaymentStatus, due: Due | None) -> None:
    state = payment_in(status, due)
    decision = payment.decide(state, OrderCancelled(order_id=ID, reason=CancelReason.USER_REQUESTED))
    changed = isinstance(decision, Become) and decision.state != state
    assert uncompensated(status, due) is changed


def test_a_payment_that_nobody_knows_is_uncompensated() -> None:
    assert uncompensated(None, None)


@pytest.mark.parametrize("status", PaymentStatus)
def test_a_payment_may_owe_where_some_life_of_it_does(status: PaymentStatus) -> None:
    owing = {told for _, told, due in lives(payment_lives()) if due}
    assert status.may_owe is (status in owing)


def test_in_every_life_a_payment_is_settled_where_nothing_is_due() -> None:
    for _, status, due in lives(payment_lives()):
        assert settled(PaymentStatus(status), Due(due) if due else None) is (not due)


def test_each_event_tells_the_status_that_its_life_has_then() -> None:
    for chain, status, _ in lives(order_lives()):
        assert stage_of(chain[-1]).status == status
    # No event tells of a change of a payment that has no event: a charge begins, or a void is due.
    for chain, status, due in lives(payment_lives()):
        if chain and not due:
            assert stage_of(chain[-1]).status == status


def test_the_places_of_events_are_those_of_every_life() -> None:
    for chain, *_ in lives(order_lives()) | lives(payment_lives()):
        places = [stage_of(event).place for event in chain]
        assert places == sorted(set(places))


@pytest.mark.parametrize("event", EventType)
def test_an_event_tells_of_its_own_service(event: EventType) -> None:
    own = OrderStatus if MESSAGE_TYPES[event] in OrderEvent.__args__ else PaymentStatus
    assert isinstance(stage_of(event).status, own)
    assert (own is PaymentStatus) is (MESSAGE_TYPES[event] in PaymentEvent.__args__)


@pytest.mark.parametrize("reason", CancelReason)
def test_a_command_is_behind_a_cancellation_that_can_be_asked_for(reason: CancelReason) -> None:
    expected = CommandType.ORDER_CANCEL_REQUESTED if reason.requestable else None
    assert command_behind(EventType.ORDER_CANCELLED, reason.value) == expected


@pytest.mark.parametrize(("order_status", "payment_status"), [*product(OrderStatus, PaymentStatus)])
def test_a_saga_at_rest_is_over(order_status: OrderStatus, payment_status: PaymentStatus) -> None:
    if at_rest(order_status, payment_status):
        assert over(order_status, payment_status)


@pytest.mark.parametrize(("order_status", "due"), [*product(OrderStatus, Due)])
def test_nothing_rests_while_something_is_due(order_status: OrderStatus, due: Due) -> None:
    assert not any(at_rest(order_status, payment_status, due) for payment_status in PaymentStatus)


@pytest.mark.parametrize("order_status", OrderStatus)
def test_nothing_rests_without_a_payment(order_status: OrderStatus) -> None:
    assert not at_rest(order_status, None)


def holds(condition: str, status: str, due: str | None) -> bool:
    with sqlite3.connect(":memory:") as database:
        sql = f"SELECT count(*) FROM (SELECT ? AS status, ? AS due) WHERE {condition}"
        ((count,),) = database.execute(sql, [status, due]).fetchall()
    return bool(count)


@pytest.mark.parametrize(
    ("condition", "rule"),
    [
        (conditions.ORDER_WAITS, lambda status: not status.over),
        (conditions.ORDER_OVER, lambda status: status.over),
        (conditions.ORDER_OFF, lambda status: status.off),
        (conditions.ORDER_NOT_OFF, lambda status: not status.off),
    ],
)
def test_a_condition_on_orders_holds_where_its_rule_does(condition: str, rule: Callable[[Any], bool]) -> None:
    found = {status for status in OrderStatus if holds(condition, status, None)}
    assert found == {status for status in OrderStatus if rule(status)}


@pytest.mark.parametrize(
    ("condition", "rule"),
    [
        (conditions.PAYMENT_DUE, lambda _, due: due is not None),
        (conditions.PAYMENT_SETTLED, settled),
        (conditions.PAYMENT_WITHOUT_MONEY, lambda status, due: status.without_money and due is None),
    ],
)
def test_a_condition_on_payments_holds_where_its_rule_does(condition: str, rule: Callable[[Any, Any], bool]) -> None:
    pairs = set(product(PaymentStatus, DUES))
    assert {pair for pair in pairs if holds(condition, *pair)} == {pair for pair in pairs if rule(*pair)}
