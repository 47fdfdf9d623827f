"""The gateway's routes for orders: place, look up and cancel."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api import examples
from api.edge import correlation_id_of
from api.fields import ORDER_ID, OrderIdInPath
from api.gateway.commands import Commands, beyond_cancelling
from api.gateway.dependencies import Limits
from api.gateway.downstream import Lane
from api.gateway.examples import (
    ACCEPTED,
    BROKER_AWAY,
    CANCEL_ACCEPTED,
    FOREIGN_ID,
    MAY_BE_CANCELLED,
    MAY_BE_PLACED,
    NO_FILTER,
    NO_ORCHESTRATION,
    NO_ORDER_ID,
    SERVICE_AWAY,
    TEMPORAL_AWAY,
    refused,
)
from api.gateway.fair_share import Places, client_of
from api.gateway.guard import key_of, only_user
from api.gateway.idempotency import key_taken
from api.gateway.ownership import another_user, check_is_of, check_owns, check_places_for, empty_page
from api.gateway.placing import Placing
from api.gateway.queries import Queries, unknown_order
from api.gateway.request_headers import idempotency_key, preferred_wait, refuse_query
from api.gateway.schemas import Accepted, CancelAccepted, CancelOrder, CreateOrder, UpdateOrder
from api.gateway.shortcuts import Shortcuts
from api.json_response import encoded_response
from api.openapi import answers, problems, takes
from api.requests import read_body, read_optional_body
from api.schemas import NoQuery, OrderBody, OrdersPage, Paged
from models.lifecycle import OrderStatus

_KEY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key and body are the same order, by default for good; with another body it is a 409",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}
_PREFER: Final[dict[str, Any]] = {
    "name": "Prefer",
    "in": "header",
    "description": "`wait=N`: answer when the saga is over, or after N seconds (at most 30)",
    "schema": {"type": "string"},
    "example": "wait=10",
}
_ACCEPTED: Final = answers(
    202,
    Accepted,
    "Accepted; the saga is on its way",
    like=[ACCEPTED],
    Location="Where the order is",
    Preference_Applied="wait=N",
)
_OVER: Final = answers(
    200,
    OrderBody,
    "With `Prefer: wait`: the saga is over",
    like=[examples.PAID_ORDER, examples.CANCELLED_ORDER],
    Preference_Applied="wait=N",
)
_CANCEL_ACCEPTED: Final = answers(202, CancelAccepted, "Accepted; the order service decides", like=[CANCEL_ACCEPTED])
_ORDER: Final = answers(200, OrderBody, "The order", like=[examples.PAID_ORDER, examples.CANCELLED_ORDER])
_ID: Final = UUID(ORDER_ID)
_NOT_PLACED: Final = problems(
    key_taken(_ID),
    refused(CreateOrder, "body", userId=examples.USER_ID, total=0),
    refused(CreateOrder, "body", total=999, colour="red"),
    another_user(),
    BROKER_AWAY,
    TEMPORAL_AWAY,
    MAY_BE_PLACED,
    NO_ORCHESTRATION,
)
_BEYOND: Final = (
    unknown_order(_ID),
    beyond_cancelling(_ID, OrderStatus.CANCELLED),
    BROKER_AWAY,
    TEMPORAL_AWAY,
    MAY_BE_CANCELLED,
    FOREIGN_ID,
)


def order_routes(
    *, placing: Placing, commands: Commands, queries: Queries, shortcuts: Shortcuts, limits: Limits
) -> APIRouter:
    """Routes under `/orders`."""
    router = APIRouter(prefix="/orders", tags=["orders"])
    _placing_route(router, placing, limits.longest_wait, Places("waiting POSTs", limits.preferred_waits))
    _look_up_routes(router, queries, shortcuts)
    _cancelling_routes(router, commands, queries)
    return router


def _placing_route(router: APIRouter, placing: Placing, longest_wait: int, waits: Places) -> None:
    @router.post(
        "",
        summary="Place an order",
        description="The order is accepted once the broker, or Temporal, has confirmed it; its saga runs by itself. "
        "With an Idempotency-Key, which the order service keeps, repeating the request is safe.",
        status_code=202,
        responses=_ACCEPTED | _OVER | _NOT_PLACED,
        openapi_extra=takes(CreateOrder, _KEY, _PREFER),
    )
    async def create_order(request: Request) -> Response:
        refuse_query(request)
        body = await read_body(request, CreateOrder)
        check_places_for(body.user_id, only_user(request.scope))
        shown, key = key_of(request.scope), idempotency_key(request)
        asked_by = shown.name if shown is not None else None
        wait = preferred_wait(request, longest_wait)
        correlation_id = correlation_id_of(request.scope)
        if not placing.can_be_found:
            return _accepted(await placing.place(body, key, correlation_id, asked_by=asked_by), found_there=False)
        if wait is None:
            return _accepted(await placing.place(body, key, correlation_id, asked_by=asked_by))
        with waits.take(client_of(request.scope)):
            order_id, order = await placing.place_and_wait(body, key, correlation_id, seconds=wait, asked_by=asked_by)
        headers = {"Preference-Applied": f"wait={wait}"}
        return encoded_response(order, headers=headers) if order else _accepted(order_id, headers)


def _look_up_routes(router: APIRouter, queries: Queries, shortcuts: Shortcuts) -> None:
    @router.get(
        "",
        summary="List orders, newest first",
        description="All of them, or those with a status, or of a customer; of a key's own user alone, if it has one.",
        responses=answers(200, Paged[OrderBody], "A page; empty past the end", like=[examples.ORDERS])
        | problems(SERVICE_AWAY, NO_FILTER, refused(OrdersPage, "query", limit=0)),
        openapi_extra=takes(),
    )
    async def list_orders(request: Request, query: Annotated[OrdersPage, Query()]) -> Response:
        own = only_user(request.scope)
        if own is not None and query.user_id not in (None, own):
            return empty_page(query)
        params = query.model_dump(mode="json", by_alias=True, exclude_none=True)
        if own is not None:
            params["userId"] = str(own)
        found = await queries.ask(queries.orders, "/orders", correlation_id_of(request.scope), params)
        return encoded_response(found)

    @shortcuts.to("/api/orders/{orderId}")
    @router.get(
        "/{orderId}",
        summary="Look up an order",
        description="An order accepted less than 2 s ago is waited for, up to 1 s; one whose id this system has given "
        "to an order that it has accepted, up to 3 s, and then answered with 503 instead of 404.",
        responses=_ORDER | problems(unknown_order(_ID), SERVICE_AWAY, NO_ORDER_ID, FOREIGN_ID),
        openapi_extra=takes(),
    )
    async def get_order(request: Request, order_id: OrderIdInPath, _: Annotated[NoQuery, Query()]) -> Response:
        order = await queries.order(order_id, correlation_id_of(request.scope))
        check_is_of(order, only_user(request.scope), unknown_order(order_id))
        return encoded_response(order)


def _cancelling_routes(router: APIRouter, commands: Commands, queries: Queries) -> None:
    async def cancel(request: Request, order_id: UUID) -> Response:
        correlation_id = correlation_id_of(request.scope)
        await check_owns(queries, order_id, only_user(request.scope), correlation_id, lane=Lane.COMMAND)
        await commands.cancel(order_id, correlation_id)
        return _cancel_accepted(order_id)

    @router.patch(
        "/{orderId}/cancel",
        summary="Cancel an order",
        description="What was paid is refunded. With the order service away, the request is accepted unseen.",
        status_code=202,
        responses=_CANCEL_ACCEPTED | problems(*_BEYOND, NO_ORDER_ID),
        openapi_extra=takes(CancelOrder, required=False),
    )
    async def cancel_order(request: Request, order_id: OrderIdInPath, _: Annotated[NoQuery, Query()]) -> Response:
        await read_optional_body(request, CancelOrder)
        return await cancel(request, order_id)

    @router.patch(
        "/{orderId}",
        summary="Change an order's status to CANCELLED",
        description="The same as `PATCH /api/orders/{orderId}/cancel`.",
        status_code=202,
        responses=_CANCEL_ACCEPTED | problems(*_BEYOND, refused(UpdateOrder, "body", status="PAID")),
        openapi_extra=takes(UpdateOrder),
    )
    async def update_order(request: Request, order_id: OrderIdInPath, _: Annotated[NoQuery, Query()]) -> Response:
        await read_body(request, UpdateOrder)
        return await cancel(request, order_id)


def _accepted(order_id: UUID, headers: dict[str, str] | None = None, *, found_there: bool = True) -> Response:
    body = b'{"orderId":"%s","message":"Order creation request accepted","status":"%s"}' % (
        str(order_id).encode(),
        OrderStatus.PENDING_PAYMENT.encode(),
    )
    location = {"Location": f"/api/orders/{order_id}"} if found_there else {}
    return encoded_response(body, status_code=202, headers=location | (headers or {}))


def _cancel_accepted(order_id: UUID) -> Response:
    body = b'{"orderId":"%s","message":"Order cancellation request accepted"}' % str(order_id).encode()
    return encoded_response(body, status_code=202)
