"""Original gateway and services beside ours, each combination: orders end, both services agree, nothing pretends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.messages import USER
from tests.support.original_databases import OriginalDatabases, original_databases
from tests.support.original_services import (
    DECLINED,
    QUEUES,
    OriginalGateway,
    OriginalOrderService,
    OriginalPaymentService,
)
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.long

TOKEN = "internal-token-of-this-test"
OURS, THEIRS = "ours", "original"
MIXED = [
    (gateway, order, payment)
    for gateway in (OURS, THEIRS)
    for order in (OURS, THEIRS)
    for payment in (OURS, THEIRS)
    if THEIRS in (gateway, order, payment)
]


@dataclass
class System:
    """Which parts are original ones, and where they are."""

    world: World
    databases: OriginalDatabases
    order_is_theirs: bool
    payment_is_theirs: bool
    gateway: World | OriginalGateway
    payments: OriginalPaymentService | None

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.gateway.request(method, path, **options)

    def orders(self) -> dict[str, str]:
        """Status by id."""
        if self.order_is_theirs:
            return self.databases.statuses("orders")
        return {str(row["id"]): row["status"] for row in self.world.rows("orders", "SELECT id, status FROM orders")}

    def payment_statuses(self) -> dict[str, str]:
        if self.payment_is_theirs:
            return self.databases.statuses("payments")
        rows = self.world.rows("payments", "SELECT order_id, status FROM payments WHERE due IS NULL")
        return {str(row["order_id"]): row["status"] for row in rows}


def started(world: World, stack: ExitStack, gateway: str, order: str, payment: str) -> System:
    databases = stack.enter_context(original_databases(world))
    world.env["SAGA_INTERNAL_TOKEN"] = TOKEN
    originals = [name for name, whose in (("order", order), ("payment", payment)) if whose == THEIRS]
    ours = [name for name, whose in (("order", order), ("payment", payment)) if whose == OURS]
    urls, payments = {}, None
    if order == THEIRS:
        urls["order"] = stack.enter_context(OriginalOrderService(world, databases)).url
    if payment == THEIRS:
        payments = stack.enter_context(OriginalPaymentService(world, databases))
        urls["payment"] = payments.url
    world.launch(*ours, provider_decline_rate=0)
    for name in ours:
        world.wait_ready(name)
        urls[name] = f"http://gateway:{TOKEN}@127.0.0.1:{world.ports[name]}"
    at: World | OriginalGateway = world
    if gateway == THEIRS:
        at = stack.enter_context(OriginalGateway(world, order_url=urls["order"], payment_url=urls["payment"]))
    else:
        for name in originals:
            world.ports[name] = int(urls[name].rpartition(":")[2])
        world.start("gateway", original_services=",".join(originals))
    return System(world, databases, order == THEIRS, payment == THEIRS, at, payments)


@pytest.fixture(params=MIXED, ids="-".join)
def system(world: World, request: pytest.FixtureRequest) -> Iterator[System]:
    with ExitStack() as stack:
        yield started(world, stack, *request.param)


def test_48_orders_end_and_both_services_agree_whoever_is_original(system: System) -> None:
    body = {"userId": USER, "total": 990}
    # Only the original payment service declines by the amount; ours takes a method that not every combination carries.
    totals = [990, 991, 992, *([990 + DECLINED] if system.payment_is_theirs else [])]
    for total in totals:
        assert system.request("POST", "/orders", json=body | {"total": total}).status_code == 202
    until(lambda: len(system.orders()) == len(totals), what="all are stored")
    until(lambda: not {*system.orders().values()} & {"PENDING_PAYMENT"}, what="all have ended")
    paid = [order_id for order_id, status in system.orders().items() if status == "PAID"]
    assert len(paid) == 3
    assert system.request("PATCH", f"/orders/{paid[0]}/cancel").status_code == 202
    until(lambda: system.orders()[paid[0]] == "CANCELLED", what="it is cancelled")
    until(lambda: system.payment_statuses().get(paid[0]) == "REFUNDED", what="its money is given back")
    expected = {"PAID": {"APPROVED"}, "CANCELLED": {"REFUNDED", "DECLINED"}, "FAILED": {"DECLINED"}}
    payments = system.payment_statuses()
    assert all(payments[order_id] in expected[status] for order_id, status in system.orders().items())
    assert system.payments is None or max(system.payments.charged.values()) == 1
    assert system.world.dead_letters() == []
    _reads_tell_the_same(system)


def _reads_tell_the_same(system: System) -> None:
    for kind, statuses in (("orders", system.orders()), ("payments", system.payment_statuses())):
        page = system.request("GET", f"/{kind}")
        assert page.status_code == 200, page.text
        told = {row["id" if kind == "orders" else "orderId"]: row["status"] for row in page.json()["data"]}
        assert told == statuses
    stats = system.request("GET", "/payments/stats").json()["byStatus"]
    assert sum(each["count"] for each in stats) == len(system.payment_statuses())


@pytest.mark.parametrize(("order", "payment"), [(THEIRS, OURS), (THEIRS, THEIRS), (OURS, THEIRS)])
def test_48_our_gateway_pretends_nothing_beside_an_original_service(world: World, order: str, payment: str) -> None:
    with ExitStack() as stack:
        system = started(world, stack, OURS, order, payment)
        body = {"userId": USER, "total": 999}

        def status(method: str, path: str, **options: Any) -> int:
            """Asked again while a service does not answer in time (503)."""
            return until(
                lambda: (code := system.request(method, path, **options).status_code) != 503 and code, what="an answer"
            )

        orchestrated = system.request("POST", "/orders", json=body | {"coordinator": "orchestration"})
        assert orchestrated.status_code == 501, orchestrated.text
        accepted = system.request("POST", "/orders", json=body).json()["orderId"]
        until(lambda: {*system.orders().values()} == {"PAID"}, what="it is paid")
        known = 202 if order == OURS else 501
        assert status("PATCH", f"/orders/{accepted}/cancel") == known
        key = {"Idempotency-Key": str(uuid4())}
        assert status("POST", "/orders", json=body, headers=key) == known
        assert (status("GET", "/orders?status=PAID"), status("GET", "/payments?status=APPROVED")) == (
            200 if order == OURS else 501,
            200 if payment == OURS else 501,
        )


def test_48_no_queue_of_a_service_that_is_not_there_fills_up(world: World) -> None:
    with ExitStack() as stack:
        system = started(world, stack, OURS, THEIRS, OURS)
        system.request("POST", "/orders", json={"userId": USER, "total": 999})
        until(lambda: {*system.orders().values()} == {"PAID"}, what="it is paid")
        assert not {*QUEUES["payment"], "order-service"} & {*world.queues()}
