"""Reads by id that go past FastAPI's routing are answered as FastAPI's routing would have them answered."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from uuid import UUID

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from api.gateway.shortcuts import ByShortcut, Shortcuts
from api.schemas import NoQuery
from tests.support.fakes.gateway import Neighbours
from tests.support.gateway_http import OLD, problem, violations

pytestmark = pytest.mark.anyio

PATHS = {
    "/api/orders/{id}": ("orders", f"/orders/{OLD}"),
    "/api/payments/{id}": ("payments", f"/payments/{OLD}"),
    "/api/payments/order/{id}": ("payments", f"/payments/order/{OLD}"),
}
# FastAPI reads these as the same id; no shortcut leads there.
LONG_WAYS = [str(OLD).upper(), OLD.hex, f"{{{OLD}}}", f"urn:uuid:{OLD}"]
TRACED = {"X-Correlation-Id": "trace-7"}


def telling(answer: httpx.Response) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    return answer.status_code, answer.content, answer.headers.raw


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("status", [200, 500])
async def test_what_is_answered_is_the_same_either_way(
    client: httpx.AsyncClient, around: Neighbours, path: str, method: str, status: int
) -> None:
    service, inner = PATHS[path]
    getattr(around, service).says[inner] = (status, b'{"a" :\t1}')

    short = await client.request(method, path.format(id=OLD), headers=TRACED)
    long = [await client.request(method, path.format(id=each), headers=TRACED) for each in LONG_WAYS]

    assert short.status_code == (200 if status == 200 else 503)
    if status == 200:
        assert [telling(short)] * len(long) == [*map(telling, long)]
    assert [asked.correlation_id for asked in getattr(around, service).asked] == ["trace-7"] * 5


@pytest.mark.parametrize("path", PATHS)
async def test_what_is_not_there_is_the_same_problem_either_way(client: httpx.AsyncClient, path: str) -> None:
    short, long = [problem(await client.get(path.format(id=each), headers=TRACED), 404) for each in (OLD, OLD.hex)]

    assert short == {**long, "instance": path.format(id=OLD)}


@pytest.mark.parametrize("path", PATHS)
async def test_a_query_a_wrong_id_and_another_method_are_refused_as_ever(client: httpx.AsyncClient, path: str) -> None:
    name = "paymentId" if path == "/api/payments/{id}" else "orderId"

    assert violations(await client.get(path.format(id=OLD), params={"x": "1"})) == [("query", "x", "extra_forbidden")]
    assert violations(await client.get(path.format(id=str(OLD)[:-1]))) == [("path", name, "uuid_parsing")]
    problem(await client.delete(path.format(id=OLD)), 405)
    assert (await client.options(path.format(id=OLD))).status_code == 204


async def test_an_error_that_nobody_expected_tells_the_client_nothing(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("secret")

    around.orders.on_request = fail

    answer = await client.get(f"/api/orders/{OLD}")

    assert "secret" not in str(problem(answer, 500))


@pytest.mark.parametrize(
    ("scope", "short"),
    [
        ({}, True),
        ({"query_string": b"x=1"}, False),
        ({"method": "PATCH"}, False),
        ({"type": "websocket"}, False),
        ({"path": f"/things/{OLD}/"}, False),
        ({"path": f"/things/{OLD}/more"}, False),
        ({"path": f"/other/{OLD}"}, False),
        ({"path": f"/things/{OLD.hex}"}, False),
        ({"path": f"/things/{str(OLD).upper()}"}, False),
        ({"path": f"/things/{OLD}\n"}, False),
        ({"path": "/things"}, False),
        ({"path": "*"}, False),
    ],
)
async def test_only_a_read_by_id_in_its_usual_form_goes_past_the_routing(scope: dict[str, Any], short: bool) -> None:
    routed: list[str] = []
    asked: list[UUID] = []
    shortcuts = Shortcuts()

    async def get_thing(_: Request, identifier: UUID, __: NoQuery) -> Response:
        asked.append(identifier)
        return Response(b"thing")

    shortcuts.to("/things/{thingId}")(get_thing)

    async def app(inner: MutableMapping[str, Any], _: object, __: object) -> None:
        routed.append(inner["path"])

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: MutableMapping[str, Any]) -> None: ...

    usual = {"type": "http", "method": "GET", "path": f"/things/{OLD}", "query_string": b"", "headers": []}
    await ByShortcut(app, shortcuts=shortcuts)(usual | scope, receive, send)

    assert (asked, len(routed)) == (([OLD], 0) if short else ([], 1))
