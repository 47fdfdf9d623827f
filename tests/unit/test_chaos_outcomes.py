"""An order that came out otherwise than its client asked for is a finding of tests.chaos.outcomes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from bench.workload import Kind, Sale
from models.saga import Coordinator
from tests.chaos.outcomes import outcomes
from tests.chaos.system import System
from tests.support.load import Load
from tests.support.messages import USER

ROW: dict[str, Any] = {
    "id": "1",
    "total": 999,
    "coordinator": "choreography",
    "payment_method": "pm_card_visa",
    "status": "PAID",
    "cancel_reason": None,
    "user_id": USER,
}


def judged(*rows: dict[str, Any], key: str | None = "k", cancel_after: float | None = None) -> list[str]:
    """The findings in these rows when a client has placed one order, the first."""
    kind = Kind(payment_method=rows[0]["payment_method"], cancel_after=cancel_after)
    load = Load(["http://127.0.0.1:1"], patient=True, timeout=5)
    load.accepted["1"] = Sale.of(kind, Coordinator.CHOREOGRAPHY, user_id=UUID(USER), total=999, key=key)
    system = SimpleNamespace(world=SimpleNamespace(rows=lambda _role, _sql: list(rows)))
    return outcomes(cast(System, system), load)[1]


def test_an_order_that_came_out_as_asked_is_no_finding() -> None:
    assert judged(ROW) == []
    assert judged(ROW | {"status": "CANCELLED", "cancel_reason": "USER_REQUESTED"}, cancel_after=1.0) == []


@pytest.mark.parametrize("change", [{"total": 1_000}, {"coordinator": "orchestration"}, {"user_id": "another"}])
def test_another_order_than_was_asked_for_is_found(change: dict[str, Any]) -> None:
    assert any("what was asked for" in finding for finding in judged(ROW | change))


@pytest.mark.parametrize(
    "change",
    [
        {"payment_method": "pm_card_chargeDeclined"},
        {"payment_method": "pm_unavailable"},
        {"status": "CANCELLED", "cancel_reason": "PAYMENT_DECLINED"},
        {"status": "CANCELLED", "cancel_reason": "USER_REQUESTED"},
    ],
)
def test_an_end_that_its_order_cannot_have_is_found(change: dict[str, Any]) -> None:
    assert any("to be paid by" in finding for finding in judged(ROW | change))


def test_a_second_order_for_a_request_with_a_key_is_found_and_one_without_may_have_two() -> None:
    assert any("order 2 is" in finding for finding in judged(ROW, ROW | {"id": "2"}))
    assert judged(ROW, ROW | {"id": "2"}, key=None) == []


def test_good_cards_that_are_not_paid_are_found() -> None:
    assert judged(ROW | {"status": "CANCELLED", "cancel_reason": "PAYMENT_TIMEOUT"}) == [
        "0 of 1 orders with a good card, which nobody cancelled, were paid"
    ]
