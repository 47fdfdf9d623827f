"""Texts and ids of every origin can be read after they were written, in every message and in the event log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.book import Submission
from models.event_log import logged_envelope
from models.messages import MalformedMessage, decode, encode, envelope_of, parse, wire_form
from models.outcome import Charged, Declined, Refused, Unanswered
from models.saga import (
    CreateOrderRequested,
    Message,
    OrderCancelled,
    OrderCreated,
    OrderFailed,
    OrderId,
    OrderPaid,
    PaymentApproved,
    PaymentCancelled,
    PaymentDeclined,
    PaymentFailed,
    PaymentRefunded,
    UserId,
)
from models.texts import LONGEST_ID, LONGEST_TEXT, as_id, is_id, plain

ORDER = OrderId(UUID("11c4a663-47fd-4590-9c2d-ee72cc58bbbd"))
USER = UserId(UUID("d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f"))
NOW = datetime(2026, 2, 15, 1, 42, 19, tzinfo=UTC)

# Every text that Python can hold, with halves of surrogate pairs, and lengths around every bound.
HALVES = st.characters(categories=["Cs", "Lu", "So", "Cc"])
ANY_TEXT = st.one_of(st.text(HALVES, max_size=40), st.sampled_from(["x", "\0", "\ud800", "é", "😀", ""])).flatmap(
    lambda text: st.sampled_from([1, 127, 128, 255, 256, 300, 999, 1000, 1001, 5000]).map(lambda n: text * n)
)


def told(text: str) -> list[Message]:
    """An event of each type that tells a text."""
    return [
        OrderPaid(order_id=ORDER),
        OrderCancelled(order_id=ORDER, reason=text),
        OrderFailed(order_id=ORDER, reason=text),
        PaymentApproved(order_id=ORDER, transaction_id=text),
        PaymentDeclined(order_id=ORDER, reason=text),
        PaymentFailed(order_id=ORDER, error=text),
        PaymentCancelled(order_id=ORDER, transaction_id=text),
        PaymentRefunded(order_id=ORDER, transaction_id=text),
    ]


@given(ANY_TEXT, ANY_TEXT)
def test_every_event_can_be_read_whatever_its_texts_and_its_correlation_id(text: str, correlation_id: str) -> None:
    for message in told(text):
        envelope = envelope_of(message, event_id=uuid4(), occurred_at=NOW, correlation_id=correlation_id)
        again = decode(encode(envelope))
        assert parse(again) == message
        assert again.correlation_id == envelope.correlation_id
        assert len(encode(envelope)) < 8 * 1024


@given(ANY_TEXT)
def test_an_entry_is_traced_by_an_id_that_every_reader_takes(correlation_id: str) -> None:
    entry = Submission(message=OrderPaid(order_id=ORDER), event_id=uuid4(), correlation_id=correlation_id)
    assert is_id(entry.correlation_id)


@given(ANY_TEXT)
def test_every_text_of_a_provider_can_be_stored_in_any_column(text: str) -> None:
    outcomes = (
        Charged(order_id=ORDER, transaction_id=text).transaction_id,
        Declined(order_id=ORDER, reason=text).reason,
        Refused(order_id=ORDER, error=text).error,
        Unanswered(order_id=ORDER, error=text).error,
    )
    for stored in outcomes:
        assert len(stored) <= LONGEST_TEXT
        assert "\0" not in stored
        stored.encode()


def test_a_text_that_everybody_can_read_stays_as_it_is() -> None:
    for text in ("", "Insufficient funds", "é" * LONGEST_TEXT, "😀 two\nlines"):
        assert plain(text) == text
    for text in ("c", "é" * 127, "x" * LONGEST_ID, "😀"):
        assert as_id(text, "stand-in") == text


def test_a_long_id_keeps_its_beginning_and_none_is_stood_in_for() -> None:
    assert as_id("x" * 300, "e") == "x" * 255
    assert as_id("a" + "é" * 200, "e") == "a" + "é" * 127
    assert as_id("", "e") == as_id(None, "e") == "e"
    assert as_id("a\0b\ud800", "e") == "a?b?"


METHODS = ("", "pm_", "card", "pm_x y", "pm_é", "pm_visa\n", "pm_" + "x" * 65, "pm_" + "x" * 300_000, "PM_visa", "\0")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [CreateOrderRequested, OrderCreated])
def test_a_payment_method_that_no_reader_takes_is_not_written(kind: Any, method: str) -> None:
    message = kind(order_id=ORDER, user_id=USER, total=999, payment_method=method)
    envelope = envelope_of(message, event_id=uuid4(), occurred_at=NOW, correlation_id="c")
    assert parse(decode(encode(envelope))) == kind(order_id=ORDER, user_id=USER, total=999)


@pytest.mark.parametrize("method", ["pm_x", "pm_card_visa", "pm_" + "x" * 64, "pm_A_0", None])
def test_a_payment_method_nobody_knows_is_taken_if_it_has_the_form(method: str | None) -> None:
    message = OrderCreated(order_id=ORDER, user_id=USER, total=999, payment_method=method)
    assert parse(decode(encode(envelope_of(message, event_id=uuid4(), occurred_at=NOW, correlation_id="c")))) == message


def row(**changes: Any) -> dict[str, Any]:
    payload = {"orderId": str(ORDER), "userId": str(USER), "total": 999, "currency": "USD"}
    return {
        "event_type": "OrderCreated",
        "event_id": UUID(int=7),
        "occurred_at": NOW,
        "correlation_id": "c",
        "causation_id": None,
        "coordinator": "choreography",
        "payload": payload,
        "traceparent": None,
        **changes,
    }


@pytest.mark.parametrize(("written", "read"), [("", str(UUID(int=7))), ("x" * 300, "x" * 255), ("c", "c")])
def test_an_unreadable_correlation_id_in_the_event_log_is_read_as_one_that_can_be_published(
    written: str, read: str
) -> None:
    envelope = logged_envelope(row(correlation_id=written))
    assert envelope.correlation_id == decode(encode(envelope)).correlation_id == read


@pytest.mark.parametrize("method", [*METHODS[:-1], 7])
def test_a_payment_method_that_an_older_version_logged_is_left_out_if_nobody_could_read_it(method: object) -> None:
    event = row()
    event["payload"]["paymentMethod"] = method
    message = parse(decode(encode(logged_envelope(event))))
    assert message == OrderCreated(order_id=ORDER, user_id=USER, total=999)


def test_an_event_of_a_type_that_only_a_newer_version_knows_is_passed_on_and_published_nowhere() -> None:
    envelope = logged_envelope(row(event_type="OrderShipped"))
    assert envelope.route is None
    assert wire_form(envelope)["eventType"] == "OrderShipped"
    with pytest.raises(MalformedMessage, match="OrderShipped"):
        parse(envelope)
