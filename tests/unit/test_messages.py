"""We understand what the original services send, and they understand what we send."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import pytest

from models.message_types import MESSAGE_TYPES, ROUTES
from models.messages import MalformedMessage, decode, encode, envelope_of, parse
from models.saga import (
    Coordinator,
    CreateOrderRequested,
    Message,
    OrderCancelled,
    OrderCancelRequested,
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

EVENT = "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d"
ORDER = "11c4a663-47fd-4590-9c2d-ee72cc58bbbd"
USER = "d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f"
ID = OrderId(UUID(ORDER))

# The original services' documents: their five envelope fields and their payloads, nothing of ours.
ORIGINALS: dict[str, tuple[dict[str, Any], Message]] = {
    "CreateOrderRequested": (
        {"userId": USER, "total": 999},
        CreateOrderRequested(order_id=OrderId(uuid5(UUID(EVENT), "order")), user_id=UserId(UUID(USER)), total=999),
    ),
    "OrderCancelRequested": ({"orderId": ORDER}, OrderCancelRequested(order_id=ID)),
    "OrderCreated": (
        {"orderId": ORDER, "userId": USER, "total": 999},
        OrderCreated(order_id=ID, user_id=UserId(UUID(USER)), total=999),
    ),
    "OrderCancelled": (
        {"orderId": ORDER, "reason": "USER_REQUESTED", "cancelledAt": "2026-02-15T01:42:40.000Z"},
        OrderCancelled(order_id=ID, reason="USER_REQUESTED"),
    ),
    "OrderPaid": ({"orderId": ORDER}, OrderPaid(order_id=ID)),
    "OrderFailed": ({"orderId": ORDER, "reason": "x"}, OrderFailed(order_id=ID, reason="x")),
    "PaymentApproved": (
        {"orderId": ORDER, "transactionId": "txn_1"},
        PaymentApproved(order_id=ID, transaction_id="txn_1"),
    ),
    "PaymentDeclined": (
        {"orderId": ORDER, "reason": "Insufficient funds"},
        PaymentDeclined(order_id=ID, reason="Insufficient funds"),
    ),
    "PaymentFailed": ({"orderId": ORDER, "error": "boom"}, PaymentFailed(order_id=ID, error="boom")),
    "PaymentCancelled": ({"orderId": ORDER}, PaymentCancelled(order_id=ID)),
    "PaymentRefunded": (
        {"orderId": ORDER, "transactionId": "txn_1"},
        PaymentRefunded(order_id=ID, transaction_id="txn_1"),
    ),
}


def original(event_type: str, payload: object, **changes: object) -> bytes:
    envelope = {
        "eventType": event_type,
        "eventId": EVENT,
        "occurredAt": "2026-02-15T01:42:19.000Z",
        "correlationId": "5e9f8f8e-0f3a-4d55-9f5e-111111111111",
        "payload": payload,
    }
    return json.dumps({**envelope, **changes}).encode()


@pytest.mark.parametrize("event_type", ORIGINALS)
def test_an_original_document_is_understood_without_our_fields(event_type: str) -> None:
    payload, message = ORIGINALS[event_type]
    envelope = decode(original(event_type, payload))
    assert envelope.coordinator == Coordinator.CHOREOGRAPHY
    assert envelope.causation_id is None
    assert parse(envelope) == message


@pytest.mark.parametrize("event_type", ORIGINALS)
def test_null_in_a_field_of_ours_is_as_if_it_were_left_out(event_type: str) -> None:
    payload, message = ORIGINALS[event_type]
    ours = dict.fromkeys(("currency", "paymentMethod"))
    if event_type not in ("OrderCancelled", "PaymentDeclined"):
        ours["reason"] = None
    if event_type not in ("PaymentApproved",):
        ours["transactionId"] = None
    if event_type == "CreateOrderRequested":
        ours["orderId"] = None
    if event_type == "OrderCancelled":
        ours["total"] = None
    nulls = dict.fromkeys(("causationId", "schemaVersion", "coordinator"))
    assert decode(original(event_type, payload, **nulls)) == decode(original(event_type, payload))
    optional = {name: value for name, value in ours.items() if name not in payload}
    assert parse(decode(original(event_type, {**payload, **optional}, **nulls))) == message


@pytest.mark.parametrize("in_body", [{"correlationId": None}, {}])
def test_without_a_correlation_id_in_its_body_a_message_is_traced_by_its_property_else_by_its_event_id(
    in_body: dict[str, None],
) -> None:
    document = json.loads(original("OrderPaid", {"orderId": ORDER}))
    del document["correlationId"]
    body = json.dumps(document | in_body).encode()
    assert decode(body, correlation_id="in the property").correlation_id == "in the property"
    for unusable in (None, "", "a\0b", "x" * 256, 7):
        assert decode(body, correlation_id=unusable).correlation_id == EVENT
    assert (
        decode(original("OrderPaid", {}, correlationId="in the body"), correlation_id="p").correlation_id
        == "in the body"
    )


@pytest.mark.parametrize(("event_type", "field"), [("PaymentFailed", "error"), ("PaymentDeclined", "reason")])
def test_a_long_story_of_another_service_is_shortened(event_type: str, field: str) -> None:
    message = parse(decode(original(event_type, {"orderId": ORDER, field: "x" * 300_000})))
    assert getattr(message, field) == "x" * 999 + "…"


@pytest.mark.parametrize("method", ["visa", "pm_" + "x" * 300_000, 7, ["pm_card_visa"]])
def test_a_payment_method_of_another_form_is_malformed(method: object) -> None:
    payload = {"orderId": ORDER, "userId": USER, "total": 999, "paymentMethod": method}
    with pytest.raises(MalformedMessage, match="paymentMethod") as raised:
        parse(decode(original("OrderCreated", payload)))
    assert len(str(raised.value)) < 300


def test_every_message_has_an_original_document_here() -> None:
    assert ORIGINALS.keys() == MESSAGE_TYPES.keys()


def test_fields_nobody_knows_are_ignored() -> None:
    payload = {"orderId": ORDER, "transactionId": "t", "novel": 1}
    message = parse(decode(original("PaymentApproved", payload, novel={"x": 1}, schemaVersion=7)))
    assert message == PaymentApproved(order_id=ID, transaction_id="t")


@pytest.mark.parametrize("kind", [PaymentCancelled, PaymentRefunded])
def test_a_cancellation_or_refund_may_lack_its_transaction(
    kind: type[PaymentCancelled] | type[PaymentRefunded],
) -> None:
    assert parse(decode(original(kind.__name__, {"orderId": ORDER}))) == kind(order_id=ID)


def test_a_total_may_arrive_as_a_float_without_a_fraction() -> None:
    message = parse(decode(original("OrderCreated", {"orderId": ORDER, "userId": USER, "total": 999.0})))
    assert message == ORIGINALS["OrderCreated"][1]


@pytest.mark.parametrize("total", [9.99, "999", None, True, 0, -1, 10**12 + 1, 1e300, [999]])
def test_any_other_total_is_malformed(total: object) -> None:
    envelope = decode(original("OrderCreated", {"orderId": ORDER, "userId": USER, "total": total}))
    with pytest.raises(MalformedMessage, match="payload of OrderCreated"):
        parse(envelope)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"eventType":"OrderPaid"}',
        original("OrderShipped", {}),
        original("OrderPaid", []),
        original("OrderPaid", {"orderId": ORDER}, occurredAt="yesterday"),
        original("OrderPaid", {"orderId": ORDER}, eventId=""),
        original("OrderPaid", {"orderId": ORDER}, correlationId="é" * 128),
        original("OrderPaid", {"orderId": ORDER}, occurredAt="0001-01-01T00:00:00+05:00"),
        original("OrderPaid", {"orderId": ORDER}, coordinator="anarchy"),
    ],
)
def test_a_body_that_is_no_envelope_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode(body)


# Nearly as many as a parser takes, and more than it takes.
@pytest.mark.parametrize("levels", [100, 481, 960, 985, 5_000, 20_000])
@pytest.mark.parametrize("name", ["orderId", "note"])
def test_a_body_that_is_nested_too_deeply_is_malformed(name: str, levels: int) -> None:
    body = original("OrderPaid", {"orderId": ORDER, name: "HERE"}).replace(b'"HERE"', b"[" * levels + b"]" * levels)
    with pytest.raises(MalformedMessage, match="nested"):
        decode(body)


def test_unknown_fields_may_be_large_and_somewhat_nested() -> None:
    payload = {"orderId": ORDER, "items": [{"sku": n, "options": [[]]} for n in range(1_000)]}
    assert parse(decode(original("OrderPaid", payload))) == OrderPaid(order_id=ID)


@pytest.mark.parametrize("order_id", [None, 7, [ORDER], {"id": ORDER}])
def test_an_order_id_that_is_no_text_is_none(order_id: object) -> None:
    assert decode(original("OrderPaid", {"orderId": order_id})).order_id is None


@pytest.mark.parametrize("more", [{"total": -5}, {"total": 10**30}, {"currency": "usd"}, {"currency": ""}])
def test_a_cancellation_that_tells_impossible_money_is_malformed(more: dict[str, Any]) -> None:
    envelope = decode(original("OrderCancelled", {"orderId": ORDER, "reason": "USER_REQUESTED", **more}))
    with pytest.raises(MalformedMessage, match="payload of OrderCancelled"):
        parse(envelope)


@pytest.mark.parametrize("event_type", ["CreateOrderRequested", "OrderCreated"])
def test_a_currency_nobody_knows_is_malformed(event_type: str) -> None:
    payload = {"orderId": ORDER, "userId": USER, "total": 999, "currency": "lol"}
    with pytest.raises(MalformedMessage, match="'lol'; it must be a code of ISO 4217"):
        parse(decode(original(event_type, payload)))


def test_an_error_names_the_field_as_it_is_written_on_the_wire() -> None:
    with pytest.raises(MalformedMessage, match="orderId"):
        parse(decode(original("OrderPaid", {})))


def test_text_with_a_null_character_is_malformed() -> None:
    envelope = decode(original("PaymentFailed", {"orderId": ORDER, "error": "a\0b"}))
    with pytest.raises(MalformedMessage, match=r"U\+0000"):
        parse(envelope)


def test_ids_that_are_no_uuids_become_the_same_uuid_every_time() -> None:
    first, second = (decode(original("OrderPaid", {"orderId": ORDER}, eventId="evt-1")) for _ in range(2))
    assert first.event_id == second.event_id


@pytest.mark.parametrize("event_type", ORIGINALS)
def test_what_we_send_reads_back_equal_and_has_the_original_fields(event_type: str) -> None:
    message = ORIGINALS[event_type][1]
    envelope = envelope_of(
        message,
        event_id=UUID(EVENT),
        occurred_at=datetime(2026, 2, 15, 1, 42, 19, tzinfo=UTC),
        correlation_id="c",
        causation_id=UUID(ORDER),
        coordinator=Coordinator.ORCHESTRATION,
    )
    document = json.loads(encode(envelope))
    assert {"eventType", "eventId", "occurredAt", "correlationId", "payload"} <= document.keys()
    assert document["occurredAt"] == "2026-02-15T01:42:19Z"
    assert ORIGINALS[event_type][0].keys() <= document["payload"].keys() | {"cancelledAt"}
    again = decode(encode(envelope))
    assert parse(again) == message
    assert (again.causation_id, again.coordinator) == (UUID(ORDER), Coordinator.ORCHESTRATION)


def test_routes_are_those_of_the_original_services() -> None:
    routes = {route.routing_key: (route.exchange, name) for name, route in ROUTES.items()}
    assert routes["order.create.requested"] == ("orders.exchange", "CreateOrderRequested")
    assert routes["order.cancel.requested"] == ("orders.exchange", "OrderCancelRequested")
    assert routes["payment.approved"] == ("payments.exchange", "PaymentApproved")
    assert all(exchange == f"{key.split('.')[0]}s.exchange" for key, (exchange, _) in routes.items())
