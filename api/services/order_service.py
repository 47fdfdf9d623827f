"""The order service's read API (port 3001), and the Idempotency-Keys that it keeps for the gateway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Final, Unpack
from uuid import UUID

from fastapi import APIRouter, FastAPI, Query
from sqlalchemy import bindparam
from sqlmodel import col, func, select
from starlette.requests import Request
from starlette.responses import Response

from api.fields import OrderIdInPath, UserIdInPath
from api.json_response import json_response
from api.openapi import answers, problems, takes
from api.requests import read_body
from api.schemas import NoQuery, OrderBody, OrdersPage, Paged
from api.services.costs import order_costs
from api.services.reads import Given, Row, create_read_app, found, newest, offset, paged
from api.services.sagas import saga_routes
from api.services.schemas import MOST_ORDERS, KeepKey, KeptKey, LatestOrderIds, OrderTotals, TotalsQuery
from models.conditions import ORDER_ORCHESTRATED
from models.database import Database, sql_of
from models.saga import Coordinator
from models.tables import OrderEventRow, OrderRow, OrderTotalRow
from models.times import wire_time

_ONE: Final = sql_of(select(OrderRow).where(col(OrderRow.id) == bindparam("order_id")))
_OF_USER: Final = sql_of(
    select(OrderRow.id)
    .where(col(OrderRow.user_id) == bindparam("user_id"))
    .order_by(col(OrderRow.created_at).desc(), col(OrderRow.id).desc())
    .limit(bindparam("most"))
)
# Choreographed orders are what is left: counting each of a million would take long, and few are orchestrated.
TOTALS: Final = f"""
    WITH orchestrated AS (SELECT status, count(*) AS n FROM orders WHERE {ORDER_ORCHESTRATED} GROUP BY status)
    SELECT t.status, t.n::bigint AS total, coalesce(o.n, 0) AS orchestrated
    FROM (SELECT status, sum(count) AS n FROM order_totals GROUP BY status) t
    LEFT JOIN orchestrated o USING (status)
    WHERE t.n > 0 ORDER BY t.status
"""
_TOTALS_OF_USER: Final = f"""
    SELECT status, count(*) AS total, count(*) FILTER (WHERE {ORDER_ORCHESTRATED}) AS orchestrated
    FROM orders WHERE user_id = %(user_id)s GROUP BY status ORDER BY status
"""
_KEEP_KEY: Final = """
    WITH kept AS (
        INSERT INTO idempotency_keys (scope, key, digest, order_id)
        VALUES (%(scope)s, %(key)s, %(digest)s, %(order_id)s)
        ON CONFLICT DO NOTHING
        RETURNING order_id, digest
    )
    SELECT order_id, digest FROM kept
    UNION ALL
    SELECT order_id, digest FROM idempotency_keys WHERE scope = %(scope)s AND key = %(key)s
"""


def create_orders_app(**given: Unpack[Given]) -> FastAPI:
    """The order service's application."""
    app = create_read_app("order service", log_model=OrderEventRow, log_path="/orders/{orderId}/events", **given)
    app.include_router(_order_routes(given["database"]))
    app.include_router(_key_routes(given["database"]))
    app.include_router(order_costs(given["database"]))
    if (start := given.get("start_saga")) is not None:
        app.include_router(saga_routes(start))
    return app


