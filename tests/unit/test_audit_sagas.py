"""What an audit makes of an order and its payment, where somebody else's message may have told one of them its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from audit.sagas import OrderSide, PaymentSide, Saga, Standing, standing, uncaused, uncompensated

CREATED, OFF, OUTCOME, FOREIGN = (UUID(int=number) for number in range(1, 5))
ORDER = OrderSide(
    order_id=UUID(int=9),
    status="FAILED",
    cancel_reason=None,
    total=999,
    currency="USD",
    coordinator="choreography",
    age=0.0,
    events=[CREATED, OFF],
    answered=FOREIGN,
    removed=False,
)
PAYMENT = PaymentSide(
    order_id=UUID(int=9),
    status="REFUNDED",
    due=None,
    amount=999,
    currency="USD",
    coordinator="choreography",
    payment_method=None,
    age=0.0,
    causes=[CREATED, OFF],
    outcome=OUTCOME,
    removed=False,
)
DECLINED = {"status": "CANCELLED", "cancel_reason": "PAYMENT_DECLINED"}


def saga(order: dict[str, Any], payment: dict[str, Any] | None) -> Saga:
    return Saga(order=ORDER._replace(**order), payment=None if payment is None else PAYMENT._replace(**payment))


@pytest.mark.parametrize("order", [{}, DECLINED], ids=["failed", "declined"])
@pytest.mark.parametrize(
    ("payment", "expected"),
    [
        pytest.param(None, Standing.AT_ODDS, id="no payment could have told it"),
        pytest.param({"status": "APPROVED"}, Standing.AT_ODDS, id="money is kept"),
        pytest.param({"status": "APPROVED", "due": "refund"}, Standing.UNDER_WAY, id="it is being given back"),
        pytest.param({"status": "PROCESSING", "due": "charge"}, Standing.AT_ODDS, id="money may yet be taken"),
        pytest.param({"status": "CANCELLED", "due": "void"}, Standing.UNDER_WAY, id="it is being called off"),
        pytest.param({"status": "CANCELLED"}, Standing.OVER, id="it is called off"),
        pytest.param({"status": "DECLINED"}, Standing.OVER, id="it was declined"),
        pytest.param({"status": "FAILED"}, Standing.OVER, id="it failed"),
        pytest.param({}, Standing.OVER, id="it was given back for the order's end"),
        pytest.param(
            {"causes": [OFF, OFF]}, Standing.OVER, id="it was found captured when it was called off, and given back"
        ),
        pytest.param(
            {"causes": [CREATED, FOREIGN]}, Standing.AT_ODDS, id="it was given back for no event of the order"
        ),
        pytest.param({"causes": None, "removed": True}, Standing.OVER, id="what it was given back for is removed"),
    ],
)
def test_an_order_told_its_end_is_over_once_no_money_is_kept_and_its_payment_says_why(
    order: dict[str, Any], payment: dict[str, Any] | None, expected: Standing
) -> None:
    found = saga(order, payment)
    assert standing(found) is expected
    assert (uncompensated(found, 0.0) is not None) is (expected is Standing.AT_ODDS)


def test_an_order_that_is_off_and_keeps_no_money_may_have_been_told_so_by_somebody_else() -> None:
    assert uncaused(saga({}, {}), 0.0) is None


@pytest.mark.parametrize(
    ("order", "payment"),
    [
        pytest.param({"status": "PAID"}, {"status": "APPROVED"}, id="paid"),
        pytest.param({}, {"status": "APPROVED"}, id="money is kept"),
    ],
)
def test_any_other_order_must_answer_its_own_payment(order: dict[str, Any], payment: dict[str, Any]) -> None:
    found = saga(order, payment)
    assert f"answers {FOREIGN}, the payment's outcome is {OUTCOME}" in str(uncaused(found, 0.0))
    assert found.payment is not None
    retained = replace(found, payment=found.payment._replace(removed=True))
    assert uncaused(retained, 0.0) is None


def test_a_payment_may_answer_nothing_that_its_order_has_not_logged() -> None:
    found = saga({"answered": OUTCOME}, {"causes": [CREATED, FOREIGN]})
    assert f"answers {FOREIGN}, which the order has not logged" in str(uncaused(found, 0.0))
    assert found.order is not None
    assert uncaused(replace(found, order=found.order._replace(removed=True)), 0.0) is None
