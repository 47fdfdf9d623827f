"""Retention has a least time, rows keep what they told, and an audit knows which events may be missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from activities.reconstruction import reconstruct
from audit.possible_lives import order_lives, payment_lives, rests_of_order_lives, rests_of_payment_lives
from audit.timeline_difference import RemovedUntil, difference_of
from embedded.errors import StackError
from models.lifecycle import OrderStatus, PaymentStatus
from models.messages import Envelope
from models.order import Order
from models.payment import Payment, payment_id
from models.saga import Coordinator, OrderId, UserId, derived_id
from stack import settings
from tests.support.events import APPROVED, CANCELLED_BY_USER, CREATED, DECLINED, ORDER_FAILED, PAID, REFUNDED
from tests.support.events import ORDER as SAGA_ID
from workflows.saga_mirror import REPUBLISH_ATTEMPTS
from workflows.timeline import build, timeline_as_json

RETENTIONS = ["EVENT_LOG_RETENTION", "IDEMPOTENCY_RETENTION"]
AT = datetime(2026, 2, 15, 1, 42, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("SAGA_")]:
        monkeypatch.delenv(name)


# The least


def test_everything_is_kept_for_good_unless_asked_for() -> None:
    found = settings.load()
    assert (found.event_log_retention, found.idempotency_retention) == (None, None)


@pytest.mark.parametrize("name", RETENTIONS)
def test_the_least_retention_is_accepted_and_a_shorter_one_is_refused_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    least = settings.load().least_retention
    monkeypatch.setenv(f"SAGA_{name}", str(least))
    assert getattr(settings.load(), name.lower()) == least
    monkeypatch.setenv(f"SAGA_{name}", str(least - 1))
    with pytest.raises(StackError) as refused:
        settings.load()
    line = str(refused.value)
    assert f"SAGA_{name} is {least - 1:g} s" in line
    assert f"{least:g} s" in line
    assert ("raise it" in line, "unset it" in line, "\n" in line) == (True, True, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAYMENT_TIMEOUT", "1000"),
        ("COMPENSATION_TIMEOUT", "61"),
        ("RECONCILE_INTERVAL", "61"),
        ("RETRY_DELAYS", "0.5,2,8,30,120,121"),
        ("PROVIDER_TIMEOUT", "16"),
    ],
)
def test_settings_that_make_sagas_longer_raise_the_least_retention(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    before = settings.load().least_retention
    monkeypatch.setenv(f"SAGA_{name}", value)
    assert settings.load().least_retention > before


def test_the_least_retention_outlasts_a_mirrors_requests_for_a_compensation() -> None:
    found = settings.load()
    tries = [found.compensation_timeout * 2**n for n in range(REPUBLISH_ATTEMPTS + 1)]
    assert found.least_retention > found.payment_timeout + sum(tries) + found.payment_patience


@pytest.mark.parametrize("name", RETENTIONS)
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_a_retention_is_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"SAGA_{name}", value)
    with pytest.raises(StackError, match=f"SAGA_{name}"):
        settings.load()


# What a row still tells. tests/integration/test_retention.py proves that the log has told the same.

ORDER = Order(
    id=OrderId(UUID("01945e5a-0000-7000-8000-000000000001")),
    user_id=UserId(UUID("01945e5a-0000-7000-8000-000000000002")),
    total=999,
    currency="EUR",
    payment_method="pm_card_visa",
    coordinator=Coordinator.ORCHESTRATION,
    status=OrderStatus.PENDING_PAYMENT,
)
PAYMENT = Payment(
    id=payment_id(ORDER.id),
    order_id=ORDER.id,
    amount=999,
    currency="EUR",
    payment_method=None,
    coordinator=Coordinator.ORCHESTRATION,
    status=PaymentStatus.PROCESSING,
)


@pytest.mark.parametrize("status", OrderStatus)
def test_an_order_in_any_status_tells_how_it_began_and_where_it_stands(status: OrderStatus) -> None:
    events = reconstruct(replace(ORDER, status=status), created_at=AT, updated_at=AT + timedelta(seconds=3))
    timeline = build(events)
    assert timeline.entries[0].event_type == "OrderCreated"
    assert (timeline.order_status, timeline.coordinator) == (status, Coordinator.ORCHESTRATION)
    assert events[0].payload == {
        "orderId": ORDER.id,
        "userId": ORDER.user_id,
        "total": 999,
        "currency": "EUR",
        "paymentMethod": "pm_card_visa",
    }
    assert {event.occurred_at for event in events[1:]} <= {AT + timedelta(seconds=3)}


@pytest.mark.parametrize("status", PaymentStatus)
def test_a_payment_in_any_status_tells_what_brought_it_there(status: PaymentStatus) -> None:
    timeline = build(reconstruct(replace(PAYMENT, status=status), created_at=AT, updated_at=AT))
    expected = None if status is PaymentStatus.PROCESSING else status
    assert timeline.payment_status is expected


# Timelines


def as_ours(*events: Envelope) -> Iterator[Envelope]:
    """The same events under the ids that our services give."""
    known: dict[UUID, UUID] = {}
    for event in events:
        assert event.causation_id is not None
        cause = known.get(event.causation_id, event.causation_id)
        known[event.event_id] = derived_id(SAGA_ID, event.event_type, str(cause))
        yield replace(event, event_id=known[event.event_id], causation_id=cause)


SAGA = tuple(as_ours(CREATED, APPROVED, PAID, CANCELLED_BY_USER, REFUNDED))
CREATED, APPROVED, PAID, CANCELLED_BY_USER, REFUNDED = SAGA
NEVER = RemovedUntil(orders=None, payments=None)


def told(*events: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(timeline_as_json(build(events))))


def until(event: Any) -> datetime:
    at: datetime = event.occurred_at
    return at


WITHOUT = [
    pytest.param((), RemovedUntil(orders=until(REFUNDED), payments=until(REFUNDED)), id="all are removed"),
    pytest.param(
        (CREATED, PAID, CANCELLED_BY_USER), RemovedUntil(orders=None, payments=until(REFUNDED)), id="the payment's"
    ),
    pytest.param((APPROVED, REFUNDED), RemovedUntil(orders=until(CANCELLED_BY_USER), payments=None), id="the order's"),
    pytest.param(
        (CANCELLED_BY_USER, REFUNDED),
        RemovedUntil(orders=until(PAID), payments=until(APPROVED)),
        id="cancelled afterwards",
    ),
]


@pytest.mark.parametrize(("left", "removed"), WITHOUT)
def test_a_workflow_may_tell_what_retention_has_taken_from_the_logs(
    left: tuple[Any, ...], removed: RemovedUntil
) -> None:
    assert difference_of(told(*SAGA), told(*left), removed) is None
    assert "which no event log has" in str(difference_of(told(*SAGA), told(*left), NEVER))


BEFORE_ALL = until(CREATED) - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("left", "removed"),
    [
        pytest.param(
            (CREATED, APPROVED, PAID), RemovedUntil(orders=until(PAID), payments=until(APPROVED)), id="younger"
        ),
        pytest.param(
            (CREATED, APPROVED, CANCELLED_BY_USER, REFUNDED),
            RemovedUntil(orders=until(REFUNDED), payments=until(REFUNDED)),
            id="out of the middle",
        ),
        pytest.param((), RemovedUntil(orders=BEFORE_ALL, payments=BEFORE_ALL), id="before any of them"),
    ],
)
def test_an_event_that_retention_cannot_have_removed_is_reported(left: tuple[Any, ...], removed: RemovedUntil) -> None:
    assert "which no event log has" in str(difference_of(told(*SAGA), told(*left), removed))


def test_a_payments_event_that_the_order_answered_may_be_a_strangers_and_need_not_be_logged() -> None:
    assert difference_of(told(CREATED, APPROVED, PAID), told(CREATED, PAID), NEVER) is None


@pytest.mark.parametrize("foreign", [DECLINED, ORDER_FAILED], ids=["of the payment", "of the order"])
def test_a_strangers_event_that_nobody_answered_is_told_and_need_not_be_logged(foreign: Envelope) -> None:
    assert difference_of(told(*SAGA, foreign), told(*SAGA), NEVER) is None


def test_an_event_under_one_of_our_own_ids_must_be_logged_although_nobody_answered_it() -> None:
    assert difference_of(told(*SAGA), told(*SAGA[:-1]), NEVER) == "it tells PaymentRefunded, which no event log has"


def test_a_strangers_event_for_which_money_moved_must_be_logged() -> None:
    foreign = replace(CANCELLED_BY_USER, event_id=UUID(int=7))
    refunded = replace(REFUNDED, causation_id=foreign.event_id)
    assert difference_of(told(*SAGA[:3], foreign, refunded), told(*SAGA[:3], refunded), NEVER) == (
        "it tells OrderCancelled, which no event log has"
    )


def test_an_orders_own_event_must_be_logged_although_a_payment_answered_it() -> None:
    assert difference_of(told(*SAGA), told(CREATED, APPROVED, PAID, REFUNDED), NEVER) == (
        "it tells OrderCancelled, which no event log has"
    )


def test_events_that_are_left_must_still_be_told_in_the_same_words() -> None:
    removed, left = RemovedUntil(orders=until(PAID), payments=until(APPROVED)), told(CANCELLED_BY_USER, REFUNDED)
    twisted = told(*SAGA)
    twisted["entries"][-1]["summary"] = "nothing of the kind"
    assert "with other words" in str(difference_of(twisted, left, removed))


@pytest.mark.parametrize(
    ("lives", "rests"), [(order_lives, rests_of_order_lives), (payment_lives, rests_of_payment_lives)]
)
def test_removal_leaves_the_end_of_a_life_and_no_whole_one(
    lives: Callable[[], tuple[str, ...]], rests: Callable[[], tuple[str, ...]]
) -> None:
    assert not set(lives()) & set(rests())
    for rest in rests():
        chain, _, standing = rest.partition("|")
        assert any(life.partition("|")[0].endswith(chain) and life.endswith("|" + standing) for life in lives())