def _order_routes(database: Database) -> APIRouter:
    router = APIRouter()

    @router.get(
        "/orders", responses=answers(200, Paged[OrderBody], "A page") | problems(401, 503), openapi_extra=takes()
    )
    async def list_orders(query: Annotated[OrdersPage, Query()]) -> Response:
        total = await _count(database, query)
        rows = await database.read(newest(OrderRow, query, *_conditions(query))) if offset(query) < total else []
        return paged(query, total, map(_order, rows))

    @router.get(
        "/orders/{orderId}",
        responses=answers(200, OrderBody, "The order") | problems(401, 404, 503),
        openapi_extra=takes(),
    )
    async def get_order(order_id: OrderIdInPath, _: Annotated[NoQuery, Query()]) -> Response:
        rows = await database.query(_ONE, {"order_id": order_id})
        return json_response(_order(found(rows, f"Order {order_id}")))

    @router.get(
        "/users/{userId}/orders",
        responses=answers(200, LatestOrderIds, "The ids of the user's latest orders") | problems(401, 503),
        openapi_extra=takes(),
    )
    async def orders_of_user(user_id: UserIdInPath, _: Annotated[NoQuery, Query()]) -> Response:
        rows = await database.query(_OF_USER, {"user_id": user_id, "most": MOST_ORDERS})
        return json_response({"data": [row["id"] for row in rows]})

    @router.get(
        "/totals",
        responses=answers(200, OrderTotals, "How many orders there are") | problems(401, 503),
        openapi_extra=takes(),
    )
    async def total_orders(query: Annotated[TotalsQuery, Query()]) -> Response:
        sql = TOTALS if query.user_id is None else _TOTALS_OF_USER
        return json_response(_totals(await database.query(sql, {"user_id": query.user_id})))

    return router


def _key_routes(database: Database) -> APIRouter:
    router = APIRouter()

    @router.put(
        "/idempotency-keys",
        responses=answers(200, KeptKey, "What the key stands for, as long as it is kept") | problems(401, 503),
        openapi_extra=takes(KeepKey),
    )
    async def keep_key(request: Request) -> Response:
        wanted = await read_body(request, KeepKey)
        kept = await _keep(database, wanted)
        return json_response({"orderId": kept[0], "digest": kept[1].hex()})

    return router


async def _keep(database: Database, wanted: KeepKey) -> tuple[UUID, bytes]:
    """Keep the key. Returns the order and the digest that it stands for: the given ones, unless it was known."""
    params = {
        "scope": wanted.scope,
        "key": wanted.key,
        "digest": bytes.fromhex(wanted.digest),
        "order_id": wanted.order_id,
    }
    while True:
        async with database.transaction() as connection:
            cursor = await connection.execute(_KEEP_KEY, params)
            kept = await cursor.fetchone()
        # None: another insert was committed after this statement began. The next statement sees it.
        if kept is not None:
            return kept[0], kept[1]


async def _count(database: Database, query: OrdersPage) -> int:
    """The exact number of matching orders. Totals give it, except for one customer's orders, which are counted."""
    if query.user_id is not None:
        rows = await database.read(select(func.count().label("total")).where(*_conditions(query)))
    else:
        total = func.coalesce(func.sum(OrderTotalRow.count), 0).label("total")
        statement = select(total)
        if query.status is not None:
            statement = statement.where(col(OrderTotalRow.status) == query.status.value)
        rows = await database.read(statement)
    return int(rows[0]["total"])


def _totals(rows: Iterable[Row]) -> dict[str, Any]:
    by_coordinator: dict[str, dict[str, int]] = {coordinator: {} for coordinator in Coordinator}
    for row in rows:
        orchestrated = row["orchestrated"]
        for coordinator, count in (
            (Coordinator.CHOREOGRAPHY, row["total"] - orchestrated),
            (Coordinator.ORCHESTRATION, orchestrated),
        ):
            if count:
                by_coordinator[coordinator][row["status"]] = count
    by_status = Counter[str]()
    for counts in by_coordinator.values():
        by_status.update(counts)
    return {"total": by_status.total(), "byStatus": by_status, "byCoordinator": by_coordinator}


def _conditions(query: OrdersPage) -> list[Any]:
    conditions: list[Any] = []
    if query.status is not None:
        conditions.append(col(OrderRow.status) == query.status.value)
    if query.user_id is not None:
        conditions.append(col(OrderRow.user_id) == query.user_id)
    return conditions


def _order(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "userId": row["user_id"],
        "total": row["total"],
        "status": row["status"],
        "createdAt": wire_time(row["created_at"]),
        "updatedAt": wire_time(row["updated_at"]),
        "currency": row["currency"],
        "coordinator": row["coordinator"],
        "cancelReason": row["cancel_reason"],
    }
