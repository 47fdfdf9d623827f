"""The gateway answers every request as its OpenAPI document declares."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import pytest
from schemathesis import GenerationMode
from schemathesis.openapi import from_asgi

from api import examples
from api.access import Access
from api.gateway.dependencies import Limits
from tests.support.events import APPROVED, CREATED, PAID
from tests.support.fakes.gateway import Neighbours
from tests.support.fuzz import fuzz

STATUSES = ("PAID", "PENDING_PAYMENT", "CANCELLED")
META = {"page": 1, "limit": 10, "total": 1, "totalPages": 1}
PAYMENT = {
    "id": "019c5ef4-0d8f-8b1c-a3d4-8f0e1d2c3b4a",
    "orderId": "019c5ef4-0d8f-7a3c-9f1e-5b1d2c3e4f50",
    "amount": 999,
    "status": "APPROVED",
    "createdAt": "2026-02-15T01:42:19.000Z",
    "updatedAt": "2026-02-15T01:42:20.613Z",
    "currency": "USD",
    "reason": None,
}


class KnowsEverything(dict[str, tuple[int, bytes]]):
    """A service that knows three ids of four, with different answers."""

    def get(self, path: str, default: Any = None) -> Any:
        match path.strip("/").split("/"):
            case ["orders", _, "events"]:
                return super().get("order events")
            case ["payments", *_, "events"]:
                return super().get("payment events")
            case ["payments", "stats"]:
                return super().get("stats")
            case ["dead-letters", act] | ["events", act]:
                return super().get(act)
            case ["audit"]:
                return super().get("audit")
            case [_]:
                return super().get("list")
            case _:
                return super().get(f"one {crc32(path.encode()) % 4}", default)


def _order(status: str) -> dict[str, Any]:
    return {
        "id": "019c5ef4-0d8f-7a3c-9f1e-5b1d2c3e4f50",
        "userId": "d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f",
        "total": 999,
        "status": status,
        "createdAt": "2026-02-15T01:42:19.000Z",
        "updatedAt": "2026-02-15T01:42:20.613Z",
        "currency": "USD",
        "coordinator": "choreography",
        "cancelReason": None,
    }


def _document() -> Any:
    around = Neighbours()
    around.access = Access(hosts=["testserver"])
    around.limits = Limits(longest_wait=0)  # nobody ends a saga here, so no request may wait for that
    around.orders.says = KnowsEverything()
    around.orders.log("order events", CREATED, PAID)
    around.orders.tell("list", {"data": [_order("PAID")], "meta": META})
    around.payments.says = KnowsEverything()
    around.worker.says = KnowsEverything()
    around.payments.log("payment events", APPROVED)
    around.payments.tell("list", {"data": [PAYMENT], "meta": META})
    around.payments.tell("stats", examples.STATS)
    for process in (around.orders, around.payments, around.worker):
        process.tell("find", {"data": [examples.DEAD_LETTER], "total": 1})
        process.tell("causes", {"data": [examples.CAUSE]})
        process.tell("redrive", {"redriven": 1})
        process.tell("discard", {"discarded": 1})
        process.tell("replay", {"replayed": 1})
        process.tell("audit", {"checks": [], "waiting": 0})
    for number, status in enumerate(STATUSES):
        around.orders.tell(f"one {number}", _order(status))
        around.payments.tell(f"one {number}", PAYMENT)
    return from_asgi("/openapi.json", around.gateway())


OPERATIONS = {found.ok().label: found.ok() for found in _document().get_all_operations()}


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", OPERATIONS)
def test_no_answer_is_undeclared(name: str, mode: GenerationMode) -> None:
    fuzz(OPERATIONS[name], mode, examples=20)
