"""An operator can clean poisoned queues, redrive dead letters, replay events, and look after a stack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.freezing import frozen
from tests.support.messages import USER, envelope
from tests.support.ports import OFFSET
from tests.support.stack import Stack, dead_letters, publish, run_saga
from tests.support.waiting import until


def test_a_poisoned_queue_is_cleaned_by_redrive_and_discard(stack: Stack) -> None:
    order_id = str(uuid4())
    approval = json.dumps(envelope("PaymentApproved", {"orderId": order_id, "transactionId": "t"})).encode()
    publish(stack, "payment.approved", b"poison", approval)
    letters = until(lambda: found if len(found := dead_letters(stack)) == 3 else None, what="three dead letters")
    ids = {(letter["queue"], letter["reason"]): letter["id"] for letter in letters}
    # The mirrors' queue gets the same messages as the order service's. A mirror can take an approval that comes first.
    assert ids.keys() == {
        ("order-service", "MALFORMED"), ("order-service", "TOO_EARLY"), ("saga-mirror", "MALFORMED"),
    }  # fmt: skip
    early = ids.pop(("order-service", "TOO_EARLY"))
    shown = stack.saga("dead-letters", "show", early).stdout
    assert order_id in shown
    assert "payment.approved" in shown

    # Now the order that the message waited for is there.
    create = envelope(
        "CreateOrderRequested", {"orderId": order_id, "userId": USER, "total": 5, "paymentMethod": "pm_slow"}
    )
    publish(stack, "order.create.requested", json.dumps(create).encode())
    until(lambda: httpx.get(f"{stack.gateway}/api/orders/{order_id}").status_code == 200)
    stack.saga("dead-letters", "redrive", early)

    def paid() -> bool:
        return bool(httpx.get(f"{stack.gateway}/api/orders/{order_id}").json()["status"] == "PAID")

    until(paid, what="the redriven approval has its effect")
    for malformed in ids.values():
        stack.saga("dead-letters", "discard", malformed, "--yes")
    until(lambda: dead_letters(stack) == [], what="no dead letter is left")


def told(stack: Stack, order_id: str) -> Any:
    """The timeline, told by a mirror or by the event logs. A mirror may be a moment behind."""
    timeline: dict[str, Any] = httpx.get(f"{stack.gateway}/api/orders/{order_id}/timeline").json()
    return {name: value for name, value in timeline.items() if name != "source"}


def test_a_replay_changes_nothing_that_already_happened(stack: Stack) -> None:
    answer = httpx.post(
        f"{stack.gateway}/api/orders",
        json={"userId": USER, "total": 999, "paymentMethod": "pm_card_visa"},
        headers={"Prefer": "wait=20"},
        timeout=30,
    )
    order_id = answer.json()["id"]
    before = told(stack, order_id)
    events = stack.json("events", "list", "--order", order_id)["data"]
    assert {event["eventType"] for event in events} == {"OrderCreated", "OrderPaid", "PaymentApproved"}
    output = stack.saga("events", "replay", "--order", order_id).stdout
    assert "2" in output
    assert "1" in output
    stack.saga("events", "replay", "--type", "OrderCreated", "--since", "1h")
    assert told(stack, order_id) == before
    assert httpx.get(f"{stack.gateway}/api/payments/order/{order_id}").json()["status"] == "APPROVED"
    assert dead_letters(stack) == []


@pytest.mark.parametrize("name", ["worker", "temporal", "rabbitmq", "postgres"])
def test_status_asks_every_process_whether_it_answers(stack: Stack, name: str) -> None:
    pids = {process["name"]: process["pid"] for process in stack.json("status")["processes"]}
    with frozen(pids[name]):
        asked = stack.saga("status", "--json", check=False)
    told = json.loads(asked.stdout)
    assert (asked.returncode, told["ready"]) == (1, False)
    assert name in {process["name"] for process in told["processes"] if not process["healthy"]}
    until(lambda: stack.saga("status", check=False).returncode == 0)


def test_status_names_every_process_and_url(stack: Stack) -> None:
    status = stack.json("status")
    assert status["ready"] is True
    assert {process["name"] for process in status["processes"]} == {
        "postgres", "rabbitmq", "temporal", "order", "payment", "gateway", "worker",
    }  # fmt: skip
    assert all(process["healthy"] and process["pid"] and process["port"] for process in status["processes"])
    assert status["urls"].keys() == {
        "gateway", "temporal_ui", "temporal", "amqp", "rabbitmq_ui", "orders_db", "payments_db",
    }  # fmt: skip
    assert httpx.get(status["urls"]["temporal_ui"]).status_code == 200
    assert httpx.get(status["urls"]["rabbitmq_ui"]).status_code == 200


@pytest.mark.parametrize("port", [3001, 3002])
def test_the_services_answer_the_gateway_alone(stack: Stack, port: int) -> None:
    base = httpx.URL(stack.gateway)
    url = f"http://127.0.0.1:{port - 3000 + int(base.port or 0)}"
    assert httpx.get(f"{url}/healthz").status_code == 200
    assert httpx.get(f"{url}/{'orders' if port == 3001 else 'payments'}").status_code == 401


def test_a_second_stack_on_the_same_data_says_so_in_one_line(stack: Stack) -> None:
    result = run_saga("up", "--data", str(stack.data), check=False)
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert "already runs" in line


def test_the_doctor_makes_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    result = run_saga("doctor", "--data", str(tmp_path / "none"), "--port-offset", str(OFFSET + 400))
    assert "room on the disk" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_bad_configuration_is_told_in_one_line() -> None:
    import os
    import subprocess
    import sys

    result = subprocess.run(
        [sys.executable, "-m", "cli", "run", "order"],
        env={**os.environ, "SAGA_PROVIDER_DECLINE_RATE": "2", "SAGA_PORT": "no"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert "SAGA_PROVIDER_DECLINE_RATE" in line
    assert "SAGA_PORT" in line
