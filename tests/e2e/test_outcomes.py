"""Every outcome of a saga is seen through curl, with the bodies and codes of the original services."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import psycopg
import pytest

from tests.support.stack import Stack
from tests.support.waiting import until

USER = "d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f"


def curl(stack: Stack, method: str, path: str, body: Any = None, *headers: str) -> tuple[int, Any]:
    command = ["curl", "-s", "-w", "\n%{http_code}", "-X", method, f"{stack.gateway}/api{path}"]
    for header in ("Content-Type: application/json", *headers):
        command += ["-H", header]
    if body is not None:
        command += ["-d", json.dumps(body)]
    *text, code = subprocess.run(command, capture_output=True, text=True, check=True, timeout=40).stdout.split("\n")
    return int(code), json.loads("\n".join(text))


def create(stack: Stack, payment_method: str) -> str:
    body = {"userId": USER, "total": 999, "paymentMethod": payment_method}
    code, answer = curl(stack, "POST", "/orders", body)
    assert code == 202
    assert answer == {
        "orderId": answer["orderId"],
        "message": "Order creation request accepted",
        "status": "PENDING_PAYMENT",
    }
    return str(answer["orderId"])


def wait_for(stack: Stack, order_id: str, order: str, payment: str) -> dict[str, Any]:
    def reached() -> dict[str, Any]:
        found: dict[str, Any]
        code, found = curl(stack, "GET", f"/orders/{order_id}")
        assert (code, found["status"]) == (200, order)
        code, paid = curl(stack, "GET", f"/payments/order/{order_id}")
        assert (code, paid["status"]) == (200, payment)
        assert found["id"] == paid["orderId"] == order_id
        assert (found["userId"], found["total"], paid["amount"]) == (USER, 999, 999)
        return found

    return until(reached)


@pytest.mark.parametrize(
    ("payment_method", "order", "payment", "reason"),
    [
        ("pm_card_visa", "PAID", "APPROVED", None),
        ("pm_card_chargeDeclined", "CANCELLED", "DECLINED", "PAYMENT_DECLINED"),
        ("pm_error", "FAILED", "FAILED", None),
    ],
)
def test_an_order_ends_as_its_payment_does(
    stack: Stack, payment_method: str, order: str, payment: str, reason: str | None
) -> None:
    order_id = create(stack, payment_method)
    found = wait_for(stack, order_id, order, payment)
    assert found["cancelReason"] == reason
    assert found.keys() == {
        "id", "userId", "total", "status", "createdAt", "updatedAt", "currency", "coordinator", "cancelReason",
    }  # fmt: skip
    assert found["createdAt"].endswith("Z")


def test_a_paid_order_that_is_cancelled_is_refunded(stack: Stack) -> None:
    order_id = create(stack, "pm_card_visa")
    wait_for(stack, order_id, "PAID", "APPROVED")
    code, answer = curl(stack, "PATCH", f"/orders/{order_id}", {"status": "CANCELLED"})
    assert (code, answer) == (202, {"orderId": order_id, "message": "Order cancellation request accepted"})
    assert wait_for(stack, order_id, "CANCELLED", "REFUNDED")["cancelReason"] == "USER_REQUESTED"
    code, problem = curl(stack, "PATCH", f"/orders/{order_id}/cancel")
    assert (code, problem["status"]) == (409, 409)
    code, timeline = curl(stack, "GET", f"/orders/{order_id}/timeline")
    assert code == 200
    assert [entry["eventType"] for entry in timeline["entries"]] == [
        "OrderCreated",
        "PaymentApproved",
        "OrderPaid",
        "OrderCancelled",
        "PaymentRefunded",
    ]


def test_an_order_cancelled_while_its_payment_is_under_way_ends_without_a_charge(stack: Stack) -> None:
    order_id = create(stack, "pm_slow")
    code, _ = curl(stack, "PATCH", f"/orders/{order_id}/cancel")
    assert code == 202
    wait_for(stack, order_id, "CANCELLED", "CANCELLED")


def test_a_post_may_wait_for_the_end(stack: Stack) -> None:
    body = {"userId": USER, "total": 999, "paymentMethod": "pm_card_visa"}
    code, order = curl(stack, "POST", "/orders", body, "Prefer: wait=20")
    assert (code, order["status"]) == (200, "PAID")


def test_lists_and_statistics_have_the_shape_of_the_original(stack: Stack) -> None:
    wait_for(stack, create(stack, "pm_card_visa"), "PAID", "APPROVED")
    code, orders = curl(stack, "GET", "/orders?page=1&limit=10")
    assert code == 200
    assert orders["meta"].keys() == {"page", "limit", "total", "totalPages"}
    assert 1 <= len(orders["data"]) <= 10
    code, payments = curl(stack, "GET", "/payments?page=1&limit=10")
    assert code == 200
    assert payments["meta"]["total"] == orders["meta"]["total"]


def test_statistics_are_what_counting_would_give(stack: Stack) -> None:
    wait_for(stack, create(stack, "pm_card_visa"), "PAID", "APPROVED")
    counting = "SELECT status, currency, count(*), sum(amount)::bigint FROM payments GROUP BY status, currency"

    def equal() -> bool:
        code, stats = curl(stack, "GET", "/payments/stats")
        with psycopg.connect(stack.urls["payments_db"]) as connection:
            counted = {(status, *sums) for status, *sums in connection.execute(counting)}
        told = {(row["status"], *each.values()) for row in stats["byStatus"] for each in row["amounts"]}
        assert (code, told) == (200, counted)
        for row in stats["byStatus"]:
            assert row.keys() == {"status", "count", "totalAmount", "amounts"}
            assert row["count"] == sum(each["count"] for each in row["amounts"])
            assert row["totalAmount"] == sum(each["totalAmount"] for each in row["amounts"])
        return True

    until(equal, what="no saga of another test ends between the two counts")


def test_an_orchestrated_order_is_paid_as_a_choreographed_one_is(stack: Stack) -> None:
    body = {"userId": USER, "total": 999, "paymentMethod": "pm_card_visa", "coordinator": "orchestration"}
    code, answer = curl(stack, "POST", "/orders", body)
    assert (code, answer["status"]) == (202, "PENDING_PAYMENT")
    assert wait_for(stack, answer["orderId"], "PAID", "APPROVED")["coordinator"] == "orchestration"


def test_an_event_stream_tells_each_change_and_ends(stack: Stack) -> None:
    order_id = create(stack, "pm_card_visa")
    command = ["curl", "-sN", "--max-time", "20", f"{stack.gateway}/api/orders/{order_id}/stream"]
    stream = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    events = [line.removeprefix("event: ") for line in stream.splitlines() if line.startswith("event: ")]
    assert events == ["OrderCreated", "PaymentApproved", "OrderPaid"]
