"""What is done about an original row, given what we have of it; a contradiction is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from takeover.original_tables import Kind, Row, Unfit
from takeover.our_tables import Act, Known, act_on, transaction_of
from takeover.report import Report, totals_of

AT = datetime(2026, 2, 15, tzinfo=UTC)
ID, OTHER = UUID(int=1), UUID(int=2)


def row(status: str) -> Row:
    return Row(ID, OTHER, 999, status, AT, AT)


def known(
    status: str, *, money: int = 999, currency: str = "USD", due: str | None = None, transaction_id: str | None = "t"
) -> Known:
    return Known(ID, OTHER, money, currency, "choreography", None, status, due, transaction_id, True)


@pytest.mark.parametrize(
    ("kind", "theirs", "ours", "act"),
    [
        ("orders", "PAID", None, Act.NEW),
        ("orders", "PAID", known("PAID"), Act.THERE),
        ("orders", "CANCELLED", known("PAID"), Act.CHANGED),
        ("orders", "PAID", known("CANCELLED"), Act.AHEAD),
        ("payments", "REFUNDED", known("APPROVED"), Act.CHANGED),
        ("payments", "APPROVED", known("REFUNDED"), Act.AHEAD),
        ("payments", "APPROVED", known("CANCELLED", money=0, transaction_id=None), Act.OWED),
        ("payments", "DECLINED", known("CANCELLED", money=0, transaction_id=None), Act.AHEAD),
        ("payments", "APPROVED", known("CANCELLED", due="refund"), Act.AHEAD),
    ],
)
def test_what_is_done_about_a_row(kind: Kind, theirs: str, ours: Known | None, act: Act) -> None:
    assert act_on(kind, row(theirs), ours) is act


@pytest.mark.parametrize(
    ("kind", "theirs", "ours"),
    [
        ("orders", "FAILED", known("PAID")),
        ("orders", "PAID", known("PAID", money=998)),
        ("orders", "PAID", known("PAID", currency="EUR")),
        ("orders", "PAID", known("PAID")._replace(other_id=ID)),
        ("payments", "APPROVED", known("DECLINED", transaction_id=None)),
    ],
)
def test_a_contradiction_is_refused(kind: Kind, theirs: str, ours: Known) -> None:
    with pytest.raises(Unfit):
        act_on(kind, row(theirs), ours)


def test_only_captured_money_has_a_transaction() -> None:
    statuses = ("APPROVED", "REFUNDED", "DECLINED", "FAILED", "CANCELLED")
    assert [status for status in statuses if transaction_of(row(status))] == ["APPROVED", "REFUNDED"]


def test_refusals_are_counted_and_twenty_are_kept() -> None:
    report = Report(theirs=totals_of([("PAID", 1, 5), ("PAID", 2, 6)]), ours={"PAID": (3, 11)})
    for n in range(30):
        report.refuse(str(n))
    assert (report.refusals, len(report.refused), report.agrees) == (30, 20, True)
