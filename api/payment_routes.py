"""The gateway's routes for payments: they are looked up here, and made by the saga alone."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.fields import OrderIdInPath, PaymentIdInPath
from api.openapi import answers, problems, takes
from api.problems import Kind, Problem
from api.queries import Queries
from api.schemas import NoQuery, Paged, PaymentBody, PaymentsPage, Stats
from api.security import correlation_id_of


def payment_routes(queries: Queries) -> APIRouter:
    """Routes under `/payments`."""
    router = APIRouter(prefix="/payments", tags=["payments"])

    @router.get(
        "",
        summary="List payments, newest first",
        responses=answers(200, Paged[PaymentBody], "A page; empty past the end") | problems(503),
        openapi_extra=takes(),
    )
    async def list_payments(request: Request, query: Annotated[PaymentsPage, Query()]) -> Response:
        return await answer(request, "/payments", "There are no payments", query.model_dump(by_alias=True))

    @router.get(
        "/stats",
        summary="Count payments and sum their amounts, by status",
        responses=answers(200, Stats, "Statuses that occur") | problems(503),
        openapi_extra=takes(),
    )
    async def payment_stats(request: Request, _: Annotated[NoQuery, Query()]) -> Response:
        return await answer(request, "/payments/stats", "There are no payments")

    @router.get(
        "/order/{orderId}",
        summary="Look up an order's payment",
        description="The payment of an order accepted less than 2 s ago is waited for, up to 1 s; with an id that this "
        "system has given to an order it has accepted, up to 3 s, and then answered with 503 instead of 404.",
        responses=answers(200, PaymentBody, "The payment") | problems(404, 503),
        openapi_extra=takes(),
    )
    async def payment_of_order(request: Request, order_id: OrderIdInPath, _: Annotated[NoQuery, Query()]) -> Response:
        found = await queries.payment_of(order_id, correlation_id_of(request.scope))
        return Response(found, media_type="application/json")

    @router.get(
        "/{paymentId}",
        summary="Look up a payment",
        responses=answers(200, PaymentBody, "The payment") | problems(404, 503),
        openapi_extra=takes(),
    )
    async def get_payment(request: Request, payment_id: PaymentIdInPath, _: Annotated[NoQuery, Query()]) -> Response:
        missing = f"Payment {payment_id} is not known; check the id, or list payments at /api/payments"
        return await answer(request, f"/payments/{payment_id}", missing)

    async def answer(request: Request, path: str, missing: str, params: dict[str, int] | None = None) -> Response:
        found = await queries.ask(queries.payments, path, correlation_id_of(request.scope), params)
        if found is None:
            raise Problem(Kind.NOT_FOUND, missing)
        return Response(found, media_type="application/json")

    return router
