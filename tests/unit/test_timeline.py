"""A timeline tells every event once, and causes before effects, whatever order the events come in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.lifecycle import OrderStatus, PaymentStatus
from models.messages import Envelope
from tests.support.events import (
    APPROVED,
    CANCELLED_AS_DECLINED,
    CANCELLED_BY_USER,
    COMMAND,
    CREATED,
    DECLINED,
    FAILED,
    LATE_REFUND,
    ORDER,
    ORDER_FAILED,
    PAID,
    PAYMENT_CANCELLED,
    REFUNDED,
    SAGAS,
    START,
    TIMED_OUT,
    event,
)
from workflows.timeline import build, timeline_as_json


@pytest.mark.parametrize("saga", SAGAS.values(), ids=SAGAS)
@given(data=st.data())
def test_the_timeline_depends_on_the_events_alone(saga: list[Envelope], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(saga + data.draw(st.lists(st.sampled_from(saga)))))

    assert build(saga) == build(shuffled)
    assert [one.event_id for one in saga] == [entry.event_id for entry in build(shuffled).entries]


@pytest.mark.parametrize("saga", SAGAS.values(), ids=SAGAS)
@given(data=st.data())
def test_a_clock_that_is_set_back_never_puts_an_effect_before_its_cause(
    saga: list[Envelope], data: st.DataObject
) -> None:
    skews = data.draw(st.lists(st.integers(-3600, 3600), min_size=len(saga), max_size=len(saga)))
    skewed = [
        replace(one, occurred_at=one.occurred_at + timedelta(seconds=seconds))
        for one, seconds in zip(saga, skews, strict=True)
    ]

    told = [entry.event_id for entry in build(skewed).entries]

    for one in skewed:
        if one.causation_id in told:
            assert told.index(one.causation_id) < told.index(one.event_id)
    assert told[0] == CREATED.event_id


def test_an_event_of_a_type_that_nobody_here_knows_changes_nothing() -> None:
    shipped = event("OrderShipped", cause=PAID.event_id, at=2)
    assert build([CREATED, shipped, APPROVED, PAID]) == build([CREATED, APPROVED, PAID])


KINDS = [one.event_type for saga in SAGAS.values() for one in saga]
IDS = st.integers(0, 7).map(lambda n: UUID(int=n))
ANY_EVENTS = st.lists(
    st.builds(
        lambda kind, event_id, cause, at: Envelope(
            event_type=kind,
            event_id=event_id,
            occurred_at=START + timedelta(seconds=at),
            correlation_id="c",
            payload={"orderId": str(ORDER)},
            causation_id=cause,
        ),
        st.sampled_from(KINDS),
        IDS,
        st.none() | IDS,
        st.integers(0, 3),
    )
)


@given(events=ANY_EVENTS, data=st.data())
def test_events_that_contradict_each_other_are_still_told_once_each_and_always_alike(
    events: list[Envelope], data: st.DataObject
) -> None:
    timeline = build(events)

    assert sorted({one.event_id for one in events}) == sorted(entry.event_id for entry in timeline.entries)
    assert timeline == build(data.draw(st.permutations(events)))


@pytest.mark.parametrize(
    ("events", "over"),
    [
        ([], False),
        ([CREATED], False),
        ([CREATED, APPROVED], False),
        ([CREATED, APPROVED, PAID], True),
        ([CREATED, DECLINED], False),
        ([CREATED, DECLINED, CANCELLED_AS_DECLINED], True),
        ([CREATED, FAILED], False),
        ([CREATED, FAILED, ORDER_FAILED], True),
        ([CREATED, CANCELLED_BY_USER], False),
        ([CREATED, CANCELLED_BY_USER, PAYMENT_CANCELLED], True),
        ([CREATED, CANCELLED_BY_USER, PAYMENT_CANCELLED, LATE_REFUND], True),
        ([CREATED, APPROVED, PAID, CANCELLED_BY_USER], False),
        ([CREATED, APPROVED, CANCELLED_BY_USER], False),
        ([CREATED, APPROVED, PAID, CANCELLED_BY_USER, REFUNDED], True),
    ],
    ids=lambda value: "-".join(one.event_type for one in value) if isinstance(value, list) else str(value),
)
def test_a_saga_is_over_when_neither_a_step_nor_a_compensation_is_outstanding(
    events: Sequence[Envelope], over: bool
) -> None:
    assert over is build(events).over


def test_every_entry_says_where_order_and_payment_stand() -> None:
    entries = build(SAGAS["refunded"]).entries

    assert [(entry.order_status, entry.payment_status) for entry in entries] == [
        (OrderStatus.PENDING_PAYMENT, None),
        (OrderStatus.PENDING_PAYMENT, PaymentStatus.APPROVED),
        (OrderStatus.PAID, PaymentStatus.APPROVED),
        (OrderStatus.CANCELLED, PaymentStatus.APPROVED),
        (OrderStatus.CANCELLED, PaymentStatus.REFUNDED),
    ]


def test_a_cause_outside_the_log_is_named_after_its_command() -> None:
    names = {entry.event_type: entry.cause.name for entry in build(SAGAS["refunded"]).entries}

    assert names == {
        "OrderCreated": "CreateOrderRequested",
        "PaymentApproved": "OrderCreated",
        "OrderPaid": "PaymentApproved",
        "OrderCancelled": "OrderCancelRequested",
        "PaymentRefunded": "OrderCancelled",
    }


def test_a_cancellation_follows_from_the_decline_that_caused_it() -> None:
    entry = build(SAGAS["declined"]).entries[-1]

    assert (entry.event_type, entry.cause.name) == ("OrderCancelled", "PaymentDeclined")


def test_commands_among_the_events_are_not_told() -> None:
    command = event("CreateOrderRequested", userId="u", total=999)

    assert build([CREATED]) == build([CREATED, command])


def test_a_timed_out_order_says_so() -> None:
    assert build([TIMED_OUT]).entries[0].summary == "Order cancelled because its payment was not settled in time."


def test_the_wire_form_has_milliseconds_and_names_in_camel_case() -> None:
    wire = json.loads(msgspec.json.encode(timeline_as_json(build([CREATED, APPROVED]))))

    assert {
        "orderId": str(ORDER),
        "coordinator": "choreography",
        "orderStatus": "PENDING_PAYMENT",
        "paymentStatus": "APPROVED",
        "over": False,
        "source": "event logs",
        "entries": [
            {
                "eventId": str(CREATED.event_id),
                "eventType": "OrderCreated",
                "at": "2026-02-15T01:42:19.000Z",
                "actor": "order-service",
                "cause": {"causationId": str(COMMAND), "name": "CreateOrderRequested"},
                "elapsedMs": 0,
                "summary": "Order accepted: 999 USD in minor units to pay.",
                "orderStatus": "PENDING_PAYMENT",
                "paymentStatus": None,
            },
            {
                "eventId": str(APPROVED.event_id),
                "eventType": "PaymentApproved",
                "at": "2026-02-15T01:42:20.500Z",
                "actor": "payment-service",
                "cause": {"causationId": str(CREATED.event_id), "name": "OrderCreated"},
                "elapsedMs": 1500,
                "summary": "Payment approved as transaction tx_1.",
                "orderStatus": "PENDING_PAYMENT",
                "paymentStatus": "APPROVED",
            },
        ],
    } == wire
