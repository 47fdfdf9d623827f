"""The trace context of a message travels in a header, stays with the logged event, and outlives every copy."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from aiormq.abc import DeliveredMessage
from pamqp import commands
from pamqp.header import ContentHeader

from choreography import dead_letters, replay, setting_aside
from choreography.headers import REPLAYED, TRACEPARENT
from choreography.outgoing_message import as_message
from models.event_log import ENVELOPE_COLUMNS, LOGGED, logged_envelope, logged_row
from models.messages import decode, encode, envelope_of
from models.saga import OrderId, OrderPaid

ORDER = OrderId(UUID(int=7))
CONTEXT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNTRACED = envelope_of(
    OrderPaid(order_id=ORDER), event_id=UUID(int=4), occurred_at=datetime(2026, 2, 15, tzinfo=UTC), correlation_id="c"
)
TRACED = replace(UNTRACED, traceparent=CONTEXT)


def delivered(**headers: Any) -> DeliveredMessage:
    properties = commands.Basic.Properties(headers=headers, message_id="m")
    content = ContentHeader(properties=properties)
    return DeliveredMessage(
        delivery=commands.Basic.Deliver(exchange="e", routing_key="k"),
        header=content,
        body=b"{}",
        channel=None,  # type: ignore[arg-type]
    )


def test_the_context_is_a_header_of_the_message_and_no_part_of_its_body() -> None:
    assert as_message(TRACED).headers == {TRACEPARENT: CONTEXT}
    assert encode(TRACED) == encode(UNTRACED)
    assert decode(encode(TRACED)).traceparent is None


def test_a_message_without_context_has_no_header() -> None:
    assert as_message(UNTRACED).headers == {}


@pytest.mark.parametrize("event", [TRACED, UNTRACED], ids=["traced", "untraced"])
def test_the_context_is_logged_with_the_event(event: Any) -> None:
    row = dict(zip(LOGGED, logged_row(event, ORDER), strict=True))
    assert logged_envelope({name: row[name] for name in ENVELOPE_COLUMNS}) == event


def test_a_replay_keeps_the_context_beside_its_own_headers() -> None:
    assert replay._again(TRACED, "", None).headers == {TRACEPARENT: CONTEXT, REPLAYED: True}
    assert replay._again(UNTRACED, "", None).headers == {REPLAYED: True}


def copies(message: DeliveredMessage) -> list[Any]:
    return [
        setting_aside.retry(message, "order-service", attempt=1, delay=0.1, error="e"),
        setting_aside.dead_letter(message, "order-service", attempt=4, reason="FAILED", error="e"),
        dead_letters._again("order-service", message, "somebody"),
    ]


def test_a_retry_a_dead_letter_and_a_redriven_message_keep_the_context() -> None:
    assert [each.headers[TRACEPARENT] for each in copies(delivered(traceparent=CONTEXT))] == [CONTEXT] * 3


@pytest.mark.parametrize("strange", [7, b"x", {"a": "table"}, "x" * 300, None])
def test_what_a_stranger_puts_there_instead_is_left_out(strange: object) -> None:
    assert [TRACEPARENT in each.headers for each in copies(delivered(traceparent=strange))] == [False] * 3
