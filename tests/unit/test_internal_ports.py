"""Ports 3001 to 3003 answer the internal token under any name, and everybody else with health alone."""

from __future__ import annotations

from base64 import b64encode

import httpx
import pytest

from api.access import Access
from api.services.internal import create_health_app
from api.tokens import recognising

pytestmark = pytest.mark.anyio

TOKEN = {"Authorization": "Bearer internal"}


async def _ready() -> dict[str, str]:
    return {"broker": "ok"}


@pytest.mark.parametrize(
    ("host", "headers", "path", "status"),
    [
        ("order:3001", TOKEN, "/healthz", 200),
        ("order:3001", TOKEN, "/nothing", 404),
        ("order:3001", {}, "/healthz", 421),
        ("10.0.0.7:3001", {}, "/readyz", 421),
        ("order.internal", {}, "/readyz", 200),
        ("localhost:3001", {}, "/readyz", 200),
        ("localhost:3001", {}, "/nothing", 401),
        ("localhost:3001", {"Authorization": "Bearer wrong"}, "/openapi.json", 401),
        ("order:3001:1", TOKEN, "/healthz", 400),
    ],
)
async def test_a_name_is_checked_unless_the_token_is_shown(
    host: str, headers: dict[str, str], path: str, status: int
) -> None:
    access = Access(hosts=["order.internal"])
    app = create_health_app(name="worker", token="internal", readiness=_ready, access=access)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.get(path, headers={"Host": host, **headers})
    assert answer.status_code == status, answer.text


def basic(credentials: str) -> str:
    return f"Basic {b64encode(credentials.encode()).decode()}"


@pytest.mark.parametrize(
    ("token", "shown", "status"),
    [
        ("internal", basic("gateway:internal"), 404),
        ("internal", basic(":internal"), 404),
        ("internal", basic("anybody:internal").replace("Basic", "bAsIc"), 404),
        ("with:colon", basic("gateway:with:colon"), 404),
        ("internal", basic("internal:"), 401),
        ("internal", basic("internal"), 401),
        ("internal", basic("gateway:Internal"), 401),
        ("internal", "Basic gateway:internal", 401),
        ("internal", "Basic", 401),
        ("internal", "Basic \u00fc", 401),
        ("internal", "internal", 401),
        ("internal", "Digest internal", 401),
        ("", basic("gateway:"), 401),
        ("", "Bearer ", 401),
        ("", "Digest x", 401),
    ],
)
async def test_47_the_token_may_be_the_password_of_basic_credentials(token: str, shown: str, status: int) -> None:
    """An original gateway knows a service by its URL alone: `http://gateway:TOKEN@host`."""
    app = create_health_app(name="worker", token=token, readiness=_ready)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.get("/nothing", headers=[(b"Authorization", shown.encode("latin-1"))])
    assert answer.status_code == status, answer.text
    if status == 401:
        assert answer.headers["www-authenticate"] == 'Bearer, Basic realm="internal"'


@pytest.mark.parametrize(
    ("shown", "status"),
    [("Bearer internal", 404), (basic("gateway:internal"), 404), ("Bearer other", 401), ("Bearer {digest}", 401)],
)
async def test_a_process_that_has_the_digest_alone_recognises_the_token(shown: str, status: int) -> None:
    """What such a process holds opens no other process: a digest that is shown counts as a wrong token."""
    digest = recognising("internal")
    app = create_health_app(name="worker", token=digest, readiness=_ready)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.get("/nothing", headers={"Authorization": shown.format(digest=digest)})
    assert (answer.status_code, recognising(digest)) == (status, digest)
