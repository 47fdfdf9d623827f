"""A gateway beside original services refuses what would not work with them, and completes what they answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.gateway.order_ids import OrderIds
from models.originals import Originals, ServiceName
from models.saga import Coordinator
from tests.support.events import APPROVED, CREATED, ORDER, PAID
from tests.support.fakes.gateway import NOW, Neighbours
from tests.support.gateway_http import BODY, OLD, problem
from tests.support.messages import USER

pytestmark = pytest.mark.anyio

ORDER_ALONE: Originals = frozenset({ServiceName.ORDER})
PAYMENT_ALONE: Originals = frozenset({ServiceName.PAYMENT})
BOTH = ORDER_ALONE | PAYMENT_ALONE
TIMES = {"createdAt": "2026-02-15T01:42:19.000Z", "updatedAt": "2026-02-15T01:42:21.000Z"}
THEIR_ORDER = {"id": str(OLD), "userId": USER, "total": 999, "status": "PAID", **TIMES}
THEIR_PAYMENT = {"id": str(OLD), "orderId": str(ORDER), "amount": 999, "status": "APPROVED", **TIMES}
OUR_ORDER = {**THEIR_ORDER, "currency": "USD", "coordinator": "choreography", "cancelReason": None}
OUR_PAYMENT = {**THEIR_PAYMENT, "currency": "USD", "reason": None}
META = {"page": 1, "limit": 10, "total": 1, "totalPages": 1}


@pytest.fixture
async def order_is_theirs(around: Neighbours) -> AsyncIterator[httpx.AsyncClient]:
    around.originals = ORDER_ALONE
    async with around.client() as client:
        yield client


@pytest.fixture
async def payment_is_theirs(around: Neighbours) -> AsyncIterator[httpx.AsyncClient]:
    around.originals = PAYMENT_ALONE
    async with around.client() as client:
        yield client


# Placing


@pytest.mark.parametrize("originals", [ORDER_ALONE, PAYMENT_ALONE, BOTH])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"coordinator": "orchestration"}, "orchestrated"),
        ({"currency": "EUR"}, "currency"),
        ({"paymentMethod": "pm_card_visa"}, "paymentMethod"),
    ],
)
async def test_47_what_an_original_service_would_drop_is_refused(
    around: Neighbours, originals: Originals, change: dict[str, str], told: str
) -> None:
    around.originals = originals
    async with around.client() as client:
        answer = await client.post("/api/orders", json=BODY | change)
    assert told in problem(answer, 501)["detail"]
    assert (around.broker.published, around.orchestration.started) == ([], [])


async def test_an_order_is_accepted_and_no_place_promised(
    around: Neighbours, order_is_theirs: httpx.AsyncClient
) -> None:
    answer = await order_is_theirs.post("/api/orders", json=BODY, headers={"Prefer": "wait=10"})
    assert (answer.status_code, answer.json()["status"]) == (202, "PENDING_PAYMENT")
    assert not {"location", "preference-applied"} & {*answer.headers}
    assert len(around.broker.published) == 1


async def test_47_an_idempotency_key_needs_our_order_service(
    around: Neighbours, order_is_theirs: httpx.AsyncClient
) -> None:
    answer = await order_is_theirs.post("/api/orders", json=BODY, headers={"Idempotency-Key": "k"})
    assert "Idempotency-Key" in problem(answer, 501)["detail"]
    assert around.broker.published == []


async def test_an_idempotency_key_works_beside_an_original_payment_service(
    around: Neighbours, payment_is_theirs: httpx.AsyncClient
) -> None:
    first, again = [
        await payment_is_theirs.post("/api/orders", json=BODY, headers={"Idempotency-Key": "k"}) for _ in "12"
    ]
    assert (first.status_code, first.json()) == (202, again.json())


# Looking up, and cancelling


@pytest.mark.parametrize("request_line", ["GET ", "GET /timeline", "GET /stream", "PATCH /cancel"])
async def test_47_the_id_of_the_202_is_refused_with_the_reason(
    around: Neighbours, order_is_theirs: httpx.AsyncClient, request_line: str
) -> None:
    method, path = request_line.split(" ")
    order_id = (await order_is_theirs.post("/api/orders", json=BODY)).json()["orderId"]
    answer = await order_is_theirs.request(method, f"/api/orders/{order_id}{path}")
    assert answer.status_code == 501, answer.text
    assert len(around.broker.published) == 1  # the command that created the order


async def test_the_payment_of_the_id_of_the_202_is_refused(
    around: Neighbours, order_is_theirs: httpx.AsyncClient
) -> None:
    order_id = OrderIds(around.secret).mint(NOW, orchestrated=False)
    assert str(order_id) in problem(await order_is_theirs.get(f"/api/payments/order/{order_id}"), 501)["detail"]


async def test_an_order_that_was_brought_back_keeps_the_id_of_its_202(
    around: Neighbours, order_is_theirs: httpx.AsyncClient
) -> None:
    order_id = str(OrderIds(around.secret).mint(NOW, orchestrated=False))
    around.orders.tell(f"/orders/{order_id}", THEIR_ORDER | {"id": order_id})
    assert (await order_is_theirs.get(f"/api/orders/{order_id}")).json()["id"] == order_id
    assert (await order_is_theirs.patch(f"/api/orders/{order_id}/cancel")).status_code == 202


async def test_the_id_of_a_202_is_not_cancelled_unseen(around: Neighbours, order_is_theirs: httpx.AsyncClient) -> None:
    around.orders.away = True
    order_id = OrderIds(around.secret).mint(NOW, orchestrated=False)
    problem(await order_is_theirs.patch(f"/api/orders/{order_id}/cancel"), 503)
    assert around.broker.published == []


async def test_an_unknown_id_of_theirs_is_unknown(order_is_theirs: httpx.AsyncClient) -> None:
    problem(await order_is_theirs.get(f"/api/orders/{uuid4()}"), 404)
    problem(await order_is_theirs.patch(f"/api/orders/{uuid4()}/cancel"), 404)


async def test_47_an_orchestrated_order_from_before_is_not_cancelled_beside_an_original_payment_service(
    around: Neighbours, payment_is_theirs: httpx.AsyncClient
) -> None:
    around.orders.tell(f"/orders/{OLD}", OUR_ORDER | {"coordinator": Coordinator.ORCHESTRATION})
    problem(await payment_is_theirs.patch(f"/api/orders/{OLD}/cancel"), 501)
    assert around.orchestration.cancelled == []


# Rows


@pytest.mark.parametrize(
    ("originals", "path", "theirs", "ours"),
    [
        (ORDER_ALONE, f"/orders/{OLD}", THEIR_ORDER, OUR_ORDER),
        (ORDER_ALONE, f"/orders/{OLD}", THEIR_ORDER | {"total": 999.0, "more": [1]}, OUR_ORDER),
        (ORDER_ALONE, "/orders", {"data": [THEIR_ORDER], "meta": META}, {"data": [OUR_ORDER], "meta": META}),
        (PAYMENT_ALONE, f"/payments/{OLD}", THEIR_PAYMENT, OUR_PAYMENT),
        (PAYMENT_ALONE, f"/payments/order/{ORDER}", THEIR_PAYMENT, OUR_PAYMENT),
        (PAYMENT_ALONE, "/payments", {"data": [THEIR_PAYMENT], "meta": META}, {"data": [OUR_PAYMENT], "meta": META}),
        (
            PAYMENT_ALONE,
            "/payments/stats",
            {"byStatus": [{"status": "APPROVED", "count": 2, "totalAmount": 1998.0}]},
            {
                "byStatus": [
                    {
                        "status": "APPROVED",
                        "count": 2,
                        "totalAmount": 1998,
                        "amounts": [{"currency": "USD", "count": 2, "totalAmount": 1998}],
                    }
                ]
            },
        ),
    ],
)
async def test_47_rows_of_an_original_service_are_completed(
    around: Neighbours, originals: Originals, path: str, theirs: dict[str, Any], ours: dict[str, Any]
) -> None:
    around.originals = originals
    (around.orders if originals == ORDER_ALONE else around.payments).tell(path, theirs)
    async with around.client() as client:
        answer = await client.get(f"/api{path}")
    assert (answer.status_code, answer.json()) == (200, ours)


@pytest.mark.parametrize(
    "change",
    [{"total": 9.99}, {"total": "999"}, {"status": "SHIPPED"}, {"id": "42"}, {"userId": None}, {"createdAt": "today"}],
)
async def test_47_a_row_that_is_not_as_promised_is_not_passed_on(
    around: Neighbours, order_is_theirs: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    around.orders.tell(f"/orders/{OLD}", THEIR_ORDER | change)
    around.orders.tell("/orders", {"data": [THEIR_ORDER | change], "meta": META})
    problem(await order_is_theirs.get(f"/api/orders/{OLD}"), 503)
    problem(await order_is_theirs.get("/api/orders"), 503)


@pytest.mark.parametrize(
    ("originals", "path"),
    [
        (ORDER_ALONE, "/orders?status=PAID"),
        (ORDER_ALONE, f"/orders?userId={USER}"),
        (PAYMENT_ALONE, "/payments?status=APPROVED"),
    ],
)
async def test_47_a_filter_that_would_be_ignored_is_refused(
    around: Neighbours, originals: Originals, path: str
) -> None:
    around.originals = originals
    async with around.client() as client:
        assert "filter" in problem(await client.get(f"/api{path}"), 501)["detail"]
        assert (await client.get("/api/payments?status=APPROVED")).status_code != 501 or originals == PAYMENT_ALONE
    assert around.orders.asked == []


# The story


async def test_a_mirror_tells_the_timeline_that_no_event_log_can(
    around: Neighbours, payment_is_theirs: httpx.AsyncClient
) -> None:
    around.orders.log(f"/orders/{ORDER}/events", CREATED, PAID)
    problem(await payment_is_theirs.get(f"/api/orders/{ORDER}/timeline"), 501)
    problem(await payment_is_theirs.get(f"/api/orders/{ORDER}/stream"), 501)
    around.timelines.tell(UUID(str(ORDER)), CREATED, APPROVED, PAID)
    answer = await payment_is_theirs.get(f"/api/orders/{ORDER}/timeline")
    assert (answer.status_code, answer.json()["source"]) == (200, "workflow")
    assert [each["eventType"] for each in answer.json()["entries"]] == ["OrderCreated", "PaymentApproved", "OrderPaid"]
