"""The OpenAPI documents of the three APIs are valid and complete, and their examples are true."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import httpx
import jsonschema
import pytest
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator

from api import examples
from api.fields import ORDER_ID, PAYMENT_ID
from api.gateway import examples as gateway_examples
from api.services.order_service import create_orders_app
from api.services.payment_service import create_payments_app
from models.database import Database
from tests.support.fakes.gateway import Neighbours

pytestmark = pytest.mark.anyio

ORDER = f"/api/orders/{ORDER_ID}"
PAYMENT = f"/api/payments/{PAYMENT_ID}"
USER = examples.USER_ID


async def _ready() -> dict[str, str]:
    return {}


async def _replay(**_: Any) -> int:
    return 0


def _service(create: Any) -> FastAPI:
    return cast(FastAPI, create(database=cast(Database, None), token="t", readiness=_ready, replay=_replay))


DOCUMENTS: dict[str, Any] = {
    "gateway": Neighbours().gateway().openapi(),
    "order service": _service(create_orders_app).openapi(),
    "payment service": _service(create_payments_app).openapi(),
}
DOCUMENT = DOCUMENTS["gateway"]


def operations(document: Any = DOCUMENT) -> Iterator[tuple[str, str, Any]]:
    for path, found in document["paths"].items():
        for method, operation in found.items():
            yield method, path, operation


def answer_of(operation: Any, status: int) -> Any:
    """The document's description of this answer."""
    answer = operation["responses"][str(status)]
    return DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer


def places_of_examples(node: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each example of a document: its place, its schema, and the example itself."""
    if isinstance(node, dict):
        examples = node.get("examples")
        if isinstance(examples, dict) and "schema" in node:
            for name, example in examples.items():
                yield f"{where}/{name}", node["schema"], example["value"]
        elif isinstance(examples, list):
            for n, example in enumerate(examples):
                yield f"{where}/{n}", node, example
        if "example" in node and "schema" in node:
            yield where, node["schema"], node["example"]
        for key, child in node.items():
            if key != "examples":
                yield from places_of_examples(child, f"{where}/{key}")
    elif isinstance(node, list):
        for n, child in enumerate(node):
            yield from places_of_examples(child, f"{where}/{n}")


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_the_document_is_valid(name: str) -> None:
    OpenAPIV31SpecValidator(DOCUMENTS[name]).validate()


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_every_example_is_one_of_its_schema(name: str) -> None:
    document = DOCUMENTS[name]
    found = list(places_of_examples(document))
    assert len(found) > 10
    for where, schema, example in found:
        # References lead from the document's root.
        validator = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
        assert [error.message for error in validator.iter_errors(example)] == [], where


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_everything_has_a_description(name: str) -> None:
    for method, path, operation in operations(DOCUMENTS[name]):
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), (method, path, parameter["name"])
        for status, answer in operation["responses"].items():
            assert "$ref" in answer or answer["description"], (method, path, status)
        if name == "gateway":
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)


async def test_operations_have_the_names_a_client_would_give_them() -> None:
    assert [operation["operationId"] for _, _, operation in operations()] == [
        "createOrder",
        "listOrders",
        "getOrder",
        "updateOrder",
        "cancelOrder",
        "getOrderTimeline",
        "streamOrder",
        "listPayments",
        "getPaymentStats",
        "getPaymentOfOrder",
        "getPayment",
        "listDeadLetters",
        "redriveDeadLetters",
        "getDeadLetter",
        "discardDeadLetter",
        "redriveDeadLetter",
        "replayEvents",
        "reconcile",
        "auditDatabases",
        "getHealth",
        "getReadiness",
    ]


async def test_every_answer_has_an_example_and_a_problem_that_of_its_status() -> None:
    for method, path, operation in operations():
        for status in operation["responses"]:
            for media_type, content in answer_of(operation, int(status)).get("content", {}).items():
                examples = [example["value"] for example in content["examples"].values()]
                assert examples, (method, path, status)
                if media_type == "application/problem+json":
                    assert {example["status"] for example in examples} == {int(status)}, (method, path)


async def test_every_operation_but_a_health_check_may_be_asked_too_often() -> None:
    limited = {path: "429" in operation["responses"] for _, path, operation in operations()}
    assert limited == {path: path not in ("/healthz", "/readyz") for path in limited}
    assert "Retry-After" in DOCUMENT["components"]["responses"]["TooManyRequests"]["headers"]


async def test_an_order_that_is_paid_has_no_reason_for_its_cancellation() -> None:
    orders = [
        example
        for _, _, example in places_of_examples(DOCUMENT)
        if isinstance(example, dict) and "cancelReason" in example
    ]
    assert {"PAID", "CANCELLED"} == {order["status"] for order in orders}
    for order in orders:
        assert (order["cancelReason"] is None) == (order["status"] == "PAID")


# The document shows the answer that each of these requests really gets.
PROBLEMS: list[tuple[str, str, int, dict[str, Any], str | None]] = [
    ("get", "/api/orders", 400, {"headers": [("Host", "localhost"), ("Host", "localhost")]}, None),
    ("get", "/api/orders", 421, {"headers": {"Host": "shop.example"}}, None),
    ("get", "/api/orders", 422, {"params": {"limit": 0}}, None),
    ("get", ORDER, 404, {}, None),
    ("get", "/api/orders/42", 422, {}, None),
    ("get", f"{ORDER}/stream", 404, {}, None),
    ("get", f"{ORDER}/stream", 503, {}, "feed"),
    ("get", f"{ORDER}/timeline", 404, {}, None),
    ("get", ORDER, 503, {}, "orders"),
    ("get", "/api/payments", 503, {}, "payments"),
    ("get", "/api/payments/stats", 422, {"params": [("page", 1), ("page", 2)]}, None),
    ("get", PAYMENT, 404, {}, None),
    ("get", "/api/payments/42", 422, {}, None),
    ("get", ORDER.replace("orders", "payments/order"), 404, {}, None),
    ("post", "/api/orders", 403, {"headers": {"Origin": "http://evil.example"}}, None),
    ("post", "/api/orders", 413, {"content": b"a" * 70_000}, None),
    ("post", "/api/orders", 415, {"content": b"{}"}, None),
    ("post", "/api/orders", 422, {"json": {"userId": USER, "total": 0}}, None),
    ("post", "/api/orders", 422, {"json": {"total": 999, "colour": "red"}}, None),
    ("post", "/api/orders", 503, {"json": {"userId": USER, "total": 1}}, "broker"),
    (
        "post",
        "/api/orders",
        503,
        {"json": {"userId": USER, "total": 1, "coordinator": "orchestration"}},
        "orchestration",
    ),
    ("patch", f"{ORDER}/cancel", 404, {}, None),
    ("patch", f"{ORDER}/cancel", 409, {}, "cancelled"),
    ("patch", ORDER, 422, {"json": {"status": "PAID"}}, None),
    ("patch", "/api/orders/42/cancel", 422, {}, None),
]


@pytest.mark.parametrize(("method", "path", "status", "request_", "missing"), PROBLEMS)
async def test_examples_of_problems_are_what_is_answered(
    around: Neighbours, method: str, path: str, status: int, request_: Any, missing: str | None
) -> None:
    if missing == "cancelled":
        around.orders.tell(ORDER.removeprefix("/api"), {"status": "CANCELLED", "coordinator": "choreography"})
    elif missing is not None:
        getattr(around, missing).away = True
    around.pass_time(4000)  # the order is not one that may be stored in a moment
    async with around.client() as client:
        answer = await client.request(method, path, **request_)
    assert answer.status_code == status, answer.text
    operation = next(found for m, template, found in operations() if m == method and _leads(template, path))
    contents = answer_of(operation, status)["content"]["application/problem+json"]
    told = answer.json() | {"correlationId": None}
    shown = [example["value"] | {"correlationId": None} for example in contents["examples"].values()]
    if "$ref" in operation["responses"][str(status)]:  # one for all paths
        told["instance"] = shown[0]["instance"]
    assert told in shown


def _leads(template: str, path: str) -> bool:
    parts, found = template.split("/"), path.split("/")
    return len(parts) == len(found) and all(a == b or a.startswith("{") for a, b in zip(parts, found, strict=True))


async def test_an_idempotency_key_that_is_taken_is_told_as_in_the_example(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "k"}
    first = await client.post("/api/orders", json={"userId": USER, "total": 1}, headers=key)
    answer = await client.post("/api/orders", json={"userId": USER, "total": 2}, headers=key)

    (shown,) = answer_of(DOCUMENT["paths"]["/api/orders"]["post"], 409)["content"]["application/problem+json"][
        "examples"
    ].values()
    detail = answer.json()["detail"].replace(first.json()["orderId"], ORDER_ID)
    assert (answer.json()["title"], detail) == (shown["value"]["title"], shown["value"]["detail"])


async def test_the_example_of_a_timeline_is_one_that_is_told(around: Neighbours) -> None:
    created, approved, paid = gateway_examples.EVENTS
    around.orders.tell(f"/orders/{ORDER_ID}", examples.PAID_ORDER)
    around.orders.log(f"/orders/{ORDER_ID}/events", created, paid)
    around.payments.log(f"/payments/order/{ORDER_ID}/events", approved)
    async with around.client() as client:
        answer = (await client.get(f"{ORDER}/timeline")).json()
        stream = (await client.get(f"{ORDER}/stream")).text
    assert answer | {"source": "workflow"} == gateway_examples.TIMELINE
    assert stream.startswith(gateway_examples.STREAM)
