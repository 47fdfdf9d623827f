"""Ports 3001 to 3003 answer the internal token under any name, and everybody else with health alone."""

from __future__ import annotations

import httpx
import pytest

from api.access import Access
from api.services.internal import create_health_app

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
