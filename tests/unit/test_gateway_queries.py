"""GET at the gateway passes on the service's answer, waits a moment for a new order, or says why it refuses."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import httpx
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from models.ids import uuid7
from tests.support.events import APPROVED, CREATED, ORDER, PAID
from tests.support.fakes.gateway import Asked, Neighbours
from tests.support.gateway_http import OLD, problem, violations
from tests.support.messages import USER

pytestmark = pytest.mark.anyio

STORED = {"id": str(OLD), "status": "PAID", "total": 999}


# Passing on

PATHS = {
    "/api/orders": ("orders", "/orders"),
    f"/api/orders/{OLD}": ("orders", f"/orders/{OLD}"),
    "/api/payments": ("payments", "/payments"),
    "/api/payments/stats": ("payments", "/payments/stats"),
    f"/api/payments/{OLD}": ("payments", f"/payments/{OLD}"),
    f"/api/payments/order/{OLD}": ("payments", f"/payments/order/{OLD}"),
}


@pytest.mark.parametrize("path", PATHS)
async def test_the_answer_of_a_service_is_passed_on_byte_for_byte(
    client: httpx.AsyncClient, around: Neighbours, path: str
) -> None:
    service, inner = PATHS[path]
    getattr(around, service).says[inner] = (200, b'{"a" :\t1}')

    answer = await client.get(path, headers={"X-Correlation-Id": "trace-7"})

    assert (
        answer.status_code,
        answer.content,
        answer.headers["content-type"],
    ) == (200, b'{"a" :\t1}', "application/json")
    assert getattr(around, service).asked[0].correlation_id == "trace-7"


@pytest.mark.parametrize("path", [*PATHS, f"/api/orders/{OLD}/timeline", f"/api/orders/{OLD}/stream"])
@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_a_service_that_does_not_answer_is_a_503(
    client: httpx.AsyncClient, around: Neighbours, path: str, how: str
) -> None:
    setattr(around.orders, how, True)
    setattr(around.payments, how, True)

    answer = await client.get(path)

    problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("status", [401, 500, 502, 503])
async def test_a_service_that_cannot_answer_is_a_503(
    client: httpx.AsyncClient, around: Neighbours, status: int
) -> None:
    around.orders.tell("/orders", {}, status)

    problem(await client.get("/api/orders"), 503)


async def test_one_event_log_alone_makes_no_timeline(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.orders.log(f"/orders/{ORDER}/events", CREATED)
    around.payments.away = True

    problem(await client.get(f"/api/orders/{ORDER}/timeline"), 503)


async def test_page_and_filters_are_passed_on(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.orders.tell("/orders", {"data": []})

    await client.get("/api/orders", params={"page": "3", "limit": "100", "status": "PAID", "userId": USER})

    assert around.orders.asked[0].params == {"page": 3, "limit": 100, "status": "PAID", "userId": USER}


async def test_the_status_of_payments_is_passed_on(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.payments.tell("/payments", {"data": []})

    await client.get("/api/payments", params={"page": "3", "limit": "100", "status": "REFUNDED"})

    assert around.payments.asked[0].params == {"page": 3, "limit": 100, "status": "REFUNDED"}


@pytest.mark.parametrize("path", ["/api/orders", "/api/payments"])
async def test_a_list_starts_with_a_page_of_ten(client: httpx.AsyncClient, around: Neighbours, path: str) -> None:
    service, inner = PATHS[path]
    getattr(around, service).tell(inner, {})

    await client.get(path)

    assert getattr(around, service).asked[0].params == {"page": 1, "limit": 10}


# Refusing


@pytest.mark.parametrize(
    ("query", "field", "rule"),
    [
        ("page=0", "page", "greater_than_equal"),
        ("page=-1", "page", "greater_than_equal"),
        ("page=2147483648", "page", "less_than_equal"),
        ("page=one", "page", "value_error"),
        ("page=1.0", "page", "value_error"),
        ("page=1_0", "page", "value_error"),
        ("page=", "page", "value_error"),
        ("limit=0", "limit", "greater_than_equal"),
        ("limit=101", "limit", "less_than_equal"),
        ("colour=red", "colour", "extra_forbidden"),
    ],
)
@pytest.mark.parametrize("path", ["/api/orders", "/api/payments"])
async def test_a_list_query_that_breaks_a_rule_is_refused(
    client: httpx.AsyncClient, path: str, query: str, field: str, rule: str
) -> None:
    assert [("query", field, rule)] == violations(await client.get(f"{path}?{query}"))


@pytest.mark.parametrize(
    ("query", "field", "rule"), [("status=LOST", "status", "enum"), ("userId=42", "userId", "uuid_parsing")]
)
async def test_an_order_filter_that_breaks_a_rule_is_refused(
    client: httpx.AsyncClient, query: str, field: str, rule: str
) -> None:
    assert [("query", field, rule)] == violations(await client.get(f"/api/orders?{query}"))


@pytest.mark.parametrize(
    ("query", "field", "rule"),
    [
        ("status=PAID", "status", "enum"),  # orders have it
        ("status=approved", "status", "enum"),
        ("status=", "status", "enum"),
        ("userId=42", "userId", "extra_forbidden"),
    ],
)
async def test_a_payment_filter_that_breaks_a_rule_is_refused(
    client: httpx.AsyncClient, query: str, field: str, rule: str
) -> None:
    assert [("query", field, rule)] == violations(await client.get(f"/api/payments?{query}"))


@pytest.mark.parametrize(
    "path", [f"/api/orders/{OLD}", f"/api/orders/{OLD}/timeline", f"/api/orders/{OLD}/stream", "/api/payments/stats"]
)
async def test_an_unknown_query_parameter_is_refused_everywhere(client: httpx.AsyncClient, path: str) -> None:
    assert violations(await client.get(f"{path}?colour=red")) == [("query", "colour", "extra_forbidden")]


async def test_an_order_is_not_placed_with_a_query_parameter(client: httpx.AsyncClient, around: Neighbours) -> None:
    body = {"userId": str(OLD), "total": 999}
    answer = await client.post("/api/orders?coordinator=orchestration", json=body)
    assert violations(answer) == [("query", "coordinator", "extra_forbidden")]
    assert (await client.post("/api/orders?", json=body)).status_code == 202
    assert len(around.broker.published) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/api/orders/42",
        "/api/orders/42/timeline",
        "/api/orders/42/stream",
        "/api/payments/42",
        "/api/payments/order/42",
    ],
)
async def test_an_invalid_id_is_refused(client: httpx.AsyncClient, path: str) -> None:
    [(part, _, rule)] = violations(await client.get(path))

    assert (part, rule) == ("path", "uuid_parsing")


@pytest.mark.parametrize(
    "path",
    [
        f"/api/orders/{OLD}",
        f"/api/orders/{OLD}/timeline",
        f"/api/orders/{OLD}/stream",
        f"/api/payments/{OLD}",
        f"/api/payments/order/{OLD}",
    ],
)
async def test_an_unknown_id_is_a_404(client: httpx.AsyncClient, around: Neighbours, path: str) -> None:
    for events in (around.orders, around.payments):
        events.log(f"/orders/{OLD}/events")
        events.log(f"/payments/order/{OLD}/events")

    assert str(OLD) in problem(await client.get(path), 404)["detail"]
    assert around.feed.idle


@pytest.mark.parametrize("path", ["/api", "/api/nothing", "/api/orders/", f"/api/orders/{OLD}/nothing"])
async def test_a_path_that_is_not_there_is_a_404(client: httpx.AsyncClient, path: str) -> None:
    assert path == problem(await client.get(path), 404)["instance"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/orders", "GET, HEAD, POST, OPTIONS"),
        ("PUT", f"/api/orders/{OLD}", "GET, HEAD, PATCH, OPTIONS"),
        ("POST", "/api/payments", "GET, HEAD, OPTIONS"),
        ("GET", f"/api/orders/{OLD}/cancel", "PATCH, OPTIONS"),
    ],
)
async def test_a_method_that_is_not_there_is_a_405_that_names_those_that_are(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, path)

    problem(answer, 405)
    assert allowed == answer.headers["allow"]


async def test_an_unexpected_error_is_a_bare_500_and_is_logged(client: httpx.AsyncClient, around: Neighbours) -> None:
    def fail(_: Asked) -> None:
        raise ZeroDivisionError("secret")

    around.orders.on_request = fail

    with capture_logs(processors=[merge_contextvars]) as logs:
        answer = await client.get("/api/orders", headers={"X-Correlation-Id": "trace-7"})

    problem(answer, 500)
    assert "secret" not in answer.text
    [logged] = logs
    assert (logged["event"], logged["correlation_id"]) == ("request_failed", "trace-7")
    assert "secret" in str(logged["exc_info"])


# Correlation ids


@pytest.mark.parametrize("given", ["a", "trace 7", "x" * 128])
async def test_a_correlation_id_is_taken_over(client: httpx.AsyncClient, given: str) -> None:
    assert given == (await client.get("/healthz", headers={"X-Correlation-Id": given})).headers["x-correlation-id"]


@pytest.mark.parametrize("given", [b"", b" ", b"x" * 129, b"a\tb", "é".encode()])
async def test_an_unusable_correlation_id_is_replaced(client: httpx.AsyncClient, given: bytes) -> None:
    answer = await client.get("/healthz", headers=[(b"X-Correlation-Id", given)])

    assert (answer.status_code, UUID(answer.headers["x-correlation-id"]).version) == (200, 4)


async def test_every_request_gets_a_correlation_id_of_its_own(client: httpx.AsyncClient) -> None:
    ids = {(await client.get("/healthz")).headers["x-correlation-id"] for _ in range(3)}

    assert len(ids) == 3


# Reading what was just accepted


async def test_an_order_accepted_a_moment_ago_is_waited_for(client: httpx.AsyncClient, around: Neighbours) -> None:
    order_id = uuid7(around.now)
    reading = asyncio.create_task(client.get(f"/api/orders/{order_id}"))
    await around.feed.subscribed(order_id)
    around.orders.tell(f"/orders/{order_id}", STORED)
    around.feed.push(order_id, CREATED)

    answer = await reading

    assert (answer.status_code, answer.json()) == (200, STORED)
    assert around.feed.idle


async def test_an_order_stored_before_the_wait_began_is_not_waited_for(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    order_id = uuid7(around.now)
    around.feed.on_subscribe = lambda _: around.orders.tell(f"/orders/{order_id}", STORED)

    assert (await client.get(f"/api/orders/{order_id}")).status_code == 200


async def test_an_order_that_is_not_stored_in_time_is_a_404(client: httpx.AsyncClient, around: Neighbours) -> None:
    problem(await client.get(f"/api/orders/{uuid7(around.now)}"), 404)
    assert around.feed.idle


async def test_an_order_is_not_waited_for_once_it_should_be_there(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    order_id = uuid7(around.now)
    around.pass_time(2)

    problem(await client.get(f"/api/orders/{order_id}"), 404)
    assert len(around.orders.asked) == 1


async def test_without_the_broker_a_new_order_is_asked_for_until_it_is_there(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.feed.away = True
    order_id = uuid7(around.now)

    def stored_by_now(_: Asked) -> None:
        if len(around.orders.asked) == 3:
            around.orders.tell(f"/orders/{order_id}", STORED)

    around.orders.on_request = stored_by_now
    assert (await client.get(f"/api/orders/{order_id}")).json() == STORED
    problem(await client.get(f"/api/orders/{uuid7(around.now)}"), 404)


async def test_a_new_order_whose_event_is_late_is_found_all_the_same(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    order_id = uuid7(around.now)

    def stored_by_now(_: Asked) -> None:
        if len(around.orders.asked) == 3:  # the first question, that of the subscriber, and the last
            around.orders.tell(f"/orders/{order_id}", STORED)

    around.orders.on_request = stored_by_now
    assert (await client.get(f"/api/orders/{order_id}")).json() == STORED


# Timeline


async def test_the_timeline_is_put_together_from_both_event_logs(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.orders.log(f"/orders/{ORDER}/events", CREATED, PAID)
    around.payments.log(f"/payments/order/{ORDER}/events", APPROVED)

    body = (await client.get(f"/api/orders/{ORDER}/timeline")).json()

    assert [entry["eventType"] for entry in body["entries"]] == ["OrderCreated", "PaymentApproved", "OrderPaid"]
    assert (str(ORDER), "PAID", "APPROVED", True) == (
        body["orderId"],
        body["orderStatus"],
        body["paymentStatus"],
        body["over"],
    )


async def test_an_effect_is_never_told_without_its_cause(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.orders.log(f"/orders/{ORDER}/events", CREATED, PAID)
    around.payments.log(f"/payments/order/{ORDER}/events")  # the reply was read a moment too early
    asked: list[str] = []

    def payment_appears(request: Asked) -> None:
        asked.append(request.path)
        if len(asked) == 2:
            around.payments.log(f"/payments/order/{ORDER}/events", APPROVED)

    around.payments.on_request = payment_appears

    entries = (await client.get(f"/api/orders/{ORDER}/timeline")).json()["entries"]

    assert [entry["eventType"] for entry in entries] == ["OrderCreated", "PaymentApproved", "OrderPaid"]


async def test_an_event_that_this_gateway_cannot_read_does_not_hide_the_others(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.orders.tell(f"/orders/{ORDER}/events", {"data": [{"eventType": "OrderFramed"}]})
    around.payments.log(f"/payments/order/{ORDER}/events", APPROVED)

    assert len((await client.get(f"/api/orders/{ORDER}/timeline")).json()["entries"]) == 1


# Health


async def test_a_gateway_with_all_it_needs_is_ready(client: httpx.AsyncClient) -> None:
    answer = await client.get("/readyz")

    assert (answer.status_code, answer.json()) == (200, {"ready": True, "checks": {"broker": "ok"}})


async def test_a_gateway_that_lacks_something_says_what(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.checks = {"broker": "no connection to RabbitMQ"}

    answer = await client.get("/readyz")

    assert (503, {"ready": False, "checks": around.checks}) == (answer.status_code, answer.json())


async def test_a_gateway_is_alive_whatever_it_lacks(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.checks = {"broker": "no connection to RabbitMQ"}

    assert ((await client.get("/healthz")).status_code, {"status": "ok"}) == (200, {"status": "ok"})


# OpenAPI


async def test_every_error_is_declared_as_a_problem(client: httpx.AsyncClient) -> None:
    document: Any = json.loads((await client.get("/openapi.json")).content)

    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                shared = answer.get("$ref", "").rpartition("/")[2]
                content = (document["components"]["responses"][shared] if shared else answer).get("content", {})
                if int(status) >= 400 and path != "/readyz":
                    assert list(content) == ["application/problem+json"], (method, path, status)


async def test_every_reference_in_the_document_leads_somewhere(client: httpx.AsyncClient) -> None:
    text = (await client.get("/openapi.json")).text
    document = json.loads(text)
    names = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}

    assert names <= set(document["components"]["schemas"])
    assert {"CreateOrder", "Problem", "OrderBody", "TimelineBody"} <= names
