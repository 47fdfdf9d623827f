"""Count what a saga has cost a service: rows, transactions, attempts, and events that are still to be published."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from api.fields import OrderIdInPath
from api.json_response import json_response
from api.openapi import answers, problems, takes
from api.schemas import Camel, NoQuery
from api.services.reads import found
from models.database import Database
from models.lifecycle import Due

_COUNTED: Final = """
    SELECT changes AS transactions, {due} AS due,
        (SELECT count(*) FROM event_log WHERE order_id = %(order_id)s) AS events,
        ARRAY(SELECT event_id FROM outbox o JOIN event_log USING (seq) WHERE o.order_id = %(order_id)s) AS unpublished,
        (SELECT coalesce(jsonb_object_agg(event_id, attempt), '{{}}') FROM event_log
            WHERE order_id = %(order_id)s AND attempt > 1) AS attempts
    FROM {table} WHERE {key} = %(order_id)s
"""


class SagaCosts(Camel):
    transactions: int | None = Field(description="Those that wrote the row of the order or payment; null: not counted")
    rows: int = Field(description="The row itself, and those of its events, in the event log and in the outbox")
    unpublished: list[UUID] = Field(description="Events that the broker has not confirmed yet")
    attempts: dict[UUID, int] = Field(
        description="Events whose message was not handled at once: at which attempt it was"
    )
    due: Due | None = Field(description="What must still be done at the provider")


def order_costs(database: Database) -> APIRouter:
    """`/orders/{orderId}/costs`."""
    sql = _COUNTED.format(table="orders", key="id", due="NULL")
    return _routes(database, "/orders/{orderId}/costs", sql)


def payment_costs(database: Database) -> APIRouter:
    """`/payments/order/{orderId}/costs`."""
    sql = _COUNTED.format(table="payments", key="order_id", due="due")
    return _routes(database, "/payments/order/{orderId}/costs", sql)


def _routes(database: Database, path: str, sql: str) -> APIRouter:
    router = APIRouter(tags=["operation"])

    @router.get(
        path,
        summary="Count what one saga has cost this service",
        responses=answers(200, SagaCosts, "What was counted") | problems(401, 404, 503),
        openapi_extra=takes(),
    )
    async def costs_of_one(order_id: OrderIdInPath, _: Annotated[NoQuery, Query()]) -> Response:
        row = found(await database.query(sql, {"order_id": order_id}), f"Order {order_id}")
        events, unpublished = row.pop("events"), row["unpublished"]
        return json_response({**row, "rows": 1 + events + len(unpublished)})

    return router
