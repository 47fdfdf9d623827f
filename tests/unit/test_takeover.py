"""What is done about an original row, given what we have of it; a contradiction is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from models.lifecycle import Due, PaymentStatus
from models.order import Order
from models.payment import Payment
from models.saga import PaymentId, UserId
from takeover.original_tables import Row, Unfit
from takeover.our_tables import Act, act_on, taken_over, transaction_of
from takeover.report import Report, totals_of

AT = datetime(2026, 2, 15, tzinfo=UTC)
ID, OTHER = UUID(int=1), UUID(int=2)


def row(status: str) -> Row:
    return Row(ID, OTHER, 999, status, AT, AT)


def order(status: str, *, money: int = 999, currency: str = "USD", user: UUID = OTHER) -> Order:
    taken = taken_over("orders", row(status))
    assert isinstance(taken, Order)
    return replace(taken, total=money, currency=currency, user_id=UserId(user))


def payment(status: str, *, money: int = 999, due: Due | None = None, transaction_id: str | None = "t") -> Payment:
    taken = taken_over("payments", row(status))
    assert isinstance(taken, Payment)
    return replace(taken, amount=money, due=due, transaction_id=transaction_id)


TOMBSTONE = payment("CANCELLED", money=0, transaction_id=None)
CHARGED_HERE = replace(payment("APPROVED"), id=PaymentId(UUID(int=3)))


@pytest.mark.parametrize(
    ("theirs", "ours", "act"),
    [
        ("PAID", None, Act.NEW),
        ("PAID", order("PAID"), Act.THERE),
        ("CANCELLED", order("PAID"), Act.CHANGED),
        ("PAID", order("CANCELLED"), Act.AHEAD),
        ("REFUNDED", payment("APPROVED"), Act.CHANGED),
        ("REFUNDED", payment("APPROVED", transaction_id="pi_1"), Act.OWED_AT_STRIPE),
        ("APPROVED", payment("REFUNDED"), Act.AHEAD),
        ("APPROVED", TOMBSTONE, Act.OWED),
        ("DECLINED", TOMBSTONE, Act.AHEAD),
        ("APPROVED", payment("CANCELLED", due=Due.REFUND), Act.AHEAD),
        ("REFUNDED", CHARGED_HERE, Act.AHEAD),
        ("APPROVED", replace(CHARGED_HERE, status=PaymentStatus.REFUNDED, transaction_id=f"original-{ID}"), Act.AHEAD),
    ],
)
def test_what_is_done_about_a_row(theirs: str, ours: Order | Payment | None, act: Act) -> None:
    assert act_on(row(theirs), ours) is act


@pytest.mark.parametrize(
    ("theirs", "ours", "told"),
    [
        ("FAILED", order("PAID"), "FAILED there and PAID here"),
        ("PAID", order("PAID", money=998), "another amount"),
        ("PAID", order("PAID", currency="EUR"), "another amount, currency"),
        ("PAID", order("PAID", user=ID), "or user"),
        ("APPROVED", payment("DECLINED", transaction_id=None), "APPROVED there and DECLINED here"),
        ("APPROVED", CHARGED_HERE, "charged twice"),
    ],
)
def test_a_contradiction_is_refused(theirs: str, ours: Order | Payment, told: str) -> None:
    with pytest.raises(Unfit, match=told):
        act_on(row(theirs), ours)


def test_only_captured_money_has_a_transaction() -> None:
    statuses = ("APPROVED", "REFUNDED", "DECLINED", "FAILED", "CANCELLED")
    assert [status for status in statuses if transaction_of(row(status))] == ["APPROVED", "REFUNDED"]


def test_refusals_are_counted_and_twenty_are_kept() -> None:
    report = Report(theirs=totals_of([("PAID", 1, 5), ("PAID", 2, 6)]), ours={"PAID": (3, 11)})
    for n in range(30):
        report.refuse(str(n))
    assert (report.refusals, len(report.refused), report.agrees) == (30, 20, True)
