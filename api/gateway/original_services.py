"""Ask original services: check and complete their answers, and refuse what only a service of ours can answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias
from uuid import UUID

import msgspec

from api.gateway.dependencies import QueryClient, ServiceRequest, ServiceResponse
from api.problems import Problem, ProblemType, unavailable
from models.lifecycle import OrderStatus, PaymentStatus
from models.originals import Originals, ServiceName
from models.saga import Coordinator
from models.times import wire_time

_CURRENCY: Final = "USD"  # of everything that names none, as on the wire
_PAGING: Final = frozenset({"page", "limit"})
_Money: TypeAlias = int | float  # JavaScript's numbers
_MetaName: TypeAlias = Literal["page", "limit", "total", "totalPages"]
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class OriginalService:
    """A QueryClient for an original service. Raises Problem: 501 for what such a service cannot answer.

    An answer that is not what the API promises is a 503, and is never passed on.
    """

    def __init__(self, name: ServiceName, client: QueryClient) -> None:
        self._name = name
        self._client = client

    async def request(self, request: ServiceRequest) -> ServiceResponse:
        path = request.path
        if path.endswith("/events"):
            raise no_event_log(self._name)
        if path == "/idempotency-keys":
            raise needs_ours(self._name, "It keeps no Idempotency-Keys; leave the header out")
        if path.startswith("/users/") or path == "/payments/of-orders":
            raise needs_ours(self._name, "It can't tell the payments of one user apart; ask with a key of all users")
        if path == "/totals" or path.endswith("/costs"):
            raise needs_ours(self._name, "It counts nothing; list orders and payments instead")
        if path.startswith("/dead-letters/") or path in ("/events/replay", "/audit"):
            raise needs_ours(self._name, "It has no paths for operators; use the commands of `saga`")
        unknown = sorted(request.params.keys() - _PAGING) if request.params else []
        if unknown:
            raise ignored_filter(self._name, unknown[0])
        answer = await self._client.request(request)
        if answer.status_code != 200:
            return answer
        read = _READERS.get(path) or (_read_order if self._name is ServiceName.ORDER else _read_payment)
        try:
            return ServiceResponse(200, msgspec.json.encode(read(answer.content)))
        except (msgspec.DecodeError, ValueError, OverflowError) as error:
            detail = f"The original {self._name} service answered what cannot be passed on ({error}); look there"
            raise unavailable(detail) from error


def asked_through(client: QueryClient, name: ServiceName, originals: Originals) -> QueryClient:
    """The client itself, or what stands between it and a gateway whose service of this name is an original one."""
    return OriginalService(name, client) if name in originals else client


def needs_ours(name: ServiceName, why: str) -> Problem:
    """A 501 for what is not possible while this service is an original one."""
    return Problem(ProblemType.NOT_IMPLEMENTED, f"SAGA_ORIGINAL_SERVICES names the {name} service. {why}")


def no_event_log(name: ServiceName) -> Problem:
    return needs_ours(name, "It keeps no event log, so that only a saga's mirror can tell its timeline")


def ignored_filter(name: ServiceName, parameter: str) -> Problem:
    return needs_ours(name, f"It ignores the filter {parameter}; leave that out")


def orchestration_needs_ours(originals: Originals) -> Problem:
    name = min(originals)
    return needs_ours(name, "It takes no steps of an orchestrated saga; use the coordinator choreography")


def check_kept(currency: str, payment_method: str | None, originals: Originals) -> None:
    """Raise Problem for what an original service would drop from an order: it would charge something else."""
    if originals and currency != _CURRENCY:
        raise needs_ours(min(originals), f"It knows no currency, and takes every amount for {_CURRENCY}; use that")
    if originals and payment_method is not None:
        raise needs_ours(min(originals), "It knows no paymentMethod; leave that out")


def no_such_order_id(order_id: UUID) -> Problem:
    """Of an id that a gateway of ours has minted: the original order service has given its order another one."""
    why = f"It gives orders ids of its own, and {order_id} is none of them; find the order at /api/orders"
    return needs_ours(ServiceName.ORDER, why)


class _Order(msgspec.Struct, rename="camel"):
    id: UUID
    user_id: UUID
    total: _Money
    status: OrderStatus
    created_at: datetime
    updated_at: datetime


class _Payment(msgspec.Struct, rename="camel"):
    id: UUID
    order_id: UUID
    amount: _Money
    status: PaymentStatus
    created_at: datetime
    updated_at: datetime


class _Orders(msgspec.Struct):
    data: list[_Order]
    meta: dict[_MetaName, _Count]


class _Payments(msgspec.Struct):
    data: list[_Payment]
    meta: dict[_MetaName, _Count]


class _Total(msgspec.Struct, rename="camel"):
    status: PaymentStatus
    count: _Count
    total_amount: _Money


class _Stats(msgspec.Struct, rename="camel"):
    by_status: list[_Total]


def _read_order(content: bytes) -> dict[str, Any]:
    return _order(msgspec.json.decode(content, type=_Order))


def _read_orders(content: bytes) -> dict[str, Any]:
    page = msgspec.json.decode(content, type=_Orders)
    return {"data": [_order(each) for each in page.data], "meta": page.meta}


def _read_payment(content: bytes) -> dict[str, Any]:
    return _payment(msgspec.json.decode(content, type=_Payment))


def _read_payments(content: bytes) -> dict[str, Any]:
    page = msgspec.json.decode(content, type=_Payments)
    return {"data": [_payment(each) for each in page.data], "meta": page.meta}


def _read_stats(content: bytes) -> dict[str, Any]:
    return {"byStatus": [_total(each) for each in msgspec.json.decode(content, type=_Stats).by_status]}


_READERS: Final[Mapping[str, Callable[[bytes], dict[str, Any]]]] = {
    "/orders": _read_orders,
    "/payments": _read_payments,
    "/payments/stats": _read_stats,
}


def _order(found: _Order) -> dict[str, Any]:
    return {
        "id": found.id,
        "userId": found.user_id,
        "total": _minor_units(found.total),
        "status": found.status,
        "createdAt": _time(found.created_at),
        "updatedAt": _time(found.updated_at),
        "currency": _CURRENCY,
        "coordinator": Coordinator.CHOREOGRAPHY,
        "cancelReason": None,  # it keeps none
    }


def _payment(found: _Payment) -> dict[str, Any]:
    return {
        "id": found.id,
        "orderId": found.order_id,
        "amount": _minor_units(found.amount),
        "status": found.status,
        "createdAt": _time(found.created_at),
        "updatedAt": _time(found.updated_at),
        "currency": _CURRENCY,
        "reason": None,
    }


def _total(found: _Total) -> dict[str, Any]:
    amount = _minor_units(found.total_amount)
    told = {"count": found.count, "totalAmount": amount}
    return {"status": found.status, **told, "amounts": [{"currency": _CURRENCY, **told}]}


def _minor_units(number: _Money) -> int:
    """Raises ValueError unless it is a whole number."""
    if isinstance(number, float) and not number.is_integer():
        raise ValueError(f"{number} is no whole number of minor units")
    return int(number)


def _time(at: datetime) -> str:
    return wire_time(at.replace(tzinfo=at.tzinfo or UTC))
