"""The gateway has the order service start orchestrated sagas, and starts them itself when that does not answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from time import monotonic
from typing import Any, cast
from uuid import UUID

import pytest
from temporalio.client import Client

from api.gateway import saga_starts
from api.gateway.orchestration import Orchestration
from api.gateway.saga_starts import OrderServiceStarts, Started
from api.schemas import NewSaga
from models.saga import CreateOrderRequested, OrderId, UserId
from tests.support.fakes.gateway import FakeService
from workflows.saga_input import NewOrder, SagaInput
from workflows.temporal_errors import RequestNotTaken, TemporalUnavailable

pytestmark = pytest.mark.anyio

ORDER = UUID("019c5ef4-0d8f-4a3c-9f1e-5b1d2c3e4f50")
SAGA = SagaInput(
    order_id=str(ORDER),
    correlation_id="trace-7",
    order=NewOrder(user_id=str(UUID(int=1)), total=999, currency="EUR", payment_method=None, event_id=str(UUID(int=2))),
    payment_timeout=900.0,
    retry_delays=[0.5],
)


class FakeTemporal:
    """Takes starts, or raises this error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.started: list[str] = []

    async def start_workflow(self, _kind: str, saga: SagaInput, **_options: Any) -> None:
        if self.error is not None:
            raise self.error
        self.started.append(saga.order_id)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def service() -> FakeService:
    return FakeService()


def starts(service: FakeService, clock: Callable[[], float] = monotonic) -> OrderServiceStarts:
    return OrderServiceStarts(service, clock)


async def start(temporal: FakeTemporal, service: FakeService) -> None:
    orchestration = Orchestration(
        cast(Client, temporal), payment_timeout=900.0, retry_delays=(0.5,), there=starts(service)
    )
    command = CreateOrderRequested(order_id=OrderId(ORDER), user_id=UserId(UUID(int=1)), total=999)
    await orchestration.start(command, event_id=UUID(int=2), correlation_id="trace-7")


async def test_the_order_service_is_told_all_that_the_saga_needs(service: FakeService) -> None:
    service.tell("/sagas", {"started": True})

    assert await starts(service).start(SAGA, traceparent="00-ab-cd-01") is Started.YES
    [asked] = service.asked
    assert (asked.method, asked.path, asked.correlation_id) == ("POST", "/sagas", "trace-7")
    assert asked.content == {
        "saga": {
            "orderId": str(ORDER),
            "correlationId": "trace-7",
            "order": {
                "userId": str(UUID(int=1)),
                "total": 999,
                "currency": "EUR",
                "paymentMethod": None,
                "eventId": str(UUID(int=2)),
            },
            "paymentTimeout": 900.0,
            "retryDelays": [0.5],
        },
        "traceparent": "00-ab-cd-01",
    }


@pytest.mark.parametrize(
    ("status", "content", "found"),
    [
        (200, {"started": False}, Started.NO),
        (200, {"anything": "else"}, Started.PERHAPS),
        (404, {}, Started.NO),  # an order service of a version before
        (422, {}, Started.NO),
        (503, {}, Started.PERHAPS),
    ],
)
async def test_what_an_answer_says(service: FakeService, status: int, content: Any, found: Started) -> None:
    service.tell("/sagas", content, status)

    assert await starts(service).start(SAGA, traceparent=None) is found


@pytest.mark.parametrize("trouble", ["away", "hangs"])
async def test_without_an_answer_nobody_knows(
    service: FakeService, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saga_starts, "_WITHIN", 0.05)
    setattr(service, trouble, True)

    assert await asyncio.wait_for(starts(service).start(SAGA, traceparent=None), 1) is Started.PERHAPS


async def test_a_service_that_did_not_answer_is_left_alone_for_some_seconds(service: FakeService) -> None:
    clock = Clock()
    asking, service.away = starts(service, clock), True
    await asking.start(SAGA, traceparent=None)
    service.away = False
    service.tell("/sagas", {"started": True})

    clock.now += 4.9
    assert await asking.start(SAGA, traceparent=None) is Started.NO
    clock.now += 0.2
    assert await asking.start(SAGA, traceparent=None) is Started.YES
    assert len(service.asked) == 2


async def test_a_saga_that_was_started_there_is_not_started_again(service: FakeService) -> None:
    service.tell("/sagas", {"started": True})
    temporal = FakeTemporal()

    await start(temporal, service)

    assert temporal.started == []


@pytest.mark.parametrize("status", [200, 404, 503])
async def test_a_saga_that_was_not_started_there_for_sure_is_started_here(service: FakeService, status: int) -> None:
    service.tell("/sagas", {"started": False}, status)
    temporal = FakeTemporal()

    await start(temporal, service)

    assert temporal.started == [str(ORDER)]


@pytest.mark.parametrize(("status", "certain"), [(200, True), (503, False)])
async def test_nothing_is_said_for_certain_of_a_start_that_the_order_service_may_have_made(
    service: FakeService, status: int, certain: bool
) -> None:
    service.tell("/sagas", {"started": False}, status)

    with pytest.raises(TemporalUnavailable) as raised:
        await start(FakeTemporal(RuntimeError("never connected")), service)

    assert isinstance(raised.value, RequestNotTaken) is certain


async def test_what_is_told_can_be_read_by_the_order_service(service: FakeService) -> None:
    await starts(service).start(SAGA, traceparent=None)

    assert NewSaga.model_validate_json(json.dumps(service.asked[0].content)).saga == SAGA
