"""Each request is measured by its route's template, and the metrics are shown to whoever may see them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.responses import Response, StreamingResponse
from starlette.types import Message

from api.edge import Edge
from api.problems import install, unavailable
from api.services.internal import create_health_app
from api.telemetry import CLIENT_LEFT, Telemetry, metrics_route
from tests.support.fakes.gateway import Neighbours

pytestmark = pytest.mark.anyio

Heard = list[tuple[str, str, int]]
ORDER = "01990c4e-5f00-7000-8000-000000000001"


def telemetry(heard: Heard) -> Telemetry:
    async def render(accept: str) -> tuple[bytes, str]:
        return f"told as {accept}\n".encode(), "text/plain; version=0.0.4; charset=utf-8"

    def answered(method: str, route: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        heard.append((method, route, status))

    return Telemetry(answered=answered, render=render)


def application(heard: Heard) -> FastAPI:
    app = FastAPI(middleware=[Middleware(Edge, telemetry=telemetry(heard))], redirect_slashes=False)
    install(app)

    @app.get("/orders/{order_id}")
    async def get_order(order_id: str) -> Response:
        if order_id == "away":
            raise unavailable("It is away")
        if order_id == "broken":
            raise ZeroDivisionError
        return Response(order_id)

    @app.get("/orders/{order_id}/stream")
    async def stream(order_id: str) -> Response:
        async def body() -> Any:
            yield b"first"
            await asyncio.Event().wait()

        return StreamingResponse(body())

    app.include_router(metrics_route(telemetry(heard)))
    return app


@pytest.mark.parametrize(
    ("method", "path", "measured"),
    [
        ("GET", "/orders/1", ("GET", "/orders/{order_id}", 200)),
        ("HEAD", "/orders/2", ("HEAD", "/orders/{order_id}", 200)),
        ("GET", "/orders/away", ("GET", "/orders/{order_id}", 503)),
        ("GET", "/orders/broken", ("GET", "/orders/{order_id}", 500)),
        ("GET", "/nothing/at/all", ("GET", "none", 404)),
        ("GET", "/metrics", ("GET", "/metrics", 200)),
    ],
)
async def test_requests_are_measured_by_template_and_status(
    method: str, path: str, measured: tuple[str, str, int]
) -> None:
    heard: Heard = []
    transport = httpx.ASGITransport(application(heard), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        await client.request(method, path)
    assert heard == [measured]


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/api/orders", "/api/orders"),
        ("GET", "/api/orders?page=1", "/api/orders"),
        ("GET", f"/api/orders/{ORDER}", "/api/orders/{orderId}"),
        ("GET", f"/api/orders/{ORDER}?x=1", "/api/orders/{orderId}"),
        ("PATCH", f"/api/orders/{ORDER}/cancel", "/api/orders/{orderId}/cancel"),
        ("GET", f"/api/orders/{ORDER}/timeline", "/api/orders/{orderId}/timeline"),
        ("GET", f"/api/payments/order/{ORDER}", "/api/payments/order/{orderId}"),
        ("GET", "/api/operator/dead-letters/a%2Fb", "/api/operator/dead-letters/{letterId}"),
        ("POST", "/api/operator/dead-letters/a/b/redrive", "/api/operator/dead-letters/{letterId}/redrive"),
        ("GET", "/healthz", "/healthz"),
        ("GET", "/", "/"),
        ("GET", "/wp-login.php", "none"),
    ],
)
async def test_the_gateways_routes_are_told_with_their_prefixes(
    around: Neighbours, method: str, path: str, route: str
) -> None:
    heard: Heard = []
    around.telemetry = telemetry(heard)
    async with around.client() as client:
        await client.request(method, path)
    assert [(told, template) for told, template, _ in heard] == [(method, route)]


async def test_a_wrong_method_is_measured_too() -> None:
    heard: Heard = []
    transport = httpx.ASGITransport(application(heard), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/orders/1")
    ((method, _, status),) = heard
    assert (method, status) == ("POST", answer.status_code)


async def test_a_client_that_leaves_before_the_answer_is_measured_as_one_that_left() -> None:
    heard: Heard = []

    async def never_answers(_scope: Any, _receive: Any, _send: Any) -> None:
        raise asyncio.CancelledError

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    async def nowhere(_message: Message) -> None:
        raise AssertionError("nothing is sent")

    edge = Edge(never_answers, telemetry=telemetry(heard))
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "http_version": "1.1",
        "headers": [(b"host", b"localhost")],
    }
    with pytest.raises(asyncio.CancelledError):
        await edge(scope, nothing, nowhere)
    assert heard == [("GET", "none", CLIENT_LEFT)]


@pytest.mark.parametrize(("shown", "status"), [("internal", 200), ("wrong", 401), (None, 401)])
async def test_the_metrics_of_an_internal_port_need_the_token(shown: str | None, status: int) -> None:
    async def ready() -> dict[str, str]:
        return {}

    app = create_health_app(name="worker", token="internal", readiness=ready, telemetry=telemetry([]))
    headers = {"Accept": "text/plain", **({"Authorization": f"Bearer {shown}"} if shown else {})}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.get("/metrics", headers=headers)
    assert answer.status_code == status
    if status == 200:
        assert answer.text == "told as text/plain\n"
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"


async def test_no_document_of_an_api_has_the_metrics() -> None:
    assert "/metrics" not in application([]).openapi()["paths"]
