"""POST and PATCH of orchestrated orders ask Temporal, and say when nobody answers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest

from models.saga import Coordinator, derived_id
from tests.support.fakes.gateway import Neighbours

pytestmark = pytest.mark.anyio

USER = "d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f"
BODY: dict[str, Any] = {"userId": USER, "total": 999, "coordinator": "orchestration"}
OLD = UUID("019c5ef4-0d8f-4a3c-9f1e-5b1d2c3e4f50")


async def test_an_orchestrated_order_starts_its_saga_and_publishes_nothing(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    body = BODY | {"currency": "EUR", "paymentMethod": "pm_card_visa"}
    answer = await client.post("/api/orders", json=body, headers={"X-Correlation-Id": "trace-7"})

    [saga] = around.orchestration.started
    assert (answer.status_code, answer.json()["status"]) == (202, "PENDING_PAYMENT")
    assert UUID(answer.json()["orderId"]) == saga.command.order_id
    assert (saga.command.total, saga.command.currency, saga.command.payment_method) == (999, "EUR", "pm_card_visa")
    assert saga.correlation_id == "trace-7"
    assert around.broker.published == []


async def test_both_coordinators_are_given_the_same_command_id(client: httpx.AsyncClient, around: Neighbours) -> None:
    await client.post("/api/orders", json=BODY)
    await client.post("/api/orders", json=BODY | {"coordinator": "choreography"})

    [saga], [command] = around.orchestration.started, around.broker.published
    assert saga.event_id == derived_id(saga.command.order_id, "CreateOrderRequested")
    assert command.event_id == derived_id(UUID(str(command.order_id)), "CreateOrderRequested")


async def test_the_default_coordinator_counts_for_an_order_that_names_none(around: Neighbours) -> None:
    around.default_coordinator = Coordinator.ORCHESTRATION
    async with around.client() as client:
        await client.post("/api/orders", json={"userId": USER, "total": 1})
        await client.post("/api/orders", json=BODY | {"coordinator": "choreography"})

    assert (len(around.orchestration.started), len(around.broker.published)) == (1, 1)


async def test_the_same_key_asks_for_the_same_saga_again(client: httpx.AsyncClient, around: Neighbours) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = await client.post("/api/orders", json=BODY, headers=headers)
    second = await client.post("/api/orders", json=BODY, headers=headers)

    assert (first.status_code, first.json()) == (second.status_code, second.json())
    [one, two] = around.orchestration.started
    assert (one.command, one.event_id) == (two.command, two.event_id)


@pytest.mark.parametrize("first", Coordinator)
@pytest.mark.parametrize("default", Coordinator)
async def test_a_key_stands_for_its_coordinator_whatever_the_default_is_by_then(
    around: Neighbours, first: Coordinator, default: Coordinator
) -> None:
    body = {"userId": USER, "total": 1}
    ids = set()
    for each in (first, default):
        around.default_coordinator = each
        async with around.client() as client:  # another gateway, with another configuration
            answer = await client.post("/api/orders", json=body, headers={"Idempotency-Key": "k1"})
        assert answer.status_code == 202
        ids.add(answer.json()["orderId"])

    assert len(ids) == 1
    asked = {
        Coordinator.CHOREOGRAPHY: len(around.broker.published),
        Coordinator.ORCHESTRATION: len(around.orchestration.started),
    }
    assert asked[first] == sum(asked.values()) == 2


@pytest.mark.parametrize("default", Coordinator)
@pytest.mark.parametrize(
    ("first", "second"), [(a, b) for a in (*Coordinator, None) for b in (*Coordinator, None) if a != b]
)
async def test_another_coordinator_under_the_same_key_is_a_changed_body_unless_it_is_the_default_spelled_out(
    around: Neighbours, default: Coordinator, first: str | None, second: str | None
) -> None:
    around.default_coordinator = default
    same = (first or default) == (second or default)
    statuses = []
    async with around.client() as client:
        for named in (first, second):
            body = {"userId": USER, "total": 1} | ({"coordinator": named} if named else {})
            answer = await client.post("/api/orders", json=body, headers={"Idempotency-Key": "k1"})
            statuses.append(answer.status_code)

    assert statuses == [202, 202 if same else 409]
    assert len(around.broker.published) + len(around.orchestration.started) == 1 + same


@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_without_temporal_an_orchestrated_order_is_a_503_and_a_choreographed_one_is_accepted(
    client: httpx.AsyncClient, around: Neighbours, how: str
) -> None:
    setattr(around.orchestration, how, True)

    refused = await client.post("/api/orders", json=BODY)
    accepted = await client.post("/api/orders", json=BODY | {"coordinator": "choreography"})

    assert (refused.status_code, accepted.status_code) == (503, 202)
    detail = refused.json()["detail"]
    assert detail.startswith("Temporal did not")
    assert ("nothing will come of it" in detail) is (how == "away")
    assert ("may still be placed" in detail) is ("location" in refused.headers) is (how == "hangs")
    assert int(refused.headers["retry-after"]) > 0


async def test_without_the_broker_an_orchestrated_order_is_accepted(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.broker.away = True

    assert (await client.post("/api/orders", json=BODY)).status_code == 202


# Cancelling


@pytest.mark.parametrize("status", ["PENDING_PAYMENT", "PAID"])
@pytest.mark.parametrize("path", [f"/api/orders/{OLD}", f"/api/orders/{OLD}/cancel"])
async def test_an_orchestrated_order_is_cancelled_by_its_saga(
    client: httpx.AsyncClient, around: Neighbours, status: str, path: str
) -> None:
    around.orders.tell(f"/orders/{OLD}", {"status": status, "coordinator": "orchestration"})

    answer = await client.patch(path, json={"status": "CANCELLED"}, headers={"X-Correlation-Id": "trace-8"})

    assert answer.status_code == 202
    assert around.orchestration.cancelled == [(OLD, "trace-8")]
    assert around.broker.published == []


@pytest.mark.parametrize("status", ["CANCELLED", "FAILED"])
async def test_an_orchestrated_order_at_its_end_is_not_cancelled(
    client: httpx.AsyncClient, around: Neighbours, status: str
) -> None:
    around.orders.tell(f"/orders/{OLD}", {"status": status, "coordinator": "orchestration"})

    assert (await client.patch(f"/api/orders/{OLD}/cancel")).status_code == 409
    assert around.orchestration.cancelled == []


@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_cancelling_an_orchestrated_order_without_temporal_is_a_503(
    client: httpx.AsyncClient, around: Neighbours, how: str
) -> None:
    around.orders.tell(f"/orders/{OLD}", {"status": "PAID", "coordinator": "orchestration"})
    setattr(around.orchestration, how, True)

    assert (await client.patch(f"/api/orders/{OLD}/cancel")).status_code == 503
    assert around.broker.published == []


@pytest.mark.parametrize("age", [0, 86_400])
async def test_an_orchestrated_order_not_yet_stored_is_cancelled_by_its_saga_however_late(
    client: httpx.AsyncClient, around: Neighbours, age: float
) -> None:
    order_id = (await client.post("/api/orders", json=BODY)).json()["orderId"]
    around.pass_time(age)

    assert (await client.patch(f"/api/orders/{order_id}/cancel")).status_code == 202
    assert [found for found, _ in around.orchestration.cancelled] == [UUID(order_id)]


async def test_with_the_order_service_down_the_saga_is_found_in_temporal(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    order_id = (await client.post("/api/orders", json=BODY)).json()["orderId"]
    around.orders.away = True

    assert (await client.patch(f"/api/orders/{order_id}/cancel")).status_code == 202
    assert [found for found, _ in around.orchestration.cancelled] == [UUID(order_id)]


@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_a_choreographed_order_is_cancelled_through_the_broker_whatever_temporal_does(
    client: httpx.AsyncClient, around: Neighbours, how: str
) -> None:
    """The order's id says who coordinates it, so nobody asks Temporal."""
    body = BODY | {"coordinator": "choreography"}
    order_id = (await client.post("/api/orders", json=body)).json()["orderId"]
    around.orders.away = True
    setattr(around.orchestration, how, True)

    assert (await client.patch(f"/api/orders/{order_id}/cancel")).status_code == 202
    assert [each.event_type for each in around.broker.published] == ["CreateOrderRequested", "OrderCancelRequested"]


@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_an_orchestrated_order_that_only_temporal_knows_is_never_cancelled_past_its_saga(
    client: httpx.AsyncClient, around: Neighbours, how: str
) -> None:
    order_id = (await client.post("/api/orders", json=BODY)).json()["orderId"]
    around.orders.away = True
    setattr(around.orchestration, how, True)

    answer = await client.patch(f"/api/orders/{order_id}/cancel")

    assert answer.status_code == 503
    assert "Temporal" in answer.json()["detail"]
    assert around.broker.published == []


async def test_readiness_tells_what_is_missing_without_being_needed(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.checks = {"broker": "ok", "temporal": "degraded: does not answer"}

    answer = await client.get("/readyz")

    assert (answer.status_code, answer.json()) == (200, {"ready": True, "checks": around.checks})
