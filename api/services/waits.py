"""Tell the gateway how long orders wait before this service turns to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.fields import ASKED_AT
from api.json_response import json_response
from api.openapi import answers, problems, takes
from api.schemas import NoQuery
from api.services.schemas import ExpectedWaits
from models.saga import Coordinator

# Tells, by coordinator, the seconds that a new order would wait; None if no order was turned to lately.
Expected: TypeAlias = Callable[[], Awaitable[Mapping[Coordinator, float | None]]]


def wait_routes(expected: Expected) -> APIRouter:
    """`/waits`."""
    router = APIRouter(tags=["operation"])

    @router.get(
        "/waits",
        summary="How long a new order would wait",
        responses=answers(200, ExpectedWaits, "Seconds by coordinator; null without orders lately") | problems(401),
        openapi_extra=takes(),
    )
    async def get_waits(request: Request, _: Annotated[NoQuery, Query()]) -> Response:
        ahead = _seconds_ahead(request.headers.get(ASKED_AT))
        waits = dict(await expected())
        if (waited := waits.get(Coordinator.ORCHESTRATION)) is not None:
            waits[Coordinator.ORCHESTRATION] = max(0.0, waited - ahead)
        return json_response(waits)

    return router


def _seconds_ahead(asked_at: str | None) -> float:
    """How far this machine's clock is ahead of that of the gateway that asks; 0 if it does not say."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(asked_at or "")).total_seconds()
    except (ValueError, TypeError):  # no time, or one without its offset from UTC
        return 0.0
