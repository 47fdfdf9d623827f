"""The gateway's routes for a saga: its timeline, and its stream of events."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.edge import correlation_id_of
from api.fields import ORDER_ID, OrderIdInPath
from api.gateway.dependencies import EventFeed, Limits
from api.gateway.examples import NO_EVENT_LOG, NO_ORDER_ID, SERVICE_AWAY, STREAM, TIMELINE
from api.gateway.fair_share import Places, client_of
from api.gateway.guard import only_user
from api.gateway.ownership import check_owns
from api.gateway.queries import Queries, events_removed, unknown_order
from api.gateway.schemas import TimelineBody
from api.gateway.stream import EventStream, cannot_follow, open_stream
from api.gateway.timelines import Timelines
from api.json_response import encoded_response
from api.openapi import Responses, answers, problems, takes
from api.schemas import NoQuery

_LAST_EVENT_ID: Final[dict[str, Any]] = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The id of the last event received: the stream goes on behind it",
    "schema": {"type": "string"},
}

_ID: Final = UUID(ORDER_ID)
_CANNOT_FOLLOW: Final = cannot_follow()
_EVENTS: Final[dict[str, Any]] = {
    "schema": {
        "type": ["string", "object"],
        "description": "Events, each with `id`, `event` and, in `data`, an entry as JSON",
    },
    "examples": {"example-1": {"value": STREAM}},
}
_STREAM: Final[Responses] = {
    200: {"description": "The events", "content": {"text/event-stream": _EVENTS}},
    204: {"description": "The saga is over and `Last-Event-ID` was its last event"},
}


def saga_routes(*, timelines: Timelines, queries: Queries, feed: EventFeed, limits: Limits) -> APIRouter:
    """Routes under `/orders/{orderId}`."""
    router = APIRouter(prefix="/orders/{orderId}", tags=["saga"])
    places = Places("streams", limits.streams)

    @router.get(
        "/timeline",
        summary="Read what happened, in causal order",
        description="Told by the order's workflow in Temporal, or from the event logs of the two services while "
        "Temporal is away, or has no such workflow, or lacks an event that they have; `source` says which. "
        "With a service away, the workflow's word is enough.",
        responses=answers(200, TimelineBody, "The saga's story so far", like=[TIMELINE])
        | problems(unknown_order(_ID), events_removed(_ID), SERVICE_AWAY, NO_ORDER_ID, NO_EVENT_LOG),
        openapi_extra=takes(),
    )
    async def get_order_timeline(request: Request, order_id: OrderIdInPath, _: Annotated[NoQuery, Query()]) -> Response:
        correlation_id = correlation_id_of(request.scope)
        await check_owns(queries, order_id, only_user(request.scope), correlation_id)
        return encoded_response(await timelines.read(order_id, correlation_id))

    @router.get(
        "/stream",
        summary="Follow what happens, as server-sent events",
        description="Each event of the timeline once, as `id`, `event` and `data` (the entry as JSON), until the saga "
        "is over. Comments keep an idle connection open.",
        status_code=200,
        response_class=EventStream,
        responses=_STREAM
        | problems(unknown_order(_ID), events_removed(_ID), _CANNOT_FOLLOW, SERVICE_AWAY, NO_ORDER_ID, NO_EVENT_LOG),
        openapi_extra=takes(None, _LAST_EVENT_ID),
    )
    async def stream_order(request: Request, order_id: OrderIdInPath, _: Annotated[NoQuery, Query()]) -> Response:
        correlation_id = correlation_id_of(request.scope)
        await check_owns(queries, order_id, only_user(request.scope), correlation_id)
        return await open_stream(
            place=places.take(client_of(request.scope)),
            order_id=order_id,
            last_event_id=request.headers.get("last-event-id"),
            correlation_id=correlation_id,
            queries=queries,
            feed=feed,
            limits=limits,
        )

    return router
