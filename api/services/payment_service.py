"""The payment service's read API (port 3002)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Annotated, Any, Final, Unpack

from fastapi import APIRouter, FastAPI, Query
from sqlalchemy import ARRAY, Uuid, any_, bindparam, literal
from sqlmodel import col, func, select
from starlette.requests import Request
from starlette.responses import Response

from api.fields import OrderIdInPath, PaymentIdInPath
from api.json_response import json_response
from api.openapi import answers, problems, takes
from api.requests import read_body
from api.schemas import NoQuery, Paged, PaymentBody, PaymentsPage, Stats
from api.services.costs import payment_costs
from api.services.reads import Given, Row, create_read_app, found, newest, offset, paged
from api.services.schemas import PaymentsOfOrders
from models.database import Database, sql_of
from models.tables import PaymentEventRow, PaymentRow, PaymentSumRow
from models.times import wire_time

_ONE: Final = sql_of(select(PaymentRow).where(col(PaymentRow.id) == bindparam("payment_id")))
_OF_ORDER: Final = sql_of(select(PaymentRow).where(col(PaymentRow.order_id) == bindparam("order_id")))


def create_payments_app(**given: Unpack[Given]) -> FastAPI:
    """The payment service's application."""
    app = create_read_app(
        "payment service", log_model=PaymentEventRow, log_path="/payments/order/{orderId}/events", **given
    )
    app.include_router(_overview_routes(given["database"]))
    app.include_router(_look_up_routes(given["database"]))
    app.include_router(payment_costs(given["database"]))
    return app


def _overview_routes(database: Database) -> APIRouter:
    router = APIRouter()

    @router.get(
        "/payments", responses=answers(200, Paged[PaymentBody], "A page") | problems(401, 503), openapi_extra=takes()
    )
    async def list_payments(query: Annotated[PaymentsPage, Query()]) -> Response:
        total = await _count(database, query)
        rows = await database.read(newest(PaymentRow, query, *_conditions(query))) if offset(query) < total else []
        return paged(query, total, map(_payment, rows))

    @router.post(
        "/payments/of-orders",
        responses=answers(200, Paged[PaymentBody], "A page") | problems(401, 503),
        openapi_extra=takes(PaymentsOfOrders),
    )
    async def list_payments_of_orders(request: Request) -> Response:
        query = await read_body(request, PaymentsOfOrders)
        of_these = col(PaymentRow.order_id) == any_(literal(query.order_ids, ARRAY(Uuid)))
        conditions = [of_these, *_conditions(query)]
        (counted,) = await database.read(select(func.count().label("total")).where(*conditions))
        rows = await database.read(newest(PaymentRow, query, *conditions)) if offset(query) < counted["total"] else []
        return paged(query, counted["total"], map(_payment, rows))

    @router.get(
        "/payments/stats", responses=answers(200, Stats, "By status") | problems(401, 503), openapi_extra=takes()
    )
    async def payment_stats(_: Annotated[NoQuery, Query()]) -> Response:
        by_status = groupby(await _sums(database), key=lambda row: row["status"])
        return json_response({"byStatus": [_status_total(status, rows) for status, rows in by_status]})

    return router


def _look_up_routes(database: Database) -> APIRouter:
    router = APIRouter()

    @router.get(
        "/payments/order/{orderId}",
        responses=answers(200, PaymentBody, "The order's payment") | problems(401, 404, 503),
        openapi_extra=takes(),
    )
    async def payment_of_order(order_id: OrderIdInPath, _: Annotated[NoQuery, Query()]) -> Response:
        rows = await database.query(_OF_ORDER, {"order_id": order_id})
        return json_response(_payment(found(rows, f"The payment of order {order_id}")))

    @router.get(
        "/payments/{paymentId}",
        responses=answers(200, PaymentBody, "The payment") | problems(401, 404, 503),
        openapi_extra=takes(),
    )
    async def get_payment(payment_id: PaymentIdInPath, _: Annotated[NoQuery, Query()]) -> Response:
        rows = await database.query(_ONE, {"payment_id": payment_id})
        return json_response(_payment(found(rows, f"Payment {payment_id}")))

    return router


async def _count(database: Database, query: PaymentsPage) -> int:
    """The exact number of matching payments."""
    statement = select(func.coalesce(func.sum(PaymentSumRow.count), 0).label("total"))
    if query.status is not None:
        statement = statement.where(col(PaymentSumRow.status) == query.status.value)
    (row,) = await database.read(statement)
    return int(row["total"])


def _conditions(query: PaymentsPage) -> list[Any]:
    return [] if query.status is None else [col(PaymentRow.status) == query.status.value]


async def _sums(database: Database) -> list[dict[str, Any]]:
    """The number and the sum of payments for each status and currency that occur, sorted by both."""
    group = (PaymentSumRow.status, PaymentSumRow.currency)
    count, amount = func.sum(PaymentSumRow.count), func.sum(PaymentSumRow.amount)
    statement = select(*group, count.label("count"), amount.label("amount")).group_by(*group).having(count > 0)
    return await database.read(statement.order_by(*group))


def _status_total(status: str, rows: Iterable[Row]) -> dict[str, Any]:
    amounts = [
        {"currency": row["currency"], "count": int(row["count"]), "totalAmount": int(row["amount"])} for row in rows
    ]
    return {
        "status": status,
        "count": sum(each["count"] for each in amounts),
        "totalAmount": sum(each["totalAmount"] for each in amounts),
        "amounts": amounts,
    }


def _payment(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "orderId": row["order_id"],
        "amount": row["amount"],
        "status": row["status"],
        "createdAt": wire_time(row["created_at"]),
        "updatedAt": wire_time(row["updated_at"]),
        "currency": row["currency"],
        "reason": row["reason"],
    }
