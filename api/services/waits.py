"""Tell the gateway how long orders wait before this service turns to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, TypeAlias

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

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
    async def get_waits(_: Annotated[NoQuery, Query()]) -> Response:
        return Response(msgspec.json.encode(await expected()), media_type="application/json")

    return router
