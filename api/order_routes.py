"""The gateway's routes for orders: accept, cancel, look up, tell and follow."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.commands import Commands
from api.follow import Follower
from api.openapi import Responses, answers, problems, takes
from api.ports import FeedPort, Settings
from api.problems import Problem, unavailable
from api.queries import Queries, unknown_order
from api.requests import idempotency_key, preferred_wait, read_body, read_optional_body
from api.schemas import (
    Accepted,
    CancelAccepted,
    CancelOrder,
    CreateOrder,
    NoQuery,
    OrderBody,
    OrdersPage,
    Paged,
    TimelineBody,
    UpdateOrder,
)
from api.security import correlation_id_of
from api.stream import open_stream
from choreography.message import BrokerUnavailable
from models.order import OrderStatus
from models.saga import Coordinator, OrderId
from workflows.timeline import build, timeline_as_json

JSON: Final = "application/json"
_KEY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key with the same body is the same order, for good; with another body it is a 409",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}
_PREFER: Final[dict[str, Any]] = {
    "name": "Prefer",
    "in": "header",
    "description": "`wait=N`: answer when the saga is over, or after N seconds (at most 30)",
    "schema": {"type": "string"},
    "example": "wait=10",
}
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
            "contentMediaType": JSON,
            "contentSchema": {"$ref": "#/components/schemas/EntryBody"},
        },
    },
    "required": ["id", "event", "data"],
}
_STREAM: Final[Responses] = {
    200: {"description": "The events", "content": {"text/event-stream": {"itemSchema": _EVENT}}},
    204: {"description": "The saga is over and `Last-Event-ID` was its last event"},
}


def order_routes(*, commands: Commands, queries: Queries, feed: FeedPort, settings: Settings) -> APIRouter:
    """Routes under `/orders`."""
    router = APIRouter(prefix="/orders")
    limits = settings.limits

    @router.post(
        "",
        tags=["orders"],
        summary="Place an order",
        status_code=202,
        responses=answers(
            202,
            Accepted,
            "Accepted; the saga is on its way",
            Location="Where the order is",
            Preference_Applied="wait=N",
        )
        | answers(200, OrderBody, "With `Prefer: wait`: the saga is over", Preference_Applied="wait=N")
        | problems(409, 503),
        openapi_extra=takes(CreateOrder, _KEY, _PREFER),
    )
    async def create_order(request: Request) -> Response:
        body = await read_body(request, CreateOrder)
        key = idempotency_key(request)
        wait = preferred_wait(request, limits.longest_wait)
        correlation_id = correlation_id_of(request.scope)
        order_id = await commands.order_id_for(body, key, correlation_id)
        if wait is None:
            await commands.create(order_id, body, coordinator_of(body), correlation_id)
            return _accepted(order_id)
        return await create_and_wait(order_id, body, wait, correlation_id, repeatable=key is not None)

    def coordinator_of(body: CreateOrder) -> Coordinator:
        return body.coordinator or settings.default_coordinator

    async def create_and_wait(
        order_id: OrderId, body: CreateOrder, wait: int, correlation_id: str, *, repeatable: bool
    ) -> Response:
        async with AsyncExitStack() as stack:
            try:
                # Before the command, so that not even the quickest saga is missed.
                async with asyncio.timeout(limits.command):
                    live = await stack.enter_async_context(feed.subscribe(order_id))
            except (BrokerUnavailable, TimeoutError) as error:
                raise unavailable("The message broker does not answer; try again") from error
            await commands.create(order_id, body, coordinator_of(body), correlation_id)
            follower = Follower(live, lambda: queries.events(order_id, correlation_id))
            if not repeatable:
                follower.begins_now()
            order = await order_when_over(follower, order_id, wait, correlation_id)
        headers = {"Preference-Applied": f"wait={wait}"}
        return Response(order, media_type=JSON, headers=headers) if order else _accepted(order_id, headers)

    async def order_when_over(follower: Follower, order_id: UUID, wait: int, correlation_id: str) -> bytes | None:
        try:
            if not await follower.wait_until_over(wait):
                return None
            return await queries.order(order_id, correlation_id)
        except Problem:
            return None  # a service is away: the order is accepted all the same

    @router.get(
        "",
        tags=["orders"],
        summary="List orders, newest first",
        responses=answers(200, Paged[OrderBody], "A page; empty past the end") | problems(503),
        openapi_extra=takes(),
    )
    async def list_orders(request: Request, query: Annotated[OrdersPage, Query()]) -> Response:
        params = query.model_dump(mode="json", by_alias=True, exclude_none=True)
        found = await queries.ask(queries.orders, "/orders", correlation_id_of(request.scope), params)
        return Response(found, media_type=JSON)

    @router.get(
        "/{order_id}",
        tags=["orders"],
        summary="Look up an order",
        description="An order accepted less than 2 s ago is waited for, up to 1 s.",
        responses=answers(200, OrderBody, "The order") | problems(404, 503),
        openapi_extra=takes(),
    )
    async def get_order(request: Request, order_id: UUID, _: Annotated[NoQuery, Query()]) -> Response:
        return Response(await queries.order(order_id, correlation_id_of(request.scope)), media_type=JSON)

    cancellable = answers(202, CancelAccepted, "Accepted; the order service decides") | problems(404, 409, 503)

    @router.patch(
        "/{order_id}/cancel",
        tags=["orders"],
        summary="Cancel an order",
        description="What was paid is refunded. With the order service away, the request is accepted unseen.",
        status_code=202,
        responses=cancellable,
        openapi_extra=takes(CancelOrder, required=False),
    )
    async def cancel_order(request: Request, order_id: UUID, _: Annotated[NoQuery, Query()]) -> Response:
        await read_optional_body(request, CancelOrder)
        await commands.cancel(order_id, correlation_id_of(request.scope))
        return _cancel_accepted(order_id)

    @router.patch(
        "/{order_id}",
        tags=["orders"],
        summary="Change an order's status to CANCELLED",
        status_code=202,
        responses=cancellable,
        openapi_extra=takes(UpdateOrder),
    )
    async def update_order(request: Request, order_id: UUID, _: Annotated[NoQuery, Query()]) -> Response:
        await read_body(request, UpdateOrder)
        await commands.cancel(order_id, correlation_id_of(request.scope))
        return _cancel_accepted(order_id)

    @router.get(
        "/{order_id}/timeline",
        tags=["saga"],
        summary="Read what happened, in causal order",
        responses=answers(200, TimelineBody, "The saga's story so far") | problems(404, 503),
        openapi_extra=takes(),
    )
    async def get_timeline(request: Request, order_id: UUID, _: Annotated[NoQuery, Query()]) -> Response:
        events = await queries.events_of_new(order_id, correlation_id_of(request.scope))
        if not events:
            raise unknown_order(order_id)
        return Response(msgspec.json.encode(timeline_as_json(build(events))), media_type=JSON)

    @router.get(
        "/{order_id}/stream",
        tags=["saga"],
        summary="Follow what happens, as server-sent events",
        description="Each event of the timeline once, as `id`, `event` and `data` (the entry as JSON), until the saga "
        "is over. Comments keep an idle connection open.",
        responses=_STREAM | problems(404, 503),
        openapi_extra=takes(None, _LAST_EVENT_ID),
    )
    async def stream_order(request: Request, order_id: UUID, _: Annotated[NoQuery, Query()]) -> Response:
        return await open_stream(
            order_id=order_id,
            last_event_id=request.headers.get("last-event-id"),
            correlation_id=correlation_id_of(request.scope),
            queries=queries,
            feed=feed,
            limits=limits,
        )

    return router


def _accepted(order_id: UUID, headers: dict[str, str] | None = None) -> Response:
    body = b'{"orderId":"%s","message":"Order creation request accepted","status":"%s"}' % (
        str(order_id).encode(),
        OrderStatus.PENDING_PAYMENT.encode(),
    )
    location = {"Location": f"/api/orders/{order_id}"}
    return Response(body, status_code=202, headers=location | (headers or {}), media_type=JSON)


def _cancel_accepted(order_id: UUID) -> Response:
    body = b'{"orderId":"%s","message":"Order cancellation request accepted"}' % str(order_id).encode()
    return Response(body, status_code=202, media_type=JSON)
