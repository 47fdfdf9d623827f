"""The gateway's routes for payments, which only look them up: sagas make payments."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api import examples
from api.edge import correlation_id_of
from api.fields import ORDER_ID, PAYMENT_ID, OrderIdInPath, PaymentIdInPath
from api.gateway.examples import FOREIGN_ID, NO_FILTER, NO_ORDER_ID, NO_PAYMENT_ID, refused
from api.gateway.guard import only_user
from api.gateway.ownership import check_may_see_all, check_owns, check_payment_is_of, no_totals, payments_of
from api.gateway.queries import Queries, no_payment_of
from api.gateway.shortcuts import Shortcuts
from api.json_response import encoded_response
from api.openapi import answers, problems, takes
from api.problems import Problem, ProblemType, unavailable
from api.schemas import NoQuery, Paged, PaymentBody, PaymentsPage, Stats

_AWAY: Final = unavailable("The payment service does not answer; try again")


def payment_routes(queries: Queries, shortcuts: Shortcuts) -> APIRouter:
    """Routes under `/payments`."""
    router = APIRouter(prefix="/payments", tags=["payments"])
    _overview_routes(router, queries)
    _lookup_routes(router, queries, shortcuts)
    return router


def _overview_routes(router: APIRouter, queries: Queries) -> None:
    @router.get(
        "",
        summary="List payments, newest first",
        description="All of them, or those with a status; if a key has a user of its own, those of that user's latest "
        "5,000 orders. An order has one payment at most.",
        responses=answers(200, Paged[PaymentBody], "A page; empty past the end", like=[examples.PAYMENTS])
        | problems(_AWAY, NO_FILTER, refused(PaymentsPage, "query", limit=0)),
        openapi_extra=takes(),
    )
    async def list_payments(request: Request, query: Annotated[PaymentsPage, Query()]) -> Response:
        if (own := only_user(request.scope)) is not None:
            found = await payments_of(queries, own, query, correlation_id_of(request.scope))
            return encoded_response(found)
        return await answer(
            request, "/payments", no_payments(), query.model_dump(mode="json", by_alias=True, exclude_none=True)
        )

    @router.get(
        "/stats",
        summary="Count payments and sum their amounts, by status and currency",
        description="Statuses that no payment has are left out, and so are currencies within a status.",
        responses=answers(200, Stats, "Statuses that occur", like=[examples.STATS]) | problems(no_totals(), _AWAY),
        openapi_extra=takes(),
    )
    async def get_payment_stats(request: Request, _: Annotated[NoQuery, Query()]) -> Response:
        check_may_see_all(only_user(request.scope))
        return await answer(request, "/payments/stats", no_payments())

    async def answer(request: Request, path: str, missing: Problem, params: dict[str, Any] | None = None) -> Response:
        found = await queries.ask(queries.payments, path, correlation_id_of(request.scope), params)
        if found is None:
            raise missing
        return encoded_response(found)


def _lookup_routes(router: APIRouter, queries: Queries, shortcuts: Shortcuts) -> None:
    @shortcuts.to("/api/payments/order/{orderId}")
    @router.get(
        "/order/{orderId}",
        summary="Look up an order's payment",
        description="The payment of an order accepted less than 2 s ago is waited for, up to 1 s; with an id that this "
        "system has given to an order it has accepted, up to 3 s, and then answered with 503 instead of 404.",
        responses=answers(200, PaymentBody, "The payment", like=[examples.PAYMENT])
        | problems(no_payment_of(UUID(ORDER_ID)), _AWAY, NO_ORDER_ID, FOREIGN_ID),
        openapi_extra=takes(),
    )
    async def get_payment_of_order(
        request: Request, order_id: OrderIdInPath, _: Annotated[NoQuery, Query()]
    ) -> Response:
        own, correlation_id = only_user(request.scope), correlation_id_of(request.scope)
        await check_owns(queries, order_id, own, correlation_id, missing=no_payment_of(order_id))
        found = await queries.payment_of(order_id, correlation_id)
        return encoded_response(found)

    @shortcuts.to("/api/payments/{paymentId}")
    @router.get(
        "/{paymentId}",
        summary="Look up a payment",
        description="By its own id; by its order's: `GET /api/payments/order/{orderId}`.",
        responses=answers(200, PaymentBody, "The payment", like=[examples.PAYMENT])
        | problems(unknown_payment(UUID(PAYMENT_ID)), _AWAY, NO_PAYMENT_ID),
        openapi_extra=takes(),
    )
    async def get_payment(request: Request, payment_id: PaymentIdInPath, _: Annotated[NoQuery, Query()]) -> Response:
        missing, correlation_id = unknown_payment(payment_id), correlation_id_of(request.scope)
        found = await queries.ask(queries.payments, f"/payments/{payment_id}", correlation_id)
        if found is None:
            raise missing
        await check_payment_is_of(queries, found, only_user(request.scope), correlation_id, missing)
        return encoded_response(found)


def no_payments() -> Problem:
    return Problem(ProblemType.NOT_FOUND, "There are no payments")


def unknown_payment(payment_id: UUID) -> Problem:
    detail = f"Payment {payment_id} is not known; check the id, or list payments at /api/payments"
    return Problem(ProblemType.NOT_FOUND, detail)
