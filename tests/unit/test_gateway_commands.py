"""POST and PATCH at the gateway accept what is right, and say why they refuse the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from api.gateway.dependencies import Limits
from api.gateway.order_ids import OrderIds
from models.ids import marked, minted_at, uuid7
from models.messages import Envelope
from models.saga import Coordinator
from tests.support.fakes.gateway import NOW, Neighbours
from tests.support.gateway_http import BODY, OLD, problem, violations
from tests.support.messages import USER

pytestmark = pytest.mark.anyio


# Accepting


async def test_an_order_is_accepted_with_its_id_and_its_place(client: httpx.AsyncClient, around: Neighbours) -> None:
    answer = await client.post("/api/orders", json=BODY)

    order_id = answer.json()["orderId"]
    assert answer.status_code == 202
    assert {
        "orderId": order_id,
        "message": "Order creation request accepted",
        "status": "PENDING_PAYMENT",
    } == answer.json()
    assert f"/api/orders/{order_id}" == answer.headers["location"]
    assert minted_at(UUID(order_id)) == NOW


async def test_the_command_carries_all_that_the_order_needs(client: httpx.AsyncClient, around: Neighbours) -> None:
    body = BODY | {"currency": "EUR", "paymentMethod": "pm_card_visa", "coordinator": "choreography"}
    answer = await client.post("/api/orders", json=body, headers={"X-Correlation-Id": "trace-7"})

    [command] = around.broker.published
    assert (
        command.event_type,
        command.correlation_id,
        command.occurred_at,
        command.coordinator,
    ) == ("CreateOrderRequested", "trace-7", NOW, Coordinator.CHOREOGRAPHY)
    assert {
        "orderId": UUID(answer.json()["orderId"]),
        "userId": UUID(USER),
        "total": 999,
        "currency": "EUR",
        "paymentMethod": "pm_card_visa",
    } == command.payload


async def test_an_order_is_accepted_with_both_services_down(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.orders.away = around.payments.away = True

    assert (await client.post("/api/orders", json=BODY)).status_code == 202


# Refusing


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({"userId": "42"}, "userId", "uuid_parsing"),
        ({"userId": None}, "userId", "uuid_type"),
        ({"total": 0}, "total", "greater_than_equal"),
        ({"total": -1}, "total", "greater_than_equal"),
        ({"total": 10**12 + 1}, "total", "less_than_equal"),
        ({"total": 10**40}, "total", "less_than_equal"),
        ({"total": 9.99}, "total", "int_type"),
        ({"total": 9.0}, "total", "int_type"),
        ({"total": True}, "total", "int_type"),
        ({"total": "999"}, "total", "int_type"),
        ({"total": None}, "total", "int_type"),
        ({"currency": "usd"}, "currency", "value_error"),
        ({"currency": "XXX"}, "currency", "value_error"),
        ({"currency": None}, "currency", "string_type"),
        ({"paymentMethod": "card"}, "paymentMethod", "string_pattern_mismatch"),
        ({"paymentMethod": "pm_"}, "paymentMethod", "string_pattern_mismatch"),
        ({"paymentMethod": "pm_" + "a" * 65}, "paymentMethod", "string_pattern_mismatch"),
        ({"paymentMethod": "pm_a\n"}, "paymentMethod", "string_pattern_mismatch"),
        ({"coordinator": "nobody"}, "coordinator", "enum"),
        ({"colour": "red"}, "colour", "extra_forbidden"),
        ({"user_id": USER}, "user_id", "extra_forbidden"),
    ],
)
async def test_a_body_that_breaks_a_rule_is_refused_by_field_and_rule(
    client: httpx.AsyncClient, around: Neighbours, change: dict[str, Any], field: str, rule: str
) -> None:
    answer = await client.post("/api/orders", json=BODY | change)

    assert [("body", field, rule)] == violations(answer)
    assert field in answer.json()["detail"]
    assert around.broker.published == []


@pytest.mark.parametrize("total", [9.99, "9.99"])
async def test_whoever_sends_a_decimal_amount_is_told_of_minor_units(client: httpx.AsyncClient, total: object) -> None:
    answer = await client.post("/api/orders", json=BODY | {"total": total})

    assert answer.json()["detail"] == "total must be a whole number of minor units: 999 is 9.99"


@pytest.mark.parametrize("missing", ["userId", "total"])
async def test_a_missing_field_is_named(client: httpx.AsyncClient, missing: str) -> None:
    answer = await client.post("/api/orders", json={name: value for name, value in BODY.items() if name != missing})

    assert [("body", missing, "missing")] == violations(answer)
    assert f"{missing} is required" == answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "json_invalid"),
        (b"{", "json_invalid"),
        (b'{"total": NaN, "userId": 1}', "int_type"),
        (b"\xff\xfe", "json_invalid"),
        (b"[" * 50_000, "json_invalid"),
        (b'{"userId": "\\ud800"}', "json_invalid"),
        (b"[]", "model_type"),
        (b"null", "model_type"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(client: httpx.AsyncClient, content: bytes, rule: str) -> None:
    answer = await client.post("/api/orders", content=content, headers={"Content-Type": "application/json"})

    assert rule in [found for _, _, found in violations(answer)]


@pytest.mark.parametrize("media_type", [None, "text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_that_does_not_say_it_is_json_is_refused(
    client: httpx.AsyncClient, media_type: str | None
) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    answer = await client.post("/api/orders", content=b"{}", headers=headers)

    assert answer.status_code == 415
    assert answer.json()["type"] == "urn:payment-saga:problem:unsupported-media-type"
    assert answer.headers["accept"] == "application/json"


async def test_thousands_of_unknown_fields_do_not_make_a_long_answer(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/orders", json=BODY | {f"f{n}" * 20: 1 for n in range(500)})

    assert len(violations(answer)) == 20


async def test_a_body_over_64_kib_is_refused_unread(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/orders", json=BODY | {"note": "x" * 65536})

    assert "65536 bytes" in problem(answer, 413)["detail"]


async def test_a_body_over_64_kib_is_refused_when_it_comes_in_chunks(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 8192

    answer = await client.post("/api/orders", content=chunks(), headers={"Content-Type": "application/json"})

    problem(answer, 413)


@pytest.mark.parametrize("how", ["away", "hangs"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/orders"), ("PATCH", f"/api/orders/{OLD}/cancel"), ("PATCH", f"/api/orders/{OLD}")],
)
async def test_a_command_without_the_broker_is_a_503(
    client: httpx.AsyncClient, around: Neighbours, how: str, method: str, path: str
) -> None:
    setattr(around.broker, how, True)
    around.orders.tell(f"/orders/{OLD}", {"status": "PAID"})
    body = BODY if method == "POST" else {"status": "CANCELLED"}

    answer = await client.request(method, path, json=body)

    detail = problem(answer, 503)["detail"]
    assert int(answer.headers["retry-after"]) > 0
    if how == "away":
        assert "nothing will come of it" in detail
        assert "location" not in answer.headers
    else:
        order_id = answer.headers["location"].removeprefix("/api/orders/")
        assert f"order {order_id} may still be {'placed' if method == 'POST' else 'cancelled'}" in detail


@pytest.mark.parametrize("prefer", [{}, {"Prefer": "wait=1"}])
async def test_a_command_is_answered_in_time_however_many_must_be_asked_for_it(
    client: httpx.AsyncClient, around: Neighbours, prefer: dict[str, str]
) -> None:
    around.limits = Limits(answer=0.1, command=60, query=60, cancel_query=60)
    around.broker.hangs = True
    async with around.client() as hurried:
        body = problem(await hurried.post("/api/orders", json=BODY, headers={"Idempotency-Key": "k", **prefer}), 503)
        assert "within 0.1 s" in body["detail"]
        problem(await hurried.patch(f"/api/orders/{accepted(around)}/cancel"), 503)


def test_the_whole_of_a_command_takes_less_than_two_seconds() -> None:
    assert Limits().command < Limits().answer < 2


# Idempotency-Key


async def post_with_key(client: httpx.AsyncClient, key: str = "k1", **change: Any) -> httpx.Response:
    return await client.post("/api/orders", json=BODY | change, headers={"Idempotency-Key": key})


async def test_the_same_key_and_body_give_the_same_order(client: httpx.AsyncClient, around: Neighbours) -> None:
    first = await post_with_key(client)
    around.pass_time(3600)
    second = await post_with_key(client, currency="USD")

    assert (202, first.json(), first.headers["location"]) == (
        second.status_code,
        second.json(),
        second.headers["location"],
    )


async def test_a_repetition_publishes_the_same_command_again(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.broker.away = True
    problem(await post_with_key(client), 503)
    around.broker.away = False
    await post_with_key(client)
    await post_with_key(client)

    [first, second] = around.broker.published
    assert (first.event_id, first.payload) == (second.event_id, second.payload)


async def test_the_same_key_with_another_body_is_a_409(client: httpx.AsyncClient, around: Neighbours) -> None:
    await post_with_key(client)

    problem(await post_with_key(client, total=1000), 409)
    assert len(around.broker.published) == 1


async def test_the_order_service_gets_the_digest_and_never_the_body(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    await post_with_key(client)

    [asked] = around.orders.asked
    assert (asked.method, asked.path) == ("PUT", "/idempotency-keys")
    assert {"scope", "key", "digest", "orderId"} == set(asked.content)
    assert len(asked.content["digest"]) == 64


@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_a_key_without_the_order_service_is_a_503(
    client: httpx.AsyncClient, around: Neighbours, how: str
) -> None:
    setattr(around.orders, how, True)

    answer = await post_with_key(client)

    problem(answer, 503)
    assert "retry-after" in answer.headers
    assert around.broker.published == []


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "caf\xe9"])
async def test_an_unusable_key_is_refused(client: httpx.AsyncClient, key: str) -> None:
    answer = await client.post("/api/orders", json=BODY, headers=[(b"Idempotency-Key", key.encode("latin-1"))])

    assert violations(answer) == [("header", "Idempotency-Key", "idempotency_key")]


async def test_an_order_accepted_at_a_later_try_is_as_new_as_any_other(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.broker.away = True
    problem(await post_with_key(client, "again"), 503)
    around.pass_time(3 * 3600)
    around.broker.away = False
    order_id = UUID((await post_with_key(client, "again")).json()["orderId"])
    assert around.now - (minted_at(order_id) or around.now) == timedelta(hours=3)

    reading = asyncio.create_task(client.get(f"/api/orders/{order_id}"))
    await around.feed.subscribed(order_id)
    assert (await client.patch(f"/api/orders/{order_id}/cancel")).status_code == 202
    around.pass_time(2)
    problem(await reading, 503)
    around.pass_time(around.limits.unstored)
    asked = len(around.orders.asked)
    problem(await client.get(f"/api/orders/{order_id}"), 404)
    assert len(around.orders.asked) == asked + 1  # it is waited for no longer


async def test_two_keys_at_once_are_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/orders", json=BODY, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])

    assert violations(answer) == [("header", "Idempotency-Key", "idempotency_key")]


# Cancelling


def accepted(around: Neighbours, orchestrated: bool = False) -> UUID:
    """The id of an order that a gateway of this system accepts now."""
    return OrderIds(around.secret).mint(around.now, orchestrated=orchestrated)


def cancel_requests(around: Neighbours) -> list[Envelope]:
    return [command for command in around.broker.published if command.event_type == "OrderCancelRequested"]


@pytest.mark.parametrize("status", ["PENDING_PAYMENT", "PAID"])
@pytest.mark.parametrize("content", [b"", b"{}", b'{"status":"CANCELLED"}'])
async def test_an_order_can_be_cancelled(
    client: httpx.AsyncClient, around: Neighbours, status: str, content: bytes
) -> None:
    around.orders.tell(f"/orders/{OLD}", {"id": str(OLD), "status": status})

    headers = {"Content-Type": "application/json"} if content else {}
    answer = await client.patch(f"/api/orders/{OLD}/cancel", content=content, headers=headers)

    assert answer.status_code == 202
    assert {"orderId": str(OLD), "message": "Order cancellation request accepted"} == answer.json()
    assert [command.payload for command in cancel_requests(around)] == [{"orderId": OLD, "reason": "USER_REQUESTED"}]


async def test_setting_the_status_to_cancelled_is_the_same(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.orders.tell(f"/orders/{OLD}", {"status": "PAID"})

    answer = await client.patch(f"/api/orders/{OLD}", json={"status": "CANCELLED"})

    assert answer.status_code == 202
    assert len(cancel_requests(around)) == 1


@pytest.mark.parametrize("path", [f"/api/orders/{OLD}", f"/api/orders/{OLD}/cancel"])
async def test_any_other_status_is_refused(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.patch(path, json={"status": "PAID"})

    assert violations(answer) == [("body", "status", "literal_error")]


async def test_a_change_of_status_needs_one(client: httpx.AsyncClient) -> None:
    assert violations(await client.patch(f"/api/orders/{OLD}", json={})) == [("body", "status", "missing")]


async def test_an_unknown_field_in_a_cancellation_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.patch(f"/api/orders/{OLD}/cancel", json={"reason": "PAYMENT_TIMEOUT"})

    assert violations(answer) == [("body", "reason", "extra_forbidden")]


async def test_cancelling_an_unknown_order_is_a_404(client: httpx.AsyncClient, around: Neighbours) -> None:
    answer = await client.patch(f"/api/orders/{OLD}/cancel")

    assert str(OLD) in problem(answer, 404)["detail"]
    assert around.broker.published == []


@pytest.mark.parametrize("path", ["/api/orders/42/cancel", "/api/orders/42"])
async def test_a_cancellation_by_an_invalid_id_is_refused(client: httpx.AsyncClient, path: str) -> None:
    assert violations(await client.patch(path, json={"status": "CANCELLED"})) == [("path", "orderId", "uuid_parsing")]


async def test_an_order_that_waits_to_be_stored_is_not_unknown(client: httpx.AsyncClient, around: Neighbours) -> None:
    order_id = (await client.post("/api/orders", json=BODY)).json()["orderId"]
    around.pass_time(3599)

    assert (await client.patch(f"/api/orders/{order_id}/cancel")).status_code == 202
    assert len(cancel_requests(around)) == 1


@pytest.mark.parametrize("orchestrated", [False, True])
async def test_an_order_never_stored_becomes_unknown_after_an_hour(
    client: httpx.AsyncClient, around: Neighbours, orchestrated: bool
) -> None:
    order_id = accepted(around, orchestrated)
    around.pass_time(3601)

    problem(await client.patch(f"/api/orders/{order_id}/cancel"), 404)


@pytest.mark.parametrize("orchestrated", [False, True])
async def test_a_new_id_that_no_gateway_has_given_is_unknown(
    client: httpx.AsyncClient, around: Neighbours, orchestrated: bool
) -> None:
    around.orchestration.away = True  # nobody needs to ask Temporal, since the mark of a stranger's id means nothing

    problem(await client.patch(f"/api/orders/{marked(uuid7(around.now), orchestrated)}/cancel"), 404)
    assert around.broker.published == []


async def test_what_is_accepted_is_logged_with_its_correlation_id(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.orders.tell(f"/orders/{OLD}", {"status": "PAID"})
    with capture_logs(processors=[merge_contextvars]) as logs:
        placed = await client.post("/api/orders", json=BODY, headers={"X-Correlation-Id": "trace-7"})
        await client.patch(f"/api/orders/{OLD}/cancel", headers={"X-Correlation-Id": "trace-8"})

    assert [(line["event"], line["order_id"], line["correlation_id"]) for line in logs] == [
        ("order_accepted", placed.json()["orderId"], "trace-7"),
        ("cancellation_accepted", str(OLD), "trace-8"),
    ]


@pytest.mark.parametrize("status", ["CANCELLED", "FAILED"])
async def test_cancelling_an_order_at_its_end_is_a_409(
    client: httpx.AsyncClient, around: Neighbours, status: str
) -> None:
    around.orders.tell(f"/orders/{OLD}", {"status": status})

    answer = await client.patch(f"/api/orders/{OLD}/cancel")

    assert f"Order {OLD} is {status}" in problem(answer, 409)["detail"]
    assert around.broker.published == []


@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_a_cancellation_is_accepted_unseen_with_the_order_service_down(
    client: httpx.AsyncClient, around: Neighbours, how: str
) -> None:
    setattr(around.orders, how, True)

    assert (await client.patch(f"/api/orders/{OLD}/cancel")).status_code == 202
    assert len(cancel_requests(around)) == 1
