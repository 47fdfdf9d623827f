"""The gateway's routes for the story of an order: told so far, and followed."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.fields import OrderIdInPath
from api.openapi import Responses, answers, problems, takes
from api.ports import FeedPort, Limits
from api.queries import Queries
from api.schemas import NoQuery, TimelineBody
from api.security import correlation_id_of
from api.stream import open_stream
from api.timelines import Timelines

_JSON: Final = "application/json"
_LAST_EVENT_ID: Final[dict[str, Any]] = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The id of the last event received: the stream goes on behind it",
    "schema": {"type": "string"},
}

_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "format": "uuid", "description": "The event's id"},
        "event": {"type": "string", "description": "Its type", "examples": ["OrderCreated"]},
        "data": {
            "type": "string",
            "contentMediaType": _JSON,
            "contentSchema": {"$ref": "#/components/schemas/EntryBody"},
        },
    },
    "required": ["id", "event", "data"],
}
_STREAM: Final[Responses] = {
    200: {"description": "The events", "content": {"text/event-stream": {"itemSchema": _EVENT}}},
    204: {"description": "The saga is over and `Last-Event-ID` was its last event"},
}


def saga_routes(*, timelines: Timelines, queries: Queries, feed: FeedPort, limits: Limits) -> APIRouter:
    """Routes under `/orders/{order_id}`."""
    router = APIRouter(prefix="/orders/{orderId}", tags=["saga"])

    @router.get(
        "/timeline",
        summary="Read what happened, in causal order",
        description="Told by the order's workflow in Temporal, or from the event logs of the two services while "
        "Temporal is away, or has no such workflow, or lacks an event that they have; `source` says which. "
        "With a service away, the workflow's word is enough.",
        responses=answers(200, TimelineBody, "The saga's story so far") | problems(404, 503),
        openapi_extra=takes(),
    )
    async def get_timeline(request: Request, order_id: OrderIdInPath, _: Annotated[NoQuery, Query()]) -> Response:
        return Response(await timelines.read(order_id, correlation_id_of(request.scope)), media_type=_JSON)

    @router.get(
        "/stream",
        summary="Follow what happens, as server-sent events",
        description="Each event of the timeline once, as `id`, `event` and `data` (the entry as JSON), until the saga "
        "is over. Comments keep an idle connection open.",
        responses=_STREAM | problems(404, 503),
        openapi_extra=takes(None, _LAST_EVENT_ID),
    )
    async def stream_order(request: Request, order_id: OrderIdInPath, _: Annotated[NoQuery, Query()]) -> Response:
        return await open_stream(
            order_id=order_id,
            last_event_id=request.headers.get("last-event-id"),
            correlation_id=correlation_id_of(request.scope),
            queries=queries,
            feed=feed,
            limits=limits,
        )

    return router
