"""With SAGA_MIRROR_AFTER, the mirrors' queue gets the events of sagas that last, and what a compensation needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from choreography.headers import FURTHER_ROUTING_KEYS
from choreography.outgoing_message import as_message
from models.ids import Uuid7Mint
from models.late_events import LateEvents
from models.message_types import EventType, UnknownType
from models.messages import Envelope
from models.saga import CancelReason, Coordinator

AFTER = 5.0
LATE = LateEvents(AFTER)
COMPENSATIONS = {EventType.PAYMENT_CANCELLED, EventType.PAYMENT_REFUNDED}


def event(event_type: EventType, *, age: float, **payload: Any) -> Envelope:
    """An event of an order that was placed `age` seconds ago."""
    now = datetime.now(UTC)
    order_id = Uuid7Mint()(now - timedelta(seconds=age))
    return Envelope(
        event_type=event_type,
        event_id=uuid4(),
        occurred_at=now,
        correlation_id="c",
        payload={"orderId": str(order_id), **payload},
    )


@pytest.mark.parametrize("event_type", EventType)
def test_an_event_is_late_if_its_saga_is_old(event_type: EventType) -> None:
    assert event(event_type, age=AFTER + 1) in LATE
    young = event(event_type, age=AFTER - 1, reason=CancelReason.PAYMENT_DECLINED)
    assert (young in LATE) is (event_type in COMPENSATIONS)


@pytest.mark.parametrize("reason", [CancelReason.USER_REQUESTED, CancelReason.PAYMENT_TIMEOUT, "OUT_OF_STOCK", None])
def test_a_cancellation_that_must_be_compensated_is_late_however_young_its_saga_is(reason: str | None) -> None:
    assert event(EventType.ORDER_CANCELLED, age=0, reason=reason) in LATE


def test_nobody_mirrors_an_orchestrated_saga_or_an_event_of_an_unknown_type() -> None:
    old = event(EventType.ORDER_PAID, age=AFTER + 1)
    assert replace(old, coordinator=Coordinator.ORCHESTRATION) not in LATE
    assert replace(old, event_type=UnknownType("OrderShipped")) not in LATE


@pytest.mark.parametrize("order_id", [str(UUID(int=1)), "none", None, "0371b58b-6800-734b-8089-42451c99ccba"])
def test_an_order_id_that_tells_no_time_makes_every_event_late(order_id: str | None) -> None:
    strange = replace(event(EventType.ORDER_PAID, age=0), payload={"orderId": order_id})
    assert strange in LATE


def test_a_clock_that_is_a_little_ahead_makes_no_event_late() -> None:
    assert event(EventType.ORDER_PAID, age=-1) not in LATE


@pytest.mark.parametrize(
    ("event_type", "key"), [(EventType.ORDER_PAID, "late.order"), (EventType.PAYMENT_APPROVED, "late.payment")]
)
def test_a_late_event_takes_a_second_route_beside_its_own(event_type: EventType, key: str) -> None:
    old = event(event_type, age=AFTER + 1)
    message = as_message(old, late=LATE)
    assert replace(message, headers={}) == as_message(old)
    assert message.headers == {FURTHER_ROUTING_KEYS: [key]}
    assert as_message(event(event_type, age=0), late=LATE).headers == {}
