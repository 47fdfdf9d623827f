"""Keep a key that is bound to a user to that user's orders and payments: everything else is unknown to it."""

from __future__ import annotations

from uuid import UUID

import msgspec
from starlette.responses import Response

from api.gateway.downstream import Lane
from api.gateway.queries import Queries, unknown_order
from api.json_response import json_response
from api.problems import Problem, ProblemType
from api.schemas import Page, PaymentsPage


class _Order(msgspec.Struct, rename="camel"):
    user_id: UUID


class _Payment(msgspec.Struct, rename="camel"):
    order_id: UUID


class _Ids(msgspec.Struct):
    data: list[UUID] = []


def check_is_of(order: bytes, user_id: UUID | None, missing: Problem) -> None:
    """Raise the problem of an order that isn't there unless this one, as JSON, is the user's; None: anybody's."""
    if user_id is not None and msgspec.json.decode(order, type=_Order).user_id != user_id:
        raise missing


async def check_owns(
    queries: Queries,
    order_id: UUID,
    user_id: UUID | None,
    correlation_id: str,
    *,
    missing: Problem | None = None,
    lane: Lane = Lane.QUERY,
) -> None:
    """Raise Problem unless the order is the user's: another's is unknown; 503 while nobody can tell whose it is."""
    if user_id is None or queries.recent.placed_by(order_id) == user_id:
        return
    missing = missing or unknown_order(order_id)
    try:
        order = await queries.order(order_id, correlation_id, lane)
    except Problem as problem:
        raise missing if problem.kind is ProblemType.NOT_FOUND else problem from None
    check_is_of(order, user_id, missing)


async def check_payment_is_of(
    queries: Queries, payment: bytes, user_id: UUID | None, correlation_id: str, missing: Problem
) -> None:
    """The same for a payment, whose order says whose it is."""
    if user_id is None:
        return
    order_id = msgspec.json.decode(payment, type=_Payment).order_id
    order = await queries.ask(queries.orders, f"/orders/{order_id}", correlation_id)
    if order is None:
        raise missing
    check_is_of(order, user_id, missing)


async def payments_of(queries: Queries, user_id: UUID, query: PaymentsPage, correlation_id: str) -> bytes:
    """A page of the payments of the user's orders, which the payment service is told one by one: it knows no users."""
    ids = await queries.ask(queries.orders, f"/users/{user_id}/orders", correlation_id)
    asked = {
        **query.model_dump(mode="json", by_alias=True),
        "orderIds": msgspec.json.decode(ids or b"{}", type=_Ids).data,
    }
    return await queries.ask_with(queries.payments, "/payments/of-orders", msgspec.json.encode(asked), correlation_id)


def empty_page(page: Page) -> Response:
    """What a list has of another user's: nothing."""
    meta = {"page": page.page, "limit": page.limit, "total": 0, "totalPages": 0}
    return json_response({"data": [], "meta": meta})


def check_places_for(user_id: UUID, own: UUID | None) -> None:
    """Raise Problem if an order is placed for another user than the key's own."""
    if own is not None and user_id != own:
        raise another_user()


def another_user() -> Problem:
    return Problem(
        ProblemType.FORBIDDEN, "This API key places orders for its own user alone; send that user's id as userId"
    )


def check_may_see_all(user_id: UUID | None) -> None:
    """Raise Problem if what is added up is more than one user's."""
    if user_id is not None:
        raise no_totals()


def no_totals() -> Problem:
    detail = "This API key sees its own user's payments alone, and these are the totals of all; list them instead"
    return Problem(ProblemType.FORBIDDEN, detail)
