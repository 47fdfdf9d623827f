"""What is wrong with an order is told from four databases; each order and each charge is counted once."""

from __future__ import annotations

import pytest

from takeover.cross_check import CrossCheck, Fault, OrderSide, PaymentSide, Saga, faults_of


def there(status: str, money: int = 999) -> OrderSide:
    return OrderSide(False, money, "USD", status)


def here(status: str, money: int = 999, currency: str = "USD") -> OrderSide:
    return OrderSide(True, money, currency, status)


def paid_there(status: str, money: int = 999) -> PaymentSide:
    return PaymentSide(False, "p1", money, status)


def paid_here(status: str, money: int = 999, *, id: str = "p1", due: str | None = None, by: str = "t") -> PaymentSide:
    return PaymentSide(True, id, money, status, due, by)


@pytest.mark.parametrize(
    ("orders", "payments", "faults"),
    [
        # As they are in the middle of a swap: taken over, gone on here, gone on there
        ([there("PAID")], [paid_there("APPROVED")], []),
        ([there("PAID"), here("PAID")], [paid_there("APPROVED"), paid_here("APPROVED")], []),
        ([there("PAID"), here("CANCELLED")], [paid_there("APPROVED"), paid_here("REFUNDED")], []),
        ([there("CANCELLED"), here("PAID")], [paid_there("REFUNDED"), paid_here("APPROVED")], []),
        ([there("CANCELLED")], [paid_there("APPROVED"), paid_here("REFUNDED", id="p2", by="original-p1")], []),
        ([here("FAILED")], [paid_there("DECLINED")], []),
        ([here("CANCELLED")], [], []),
        # Each fault
        ([], [paid_there("APPROVED")], [Fault.LOST]),
        ([here("PAID")], [], [Fault.UNPAID]),
        ([here("PAID")], [paid_there("REFUNDED")], [Fault.UNPAID]),
        ([here("CANCELLED")], [paid_there("APPROVED"), paid_here("CANCELLED", 0, id="p2")], [Fault.KEPT]),
        ([there("FAILED")], [paid_there("APPROVED")], [Fault.KEPT]),
        ([here("PAID")], [paid_there("APPROVED"), paid_here("APPROVED", id="p2")], [Fault.TWICE]),
        ([here("PAID")], [paid_there("APPROVED", 998)], [Fault.AMOUNT]),
        ([there("PAID"), here("PAID", 998)], [paid_there("APPROVED")], [Fault.AMOUNT]),
        ([there("PAID"), here("PAID", currency="EUR")], [paid_there("APPROVED")], [Fault.AMOUNT]),
        ([there("FAILED"), here("PAID")], [paid_there("APPROVED")], [Fault.APART]),
    ],
)
def test_what_is_wrong_with_an_order(orders: list[OrderSide], payments: list[PaymentSide], faults: list[Fault]) -> None:
    assert [*faults_of(Saga("o", orders, payments))] == faults


@pytest.mark.parametrize(
    ("orders", "payments"),
    [
        ([there("PENDING_PAYMENT")], []),
        ([here("PENDING_PAYMENT")], [paid_there("APPROVED")]),
        ([there("CANCELLED")], [paid_there("PROCESSING")]),
        ([here("CANCELLED")], [paid_there("APPROVED"), paid_here("CANCELLED", due="refund", by="original-p1")]),
    ],
)
def test_what_is_under_way_is_counted_and_not_judged(orders: list[OrderSide], payments: list[PaymentSide]) -> None:
    found = CrossCheck()
    found.add(Saga("o", orders, payments))
    assert (found.under_way, found.holds) == (1, True)


def test_a_payment_that_one_database_has_still_under_way_is_judged_by_the_other() -> None:
    found = CrossCheck()
    found.add(Saga("o", [here("CANCELLED")], [paid_there("PROCESSING"), paid_here("APPROVED")]))
    assert (found.under_way, found.faults) == (0, {Fault.KEPT: ["o"]})


def test_each_order_and_each_charge_is_counted_once() -> None:
    found = CrossCheck()
    found.add(Saga("a", [there("PAID"), here("PAID")], [paid_there("APPROVED"), paid_here("APPROVED")]))
    found.add(
        Saga("b", [there("PAID", 5), here("CANCELLED", 5)], [paid_there("APPROVED", 5), paid_here("REFUNDED", 5)])
    )
    found.add(Saga("c", [there("FAILED", 7)], [paid_there("DECLINED", 7)]))
    assert found.sums == {
        "orders": (3, 1011),
        "paid orders": (1, 999),
        "captured": (2, 1004),
        "refunded": (1, 5),
        "kept": (1, 999),
    }
    assert found.behind == {
        "orders with another status there": 1,
        "payments with another status there": 1,
        "orders there alone": 1,
        "payments there alone": 1,
    }


def test_a_fault_must_be_there_twice() -> None:
    earlier, later = CrossCheck(), CrossCheck()
    earlier.add(Saga("a", [here("PAID")], []))
    later.add(Saga("a", [here("PAID")], []))
    later.add(Saga("b", [here("PAID")], []))
    later.keep(earlier)
    assert later.faults == {Fault.UNPAID: ["a"]}
    later.keep(CrossCheck())
    assert later.holds
