"""The console's routes for sagas: one stream of all that move, their totals, and one in full."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID, uuid4

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.edge import correlation_id_of
from api.fields import OrderIdInPath
from api.gateway.console.live import Live
from api.gateway.console.live_stream import open_live_stream
from api.gateway.console.moving_sagas import Facts
from api.gateway.console.one_saga import OneSaga
from api.gateway.dependencies import Clock, EventFeed, Limits
from api.gateway.downstream import Lane
from api.gateway.fair_share import Places, client_of
from api.gateway.guard import only_user
from api.gateway.ownership import check_owns
from api.gateway.queries import Queries
from api.json_response import encoded_response, json_response
from api.problems import Problem


class _Order(msgspec.Struct, rename="camel"):
    user_id: UUID
    total: int
    currency: str
    created_at: datetime


def console_saga_routes(*, queries: Queries, saga: OneSaga, feed: EventFeed, clock: Clock, limits: Limits) -> APIRouter:
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

    @router.get("/totals")
    async def get_totals(request: Request) -> Response:
        user_id = only_user(request.scope)
        params = None if user_id is None else {"userId": str(user_id)}
        totals = await queries.ask(queries.orders, "/totals", correlation_id_of(request.scope), params)
        return encoded_response(totals)

    @router.get("/sagas/{orderId}")
    async def get_saga(request: Request, order_id: OrderIdInPath) -> Response:
        correlation_id = correlation_id_of(request.scope)
        await check_owns(queries, order_id, only_user(request.scope), correlation_id)
        return json_response(await saga.read(order_id, correlation_id))

    return router
