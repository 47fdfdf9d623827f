"""The gateway checks the name it is called by and the page that calls, and every path answers every method."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

import httpx
import pytest

from api.access import Access
from tests.support.fakes.gateway import Neighbours

pytestmark = pytest.mark.anyio

SHOP = "https://shop.example"
ORDER = "/api/orders/019c5ef4-0d8f-4a3c-9f1e-5b1d2c3e4f50"
BODY = {"userId": "d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f", "total": 999}
READING = "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:3000",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1:65535",
        "127.255.3.4",
        "[::1]",
        "[::1]:3000",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]:80",
        "saga.example",
        "Saga.Example:8443",
        "[fd00::1]:3000",
    ],
)
async def test_loopback_and_the_names_that_are_allowed_are_served(around: Neighbours, host: str) -> None:
    around.access = Access(hosts=["saga.example", "[fd00::1]"])
    async with around.client() as client:
        assert (await client.get("/healthz", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:3000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "notlocalhost",
        "128.0.0.1",
        "0.0.0.0",
        "127.1",
        "2130706433",
        "[::]",
        "[::ffff:8.8.8.8]",
        "[127.0.0.1]",
        "sub.saga.example",
        "saga.example.evil.example",
    ],
)
@pytest.mark.parametrize("path", ["/", "/healthz", "/docs", "/openapi.json", "/api/orders", "/nothing"])
async def test_no_other_name_is_served(around: Neighbours, host: str, path: str) -> None:
    around.access = Access(hosts=["saga.example"])
    async with around.client() as client:
        answer = await client.get(path, headers={"Host": host})

    assert answer.status_code == 421
    assert answer.json()["type"] == "urn:payment-saga:problem:misdirected"
    assert around.orders.asked == []


async def test_an_allowed_origin_may_ask_first_then_send_and_read(around: Neighbours) -> None:
    around.access = Access(origins=[SHOP])
    async with around.client() as client:
        wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,prefer"}
        first = await client.options("/api/orders", headers={"Origin": SHOP, **wanted})
        then = await client.post("/api/orders", json=BODY, headers={"Origin": SHOP, "Sec-Fetch-Site": "cross-site"})
        refused = await client.post("/api/orders", json={}, headers={"Origin": SHOP})

    assert first.status_code == 204
    assert "POST" in first.headers["access-control-allow-methods"]
    assert {"content-type", "prefer"} <= set(first.headers["access-control-allow-headers"].lower().split(", "))
    assert (then.status_code, refused.status_code) == (202, 422)
    for answer in (first, then, refused):
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers
    assert "Location" in then.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "origin",
    ["http://shop.example", f"{SHOP}:8443", "https://shop.example.evil.example", "null", "https://evil.example"],
)
async def test_any_other_origin_gets_nothing(around: Neighbours, origin: str) -> None:
    around.access = Access(origins=[SHOP])
    async with around.client() as client:
        asked = await client.options("/api/orders", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        read = await client.get("/healthz", headers={"Origin": origin})
        changed = await client.post("/api/orders", json=BODY, headers={"Origin": origin})

    for answer in (asked, read, changed):
        assert [name for name in answer.headers if name.startswith("access-control")] == []
        assert answer.headers["vary"] == "Origin"
    assert (changed.status_code, changed.json()["type"]) == (403, "urn:payment-saga:problem:forbidden")
    assert around.broker.published == []


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://LOCALHOST"},  # behind something that ends TLS
        {"Sec-Fetch-Site": "none"},
    ],
)
async def test_our_own_pages_and_whoever_is_no_browser_may_change_things(
    client: httpx.AsyncClient, page: dict[str, str]
) -> None:
    assert (await client.post("/api/orders", json=BODY, headers=page)).status_code == 202


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", READING),
        ("/api/console/session", "GET, HEAD, DELETE, POST, OPTIONS"),
        ("/healthz", READING),
        ("/readyz", READING),
        ("/docs", READING),
        ("/openapi.json", READING),
        ("/static-offline-docs/swagger-ui.css", READING),
        ("/api/orders", "GET, HEAD, POST, OPTIONS"),
        (ORDER, "GET, HEAD, PATCH, OPTIONS"),
        (f"{ORDER}/cancel", "PATCH, OPTIONS"),
        (f"{ORDER}/timeline", READING),
        (f"{ORDER}/stream", READING),
        ("/api/payments", READING),
        ("/api/payments/stats", READING),
    ],
)
async def test_options_and_405_say_what_a_path_allows(client: httpx.AsyncClient, path: str, allowed: str) -> None:
    asked, refused = await client.options(path), await client.request("TRACE", path)

    assert (asked.status_code, asked.content, asked.headers["allow"]) == (204, b"", allowed)
    assert (refused.status_code, refused.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "TRACE", "POST"])
@pytest.mark.parametrize("path", ["/nothing", "/api", "/api/orders/", f"{ORDER}/nothing"])
async def test_an_unknown_path_is_a_404_by_any_method(client: httpx.AsyncClient, method: str, path: str) -> None:
    assert (await client.request(method, path)).status_code == 404


async def test_head_answers_as_get_without_a_body(client: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json", "/api/nothing"):
        head, get = await client.head(path), await client.get(path)
        assert head.content == b""
        assert (head.status_code, head.headers["content-type"]) == (get.status_code, get.headers["content-type"])
        if "correlationId" not in get.text:
            assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize("encoding", ["gzip", "br"])
async def test_a_body_in_another_coding_is_a_415(client: httpx.AsyncClient, encoding: str) -> None:
    answer = await client.post("/api/orders", json=BODY, headers={"Content-Encoding": encoding})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")


async def test_two_content_types_are_a_415(client: httpx.AsyncClient) -> None:
    headers = [("Content-Type", "application/json"), ("Content-Type", "text/plain")]
    assert (await client.post("/api/orders", content=b"{}", headers=headers)).status_code == 415


@pytest.mark.parametrize("path", [f"{ORDER}/cancel", ORDER])
async def test_a_cancellation_of_another_type_is_a_415_and_without_a_body_it_has_none(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.patch(path, content=b'{"status":"CANCELLED"}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    bare = await client.patch(path, headers={"Content-Type": "text/plain"})
    assert bare.status_code == (404 if path.endswith("cancel") else 422)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/orders?page=1&page=2", "page"),
        ("/api/orders?limit=5&page=1&limit=5", "limit"),
        ("/api/orders?status=PAID&st%61tus=PAID", "status"),
        ("/api/payments?page=&page=", "page"),
        (f"{ORDER}?a=1&a=2", "a"),
        (f"{ORDER}/stream?x&x", "x"),
        ("/healthz?probe=1&probe=2", "probe"),
    ],
)
async def test_a_query_parameter_that_comes_twice_is_a_422_that_names_it(
    client: httpx.AsyncClient, path: str, field: str
) -> None:
    answer = await client.get(path)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["in"], error["field"], error["rule"]) == ("query", field, "repeated")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/orders/42", "orderId"),
        ("/api/orders/42/timeline", "orderId"),
        ("/api/orders/42/stream", "orderId"),
        ("/api/payments/order/42", "orderId"),
        ("/api/payments/42", "paymentId"),
        ("/api/orders?userId=42", "userId"),
    ],
)
async def test_fields_have_the_names_that_clients_use(client: httpx.AsyncClient, path: str, field: str) -> None:
    assert [error["field"] for error in (await client.get(path)).json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/console/nothing.js", 404),
        ("GET", "/docs", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/static-offline-docs/swagger-ui.css", 200),
        ("GET", "/healthz", 200),
        ("GET", "/api/nothing", 404),
        ("POST", "/api/orders", 202),
        ("POST", "/healthz", 405),
        ("OPTIONS", "/api/orders", 204),
    ],
)
async def test_every_answer_tells_browsers_to_be_careful(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path, json=BODY if status == 202 else None)
    assert answer.status_code == status
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers.get_list("x-frame-options") == ["DENY"]
    assert answer.headers.get_list("referrer-policy") == ["no-referrer"]
    (policy,) = answer.headers.get_list("content-security-policy")
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy


async def test_the_documentation_runs_the_scripts_that_it_brings_along_and_no_others(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs")
    rules = dict(rule.partition(" ")[::2] for rule in answer.headers["content-security-policy"].split("; "))
    scripts = re.findall(r"<script(?: src=\"([^\"]*)\")?>(.*?)</script>", answer.text, re.DOTALL)
    digests = [b64encode(sha256(text.encode()).digest()).decode() for _, text in scripts if text]
    assert rules["script-src"].split() == ["'self'", *(f"'sha256-{digest}'" for digest in digests)]
    assert digests
    for url in [url for url, _ in scripts if url] + re.findall(r"href=\"([^\"]*)\"", answer.text):
        assert (url.startswith("/static-offline-docs/"), (await client.get(url)).status_code) == (True, 200)
