"""A person sees in the Temporal UI where a saga stands and what happened to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from models.message_types import UnknownType, known_type
from models.messages import Envelope
from workflows import search_attributes
from workflows.story import elapsed, headline, story
from workflows.timeline import build

ORDER = UUID("0192d3c4-0000-7000-8000-000000000001")
USER = "d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f"
BEGIN = datetime(2026, 2, 15, 1, 42, 19, tzinfo=UTC)


def event(event_type: str, seconds: float = 0, cause: Envelope | None = None, **payload: Any) -> Envelope:
    at = BEGIN + timedelta(seconds=seconds)
    event_id = UUID(int=int(seconds * 1000) + 1)
    return Envelope(
        event_type=known_type(event_type) or UnknownType(event_type),
        event_id=event_id,
        occurred_at=at,
        correlation_id="c",
        payload={"orderId": str(ORDER), **payload},
        causation_id=cause.event_id if cause else None,
    )


CREATED = event("OrderCreated", userId=USER, total=999, currency="USD")
APPROVED = event("PaymentApproved", 1.5, CREATED, transactionId="t-1")
PAID = event("OrderPaid", 1.6, APPROVED)


def test_the_story_says_where_the_saga_stands_and_what_happened_in_order() -> None:
    told = story(build([PAID, CREATED, APPROVED]))
    assert told.startswith("**Order PAID, payment APPROVED**: over, coordinated by choreography.")
    assert [line for line in told.splitlines() if line.startswith("1. ")] == [
        "1. **+0 ms** Order accepted: 999 USD in minor units to pay."
        " *(order service, because of CreateOrderRequested)*",
        "1. **+1.5 s** Payment approved as transaction t-1. *(payment service, because of OrderCreated)*",
        "1. **+1.6 s** Order paid. *(order service, because of PaymentApproved)*",
    ]


def test_the_story_says_what_is_waited_for() -> None:
    assert "Waiting for the payment, until noon." in story(build([CREATED]), waiting_for="the payment, until noon")


def test_an_alarm_comes_first() -> None:
    told = story(build([CREATED]), alarm="nothing helps")
    assert told.startswith("> **An operator must look:** nothing helps")


def test_ignored_types_are_named() -> None:
    assert "OrderShipped" in story(build([CREATED]), unknown=["OrderShipped"])


def test_a_saga_without_events_is_told_as_such() -> None:
    assert "Nothing has been heard" in story(build([]))


@pytest.mark.parametrize("reason", ["a | b", "two\nlines", "[a](http://x)", "<img src=x>", "`code`", "x" * 5000])
def test_text_from_outside_cannot_break_the_list(reason: str) -> None:
    told = story(build([CREATED, event("PaymentDeclined", 1, CREATED, reason=reason)]))
    (row,) = [line for line in told.splitlines() if "declined" in line]
    assert row.count("**") == 2
    assert len(row) < 500
    for sign in "[<`":
        assert sign not in row.replace("\\" + sign, "")


@pytest.mark.parametrize(
    ("milliseconds", "told"),
    [(0, "0 ms"), (999, "999 ms"), (1500, "1.5 s"), (900_000, "15 min 0 s"), (7_500_000, "2 h 5 min")],
)
def test_durations_are_told_as_people_say_them(milliseconds: int, told: str) -> None:
    assert elapsed(milliseconds) == told


def test_the_headline_tells_sagas_apart() -> None:
    assert headline(CREATED.payload, ORDER) == "999 USD · customer d55fa6d6…"
    assert headline(None, ORDER) == f"Order {ORDER}"


def attributes(*events: Envelope, needs_operator: bool = False) -> dict[str, Any]:
    pairs = search_attributes.attributes(build(events), events, needs_operator=needs_operator)
    return {pair.key.name: pair.value for pair in pairs}


def test_search_attributes_say_what_is_known() -> None:
    cancelled = event("OrderCancelled", 3, reason="USER_REQUESTED")
    assert attributes(CREATED, APPROVED, PAID, cancelled, needs_operator=True) == {
        "OrderStatus": "CANCELLED",
        "PaymentStatus": "APPROVED",
        "Coordinator": "choreography",
        "CustomerId": USER,
        "Total": 999,
        "CancelReason": "USER_REQUESTED",
        "NeedsOperator": True,
    }
    assert attributes(APPROVED) == {
        "PaymentStatus": "APPROVED",
        "Coordinator": "choreography",
        "NeedsOperator": False,
    }


@pytest.mark.parametrize("total", ["999", None, True, 9.5, 1e30, float("nan"), float("inf"), 10**400])
def test_a_total_that_is_no_amount_is_left_out(total: Any) -> None:
    assert "Total" not in attributes(event("OrderCreated", userId=USER, total=total))


def test_only_what_changed_is_upserted() -> None:
    before = search_attributes.attributes(build([CREATED]), [CREATED])
    after = search_attributes.attributes(build([CREATED, APPROVED]), [CREATED, APPROVED])
    assert [update.key.name for update in search_attributes.updates(before, after)] == ["PaymentStatus"]
    assert search_attributes.updates(after, after) == []
