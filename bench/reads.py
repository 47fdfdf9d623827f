"""Ask the gateway the questions that tables might slow down as they grow, one after another."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from bench.fill import Filled
from bench.http_client import HttpClient

_WARM_UP: Final = 20  # requests of each kind


class _Meta(msgspec.Struct):
    total: int


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]
    meta: _Meta


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What came of asking one question often: milliseconds, request by request, and how many were not answered."""

    milliseconds: Sequence[float]
    refused: int


def questions(known: Filled) -> Mapping[str, str]:
    """The path of each question, by its name."""
    return {
        "orders, first page": "/api/orders",
        "orders, page 1,000": "/api/orders?page=1000",
        # With pages of one there is a page 1,000 of a thousand orders, too.
        "orders, page 1,000 of one": "/api/orders?page=1000&limit=1",
        "orders, by status": "/api/orders?status=PAID",
        "orders, by status, page 700 of one": "/api/orders?status=PAID&page=700&limit=1",
        "orders, by user": f"/api/orders?userId={known.user_id}",
        "one order": f"/api/orders/{known.order_id}",
        "payments, first page": "/api/payments",
        "payments, by status": "/api/payments?status=DECLINED",
        "payments, statistics": "/api/payments/stats",
    }


async def ask(client: HttpClient, path: str, *, times: int) -> Asked:
    """Ask so often, each time when the last answer has come; the first few don't count."""
    for _ in range(_WARM_UP):
        await client.request("GET", path)
    took, refused = [], 0
    for _ in range(times):
        began = time.perf_counter()
        answer = await client.request("GET", path)
        took.append(1000 * (time.perf_counter() - began))
        refused += answer.status != 200
    return Asked(milliseconds=took, refused=refused)


async def total(client: HttpClient) -> int | None:
    """How many orders the list says that there are; None when it doesn't answer."""
    answer = await client.request("GET", "/api/orders?limit=1")
    return msgspec.json.decode(answer.body, type=_Page).meta.total if answer.status == 200 else None
