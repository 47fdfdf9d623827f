"""The console's routes for what moves: one stream for all sagas, and how many there are of each status."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID, uuid4

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.gateway.console.live import Live
from api.gateway.console.live_stream import open_live_stream
from api.gateway.console.moving_sagas import Facts
from api.gateway.dependencies import Clock, EventFeed, Limits
from api.gateway.downstream import Lane
from api.gateway.fair_share import Places, client_of
from api.gateway.guard import only_user
from api.gateway.queries import Queries
from api.problems import Problem


class _Order(msgspec.Struct, rename="camel"):
    user_id: UUID
    total: int
    currency: str
    created_at: datetime


def live_routes(*, queries: Queries, feed: EventFeed, clock: Clock, limits: Limits) -> APIRouter:
    """Routes under `/console`."""
    router = APIRouter(prefix="/console", include_in_schema=False)
    places = Places("views of the console", limits.viewers)

    async def look_up(order_id: UUID) -> Facts | None:
        try:
            body = await queries.ask(queries.orders, f"/orders/{order_id}", str(uuid4()), lane=Lane.FOLLOW)
            order = msgspec.json.decode(body or b"", type=_Order)
        except (Problem, msgspec.DecodeError):
            return None
        return Facts(user_id=order.user_id, total=order.total, currency=order.currency, created_at=order.created_at)

    live = Live(feed=feed, clock=clock, look_up=look_up, originals=queries.originals)

    @router.get("/stream")
    async def stream_sagas(request: Request) -> Response:
        return await open_live_stream(
            live=live,
            place=places.take(client_of(request.scope)),
            user_id=only_user(request.scope),
            last_event_id=request.headers.get("last-event-id"),
            limits=limits,
        )

    return router
