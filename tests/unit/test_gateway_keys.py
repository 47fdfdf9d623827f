"""With API keys nobody reaches what isn't theirs: every route, by whoever asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from starlette.routing import Mount, Route

from api import examples
from api.access import Access
from api.fields import ORDER_ID, PAYMENT_ID
from api.gateway.console.files import console_files
from api.gateway.examples import EVENTS
from api.gateway.keys import ApiKey, Role, mint
from api.telemetry import Telemetry
from tests.support.fakes.gateway import Neighbours
from tests.support.gateway_http import problem
from tests.support.messages import USER

pytestmark = pytest.mark.anyio

OTHER = UUID(int=7)
ORDER = f"/api/orders/{ORDER_ID}"
MINTED: Mapping[str, tuple[str, ApiKey]] = {
    "own": mint("alice", Role.CLIENT, UUID(USER)),
    "another's": mint("bob", Role.CLIENT, OTHER),
    "client": mint("shop", Role.CLIENT),
    "operator": mint("root", Role.OPERATOR),
}
KEYS = tuple(record for _, record in MINTED.values())
STRANGERS: Mapping[str, list[tuple[str, str]]] = {
    "no key": [],
    "an empty key": [("Authorization", "Bearer ")],
    "another scheme": [("Authorization", "Basic " + MINTED["operator"][0])],
    "no scheme": [("Authorization", MINTED["operator"][0])],
    "two fields": [("Authorization", f"Bearer {MINTED[name][0]}") for name in ("own", "operator")],
    "two keys": [("Authorization", f"Bearer {MINTED['own'][0]} {MINTED['operator'][0]}")],
    "a wrong key": [("Authorization", "Bearer sk_saga_" + "x" * 43)],
    "a record's digest": [("Authorization", f"Bearer {MINTED['operator'][1].digest.hex()}")],
    "a key cut short": [("Authorization", f"Bearer {MINTED['operator'][0][:-1]}")],
    "a key in the query": [],
}


async def _nothing(_accept: str) -> tuple[bytes, str]:
    return b"", "text/plain"


UNMEASURED = Telemetry(answered=lambda *_: None, render=_nothing)
OPEN = "open"
# What each key of MINTED gets: own, another's, client, operator. A route that isn't here fails the test below.
ROUTES: Mapping[tuple[str, str], tuple[int, int, int, int] | str] = {
    ("GET", "/"): OPEN,
    ("GET", "/console/{name}"): OPEN,
    ("GET", "/api/console/session"): OPEN,
    ("POST", "/api/console/session"): OPEN,
    ("DELETE", "/api/console/session"): OPEN,
    ("GET", "/api/console/stream"): (200, 200, 200, 200),
    ("GET", "/api/console/totals"): (200, 200, 200, 200),
    ("GET", "/api/console/sagas/{orderId}"): (200, 404, 200, 200),
    ("GET", "/api/console/parts"): (403, 403, 403, 200),
    ("POST", "/api/console/parts/{name}/kill"): (403, 403, 403, 404),  # there is no supervisor here
    ("POST", "/api/console/parts/{name}/freeze"): (403, 403, 403, 404),
    ("POST", "/api/console/parts/{name}/cut"): (403, 403, 403, 404),
    ("GET", "/docs"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/metrics"): (403, 403, 403, 200),
    ("POST", "/api/orders"): (202, 403, 202, 202),
    ("GET", "/api/orders"): (200, 200, 200, 200),
    ("GET", "/api/orders/{orderId}"): (200, 404, 200, 200),
    ("PATCH", "/api/orders/{orderId}"): (202, 404, 202, 202),
    ("PATCH", "/api/orders/{orderId}/cancel"): (202, 404, 202, 202),
    ("GET", "/api/orders/{orderId}/timeline"): (200, 404, 200, 200),
    ("GET", "/api/orders/{orderId}/stream"): (200, 404, 200, 200),
    ("GET", "/api/payments"): (200, 200, 200, 200),
    ("GET", "/api/payments/stats"): (403, 403, 200, 200),
    ("GET", "/api/payments/order/{orderId}"): (200, 404, 200, 200),
    ("GET", "/api/payments/{paymentId}"): (200, 404, 200, 200),
    ("GET", "/api/operator/dead-letters"): (403, 403, 403, 200),
    ("POST", "/api/operator/dead-letters/redrive"): (403, 403, 403, 200),
    ("GET", "/api/operator/dead-letters/{letterId}"): (403, 403, 403, 200),
    ("POST", "/api/operator/dead-letters/{letterId}/redrive"): (403, 403, 403, 200),
    ("DELETE", "/api/operator/dead-letters/{letterId}"): (403, 403, 403, 200),
    ("POST", "/api/operator/events/replay"): (403, 403, 403, 200),
    ("POST", "/api/operator/reconcile"): (403, 403, 403, 202),
    ("GET", "/api/operator/audit"): (403, 403, 403, 200),
}
GUARDED = [(*route, *outcomes) for route, outcomes in ROUTES.items() if outcomes != OPEN]
BODIES: Mapping[tuple[str, str], Any] = {
    ("POST", "/api/orders"): {"userId": USER, "total": 999},
    ("PATCH", "/api/orders/{orderId}"): {"status": "CANCELLED"},
    ("POST", "/api/operator/events/replay"): {"orderId": ORDER_ID},
    ("POST", "/api/console/parts/{name}/freeze"): {"seconds": 1},
    ("POST", "/api/console/parts/{name}/cut"): {"seconds": 1},
    ("POST", "/api/console/session"): {"key": MINTED["client"][0]},
}


@pytest.fixture
def around(around: Neighbours) -> Neighbours:
    """A gateway with keys, and services that know one paid order of one user."""
    around.keys = KEYS
    around.telemetry = UNMEASURED
    around.limits = replace(around.limits, longest_view=0)
    order = examples.PAID_ORDER | {"userId": USER}
    around.orders.tell(f"/orders/{ORDER_ID}", order)
    around.orders.tell("/orders", {"data": [order], "meta": {"page": 1, "limit": 10, "total": 1, "totalPages": 1}})
    around.orders.tell(f"/users/{USER}/orders", {"data": [ORDER_ID]})
    around.orders.tell(f"/users/{OTHER}/orders", {"data": []})
    around.orders.tell("/totals", {"total": 1})
    around.payments.tell(f"/payments/{PAYMENT_ID}", examples.PAYMENT)
    around.payments.tell(f"/payments/order/{ORDER_ID}", examples.PAYMENT)
    around.payments.tell("/payments", examples.PAYMENTS)
    around.payments.tell("/payments/of-orders", examples.PAYMENTS)
    around.payments.tell("/payments/stats", examples.STATS)
    for process in (around.orders, around.payments, around.worker):
        process.tell("/dead-letters/find", {"data": [examples.DEAD_LETTER], "total": 1})
        process.tell("/dead-letters/redrive", {"redriven": 1})
        process.tell("/dead-letters/discard", {"discarded": 1})
        process.tell("/events/replay", {"replayed": 2})
        process.tell("/audit", {"checks": [], "waiting": 0})
    created, approved, paid = EVENTS
    around.orders.log(f"/orders/{ORDER_ID}/events", created, paid)
    around.payments.log(f"/payments/order/{ORDER_ID}/events", approved)
    return around


def shown(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {MINTED[name][0]}"}


async def ask(around: Neighbours, method: str, path: str, headers: Any) -> httpx.Response:
    target = path.replace("{orderId}", ORDER_ID).replace("{paymentId}", PAYMENT_ID)
    target = target.replace("{name}", next(iter(console_files().files)))
    async with around.client() as client:
        return await client.request(method, target, headers=headers, json=BODIES.get((method, path)))


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    return set(_found(app.routes, ""))


def _found(routes: Iterable[Any], prefix: str) -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, Mount):
            assert route.path == "/static-offline-docs", "a mount must be open, or refused without a key"
        elif hasattr(route, "original_router"):
            yield from _found(route.original_router.routes, prefix + route.include_context.prefix)
        else:
            assert isinstance(route, Route), route
            path = prefix + route.path.replace(":path}", "}")
            yield from ((method, path) for method in route.methods or () if method != "HEAD")


async def test_every_route_is_in_the_table(around: Neighbours) -> None:
    assert routes_of(around.gateway()) == set(ROUTES)


@pytest.mark.parametrize("who", STRANGERS)
@pytest.mark.parametrize(("method", "path"), [route[:2] for route in GUARDED])
async def test_no_route_answers_a_stranger(around: Neighbours, who: str, method: str, path: str) -> None:
    target = path + (f"?access_token={MINTED['operator'][0]}" if who == "a key in the query" else "")
    answer = await ask(around, method, target, STRANGERS[who])

    told = problem(answer, 401)
    assert told["type"] == "urn:payment-saga:problem:unauthorized"
    assert answer.headers["www-authenticate"].startswith('Bearer realm="payment-saga"')
    assert "sk_saga_x" not in answer.text
    assert (around.orders.asked, around.payments.asked, around.broker.published) == ([], [], [])


@pytest.mark.parametrize(("method", "path"), [route for route, outcomes in ROUTES.items() if outcomes == OPEN])
async def test_pages_health_and_the_way_in_are_open(around: Neighbours, method: str, path: str) -> None:
    assert (await ask(around, method, path, [])).status_code == 200


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nothing", "/api/operator", "/api/operator/nothing"])
async def test_a_stranger_does_not_learn_what_is_not_there(around: Neighbours, path: str) -> None:
    for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE", "TRACE"):
        assert (await ask(around, method, path, [])).status_code == 401


@pytest.mark.parametrize(("number", "who"), list(enumerate(MINTED)))
@pytest.mark.parametrize(("method", "path", "a", "b", "c", "d"), GUARDED)
async def test_each_key_reaches_what_is_its_own(
    around: Neighbours, number: int, who: str, method: str, path: str, a: int, b: int, c: int, d: int
) -> None:
    if method == "PATCH":
        around.orders.tell(f"/orders/{ORDER_ID}", examples.PAID_ORDER | {"userId": USER, "status": "PENDING_PAYMENT"})
    answer = await ask(around, method, path, shown(who))
    assert answer.status_code == (a, b, c, d)[number], answer.text
    if answer.status_code in (403, 404):
        assert around.broker.published == []
        assert problem(answer, answer.status_code)["detail"]


async def test_another_users_order_and_an_unknown_one_are_answered_alike(around: Neighbours) -> None:
    unknown = str(uuid4())
    async with around.client() as client:
        for path in ("/api/orders/{}", "/api/orders/{}/timeline", "/api/orders/{}/stream", "/api/payments/order/{}"):
            others = await client.get(path.format(ORDER_ID), headers=shown("another's"))
            nobodys = await client.get(path.format(unknown), headers=shown("another's"))
            assert problem(others, 404)["detail"] == problem(nobodys, 404)["detail"].replace(unknown, ORDER_ID)


async def test_lists_are_those_of_the_keys_user(around: Neighbours) -> None:
    async with around.client() as client:
        await client.get("/api/orders?status=PAID&limit=5", headers=shown("own"))
        await client.get("/api/payments?status=APPROVED&page=2", headers=shown("own"))
        await client.get("/api/payments", headers=shown("another's"))
        none = await client.get(f"/api/orders?userId={OTHER}", headers=shown("own"))

    listed, ids, others = around.orders.asked
    assert listed.params == {"page": 1, "limit": 5, "status": "PAID", "userId": USER}
    assert (ids.path, others.path) == (f"/users/{USER}/orders", f"/users/{OTHER}/orders")
    first, second = (asked.content for asked in around.payments.asked)
    assert first == {"page": 2, "limit": 10, "status": "APPROVED", "orderIds": [ORDER_ID]}
    assert second["orderIds"] == []
    assert none.json() == {"data": [], "meta": {"page": 1, "limit": 10, "total": 0, "totalPages": 0}}


async def test_a_key_of_all_users_may_ask_for_one(around: Neighbours) -> None:
    async with around.client() as client:
        await client.get(f"/api/orders?userId={OTHER}", headers=shown("client"))
    assert around.orders.asked[0].params["userId"] == str(OTHER)


async def test_two_names_with_the_same_idempotency_key_have_two_orders(around: Neighbours) -> None:
    async def place(who: str, total: int = 999) -> httpx.Response:
        async with around.client() as client:
            body = {"userId": USER, "total": total}
            return await client.post("/api/orders", json=body, headers=shown(who) | {"Idempotency-Key": "k"})

    own, again, client, conflict = [
        await place("own"),
        await place("own"),
        await place("client"),
        await place("own", total=1),
    ]
    assert own.json()["orderId"] == again.json()["orderId"] != client.json()["orderId"]
    assert conflict.status_code == 409
    assert {scope for scope, _ in around.orders.keys} == {"key:alice", "key:shop"}


async def test_without_keys_idempotency_keys_are_everybodys(around: Neighbours) -> None:
    around.keys = ()
    async with around.client() as client:
        await client.post("/api/orders", json={"userId": USER, "total": 1}, headers={"Idempotency-Key": "k"})
    assert set(around.orders.keys) == {("public", "k")}


async def test_a_cancellation_waits_to_know_whose_order_it_is(around: Neighbours) -> None:
    around.orders.away = True
    answer = await ask(around, "PATCH", "/api/orders/{orderId}/cancel", shown("own"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert around.broker.published == []


async def test_what_a_key_has_placed_a_moment_ago_it_may_cancel_and_another_may_not(around: Neighbours) -> None:
    around.limits = replace(around.limits, patience=0.05)
    async with around.client() as client:
        placed = await client.post("/api/orders", json={"userId": USER, "total": 1}, headers=shown("own"))
        path = f"/api/orders/{placed.json()['orderId']}/cancel"
        problem(await client.patch(path, headers=shown("another's")), 503)
        assert (await client.patch(path, headers=shown("own"))).status_code == 202
    async with around.client() as other_gateway:
        problem(await other_gateway.patch(path, headers=shown("own")), 503)


async def test_a_client_may_not_use_the_operators_paths(around: Neighbours) -> None:
    for who, status in (("own", 403), ("client", 403), ("operator", 404)):
        assert (await ask(around, "GET", "/api/operator/nothing", shown(who))).status_code == status
    assert (await ask(around, "GET", "/api/operatorx", shown("client"))).status_code == 404


async def test_a_browser_may_ask_first_without_a_key_and_then_needs_one(around: Neighbours) -> None:
    around.access = Access(origins=["https://shop.example"])
    origin = {"Origin": "https://shop.example"}
    async with around.client() as client:
        first = await client.options("/api/orders", headers=origin | {"Access-Control-Request-Method": "POST"})
        then = await client.post("/api/orders", json={}, headers=origin)
        bare = await client.options("/api/orders", headers=origin)
    assert first.status_code == 204
    assert "authorization" in first.headers["access-control-allow-headers"].lower()
    assert then.status_code == bare.status_code == 401
    assert then.headers["access-control-allow-origin"] == origin["Origin"]


async def test_the_document_says_that_keys_are_asked_for(around: Neighbours) -> None:
    with_keys, without = around.gateway().openapi(), Neighbours().gateway().openapi()
    assert with_keys["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
    for path, operations in with_keys["paths"].items():
        for method, operation in operations.items():
            guarded = path.startswith("/api/")
            assert operation.get("security", []) == ([{"apiKey": []}] if guarded else []), path
            assert ("401" in operation["responses"]) == guarded
            assert without["paths"][path][method].get("security", []) == ([{"apiKey": []}, {}] if guarded else [])
    assert msgspec.json.encode(with_keys).count(b"sk_saga_") > 0
