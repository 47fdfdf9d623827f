"""Every command of `saga` does what its options say, on a real stack (tests/unit/test_command_lines.py finds gaps)."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from tests.support.messages import USER, envelope
from tests.support.stack import FINDERS, Stack, dead_letters, publish
from tests.support.waiting import until

Saga = Callable[..., Result]


@pytest.fixture
def saga(stack: Stack) -> Saga:
    """Runs a command on the stack, in this process, and checks its exit code."""

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [*arguments, "--data", str(stack.data)])
        assert result.exit_code == code, (arguments, result.output, result.exception)
        return result

    return run


def order_of(result: Result) -> dict[str, Any]:
    order: dict[str, Any] = json.loads(result.stdout)
    return order


@pytest.fixture(scope="module")
def paid(stack: Stack) -> str:
    """The id of an order that is paid."""
    created = stack.json("order", "create", "--total", "7", "--payment-method", "pm_card_visa", "--wait", "20")
    assert created["status"] == "PAID"
    return str(created["id"])


def test_an_order_is_created_with_all_that_can_be_chosen_and_once_for_a_key(saga: Saga) -> None:
    key = str(uuid4())

    def create() -> dict[str, Any]:
        return order_of(
            saga(
                "order", "create", "--total", "999", "--user", USER, "--currency", "EUR", "--coordinator",
                "orchestration", "--payment-method", "pm_card_visa", "--wait", "20", "--idempotency-key", key, "--json",
            )
        )  # fmt: skip

    first, again = create(), create()

    chosen = (first["userId"], first["total"], first["currency"], first["coordinator"])
    assert chosen == (USER, 999, "EUR", "orchestration")
    assert (first["status"], again["id"]) == ("PAID", first["id"])


def test_what_is_said_about_a_new_order_can_be_pasted(saga: Saga) -> None:
    said = saga("order", "create", "--total", "5", "--payment-method", "pm_card_visa").stdout
    command = said.splitlines()[1]
    watched = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=60, check=True)
    assert watched.stdout.splitlines()[-1].endswith("is PAID, its payment APPROVED")


def test_orders_are_listed_by_page_status_and_user(saga: Saga) -> None:
    user = str(uuid4())
    for method in ("pm_card_visa", "pm_card_chargeDeclined", "pm_card_visa"):
        saga("order", "create", "--total", "3", "--user", user, "--payment-method", method, "--wait", "20")

    listed = order_of(
        saga("order", "list", "--user", user, "--status", "PAID", "--page", "2", "--limit", "1", "--json")
    )

    assert listed["meta"] == {"page": 2, "limit": 1, "total": 2, "totalPages": 2}
    assert [order["status"] for order in listed["data"]] == ["PAID"]
    shown = saga("order", "list", "--user", user).stdout.splitlines()
    assert [shown[0].split()[0], len(shown), shown[-1]] == ["ID", 5, "Page 1 of 1, 3 in all"]


def test_an_order_is_shown_told_and_watched(saga: Saga, paid: str) -> None:
    assert order_of(saga("order", "get", paid, "--json"))["status"] == "PAID"
    assert "PAID" in saga("order", "get", paid).stdout
    told = order_of(saga("order", "timeline", paid, "--json"))
    assert [entry["eventType"] for entry in told["entries"]] == ["OrderCreated", "PaymentApproved", "OrderPaid"]
    assert "its saga is over" in saga("order", "timeline", paid).stdout
    watched = map(json.loads, saga("order", "watch", paid, "--json").stdout.splitlines())
    assert [event["eventType"] for event in watched][-1] == "OrderPaid"
    assert saga("order", "watch", paid).stdout.endswith("is PAID, its payment APPROVED\n")


@pytest.mark.parametrize("json_wanted", [True, False])
def test_an_order_is_cancelled(saga: Saga, json_wanted: bool) -> None:
    created = order_of(saga("order", "create", "--total", "9", "--payment-method", "pm_slow", "--json"))
    order_id = created["orderId"]
    said = saga("order", "cancel", order_id, "--json") if json_wanted else saga("order", "cancel", order_id)
    assert order_id in (order_of(said)["orderId"] if json_wanted else said.stdout)
    until(lambda: order_of(saga("order", "get", order_id, "--json"))["status"] == "CANCELLED")


def test_events_are_listed_whichever_conditions_are_left_out(saga: Saga, paid: str) -> None:
    now = datetime.now(UTC)
    conditions = (
        ("--order", paid),
        ("--type", "OrderPaid"),
        ("--since", "2h"),
        ("--until", (now + timedelta(minutes=1)).isoformat()),
    )
    for chosen in ((), *conditions):
        found = order_of(saga("events", "list", *chosen, "--limit", "1000", "--json"))["data"]
        assert ("OrderPaid", paid) in {(event["eventType"], event["payload"]["orderId"]) for event in found}, chosen


def test_events_before_a_time_of_one_service_are_listed_up_to_a_limit(saga: Saga, paid: str) -> None:
    listed = order_of(saga("events", "list", "--service", "payment", "--limit", "1", "--until", "0s", "--json"))["data"]
    assert len(listed) == 1
    assert listed[0]["eventType"].startswith("Payment")
    assert order_of(saga("events", "list", "--order", paid, "--since", "0s", "--json"))["data"] == []
    assert saga("events", "list", "--limit", "1").stdout.endswith("there may be more, raise --limit\n")
    assert "--type takes one of" in " ".join(saga("events", "list", "--type", "Paid", code=2).stderr.split())


def test_events_are_replayed_by_order_type_time_and_service(saga: Saga, paid: str) -> None:
    said = saga("events", "replay", "--order", paid, "--type", "OrderPaid", "--since", "1d", "--until", "0s")
    assert said.stdout.splitlines()[0] == "Replayed 1 event of the order service"
    everything = saga("events", "replay", "--service", "payment", "--yes").stdout
    assert everything.startswith("Replayed ")
    assert everything.endswith(" of the payment service\n")
    assert saga("events", "replay", code=2).stdout == ""


def test_dead_letters_are_listed_shown_redriven_and_discarded(stack: Stack, saga: Saga) -> None:
    order_id = str(uuid4())
    approval = json.dumps(envelope("PaymentApproved", {"orderId": order_id, "transactionId": "t"})).encode()
    publish(stack, "payment.approved", "poison: ü€😀".encode(), approval)
    until(lambda: len(dead_letters(stack)) == 3, what="three dead letters")

    def early() -> list[str]:
        filters = ["dead-letters", "list", "--reason", "too_early", "--order", order_id, "--json"]
        return [letter["id"] for letter in order_of(saga(*filters))["data"]]

    for filters in (
        ["dead-letters", "list", "--reason", "TOO_EARLY"],
        ["dead-letters", "list", "--event-type", "PaymentApproved"],
        ["dead-letters", "list", "--order", order_id],
        ["dead-letters", "list", "--queue", "saga-mirror"],
    ):  # the broker takes a moment to put back the letters that were read
        until(lambda filters=filters: saga(*filters).stdout.endswith("\n1 dead letter\n"))  # type: ignore[misc]
    (letter,) = until(early)
    assert order_of(saga("dead-letters", "show", letter, "--json"))["body"]["payload"]["orderId"] == order_id
    assert order_id in saga("dead-letters", "show", letter).stdout

    saga(
        "dead-letters", "redrive", "--all", "--reason", "TOO_EARLY", "--queue", "order-service",
        "--event-type", "PaymentApproved", "--order", order_id,
    )  # fmt: skip
    (again,) = until(early, what="it is given up again: its order is still unknown")
    assert saga("dead-letters", "redrive", again).stdout.endswith("Redrove 1 dead letter\n")
    until(early, what="and again")

    assert saga("dead-letters", "discard", "--all", code=2).stdout == ""
    saga("dead-letters", "discard", "--all", "--order", order_id, "--event-type", "PaymentApproved", "--yes")
    saga("dead-letters", "discard", "--all", "--reason", "MALFORMED", "--queue", "saga-mirror", "-y")
    (last,) = until(lambda: dead_letters(stack))
    assert saga("dead-letters", "discard", last["id"], "--yes").stdout.endswith("Discarded 1 dead letter\n")
    until(lambda: saga("dead-letters", "list").stdout == "No dead letters\n")


def test_an_audit_takes_all_its_options_and_its_exit_code_is_its_verdict(stack: Stack) -> None:
    arguments = [
        "audit",
        "--grace",
        "0",
        "--at-rest",
        "--timelines",
        "all",
        "--examples",
        "1",
        "--mirror-after",
        "0",
        "--json",
    ]
    result = CliRunner().invoke(app, [*arguments, "--data", str(stack.data)])
    report = json.loads(result.stdout)
    assert (result.exit_code, report["unread"]) == (int(not report["clean"]), {})


def test_the_state_of_the_stack_is_told_to_people_and_programs(stack: Stack, saga: Saga) -> None:
    assert order_of(saga("status", "--json"))["ready"] is True
    assert stack.gateway in saga("status").stdout


def test_a_running_stack_is_no_trouble_to_the_doctor(saga: Saga, stack: Stack) -> None:
    assert "✓ ports" in saga("doctor", "--port-offset", str(stack.offset)).stdout


@pytest.mark.parametrize("arguments", FINDERS, ids=" ".join)
def test_no_command_takes_another_stack_for_the_one_that_is_meant(
    stack: Stack, saga: Saga, arguments: tuple[str, ...]
) -> None:
    """With another stack's port offset, a command does nothing."""
    refused = saga(*arguments, "--port-offset", "1", code=2 if arguments == ("audit",) else 1)
    reason = f"has the port offset {stack.offset}, not 1; name the other's folder with --data"
    assert refused.stderr == f"saga: The stack on {stack.data} {reason}\n"
    assert refused.stdout == ""


@pytest.mark.parametrize("arguments", [each for each in FINDERS if each[0] not in ("status", "down")], ids=" ".join)
def test_what_is_said_where_nothing_runs_can_be_pasted(arguments: tuple[str, ...], tmp_path: Any) -> None:
    folder = tmp_path / "no stack"
    result = CliRunner().invoke(app, [*arguments, "--data", str(folder)])
    assert result.exit_code == (2 if arguments == ("audit",) else 1)
    assert f"saga up --data '{folder}'`" in result.stderr


def test_a_command_works_beside_its_stacks_own_offset(saga: Saga, stack: Stack) -> None:
    assert "Page 1 of" in saga("order", "list", "--port-offset", str(stack.offset)).stdout


@pytest.mark.parametrize("arguments", [["help"], ["help", "order"], ["help", "order", "list"], ["--help"]])
def test_help_is_shown_for_everything(arguments: list[str]) -> None:
    shown = CliRunner().invoke(app, arguments)
    assert (shown.exit_code, "Usage:" in shown.stdout) == (0, True)


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("payment-saga 0.")


@pytest.mark.parametrize("arguments", [["nosuch"], ["help", "nosuch"], ["order", "get", "12"], ["order"], []])
def test_an_unknown_command_is_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2
