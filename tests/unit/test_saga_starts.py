"""The gateway has the order service start orchestrated sagas, and starts them itself when that does not answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest

from api.gateway import saga_starts
from api.gateway.dependencies import ServiceRequest, ServiceResponse
from api.gateway.saga_starts import OrderServiceStarts
from api.schemas import NewSaga
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


class Direct:
    """Starts sagas, or raises this error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.started = 0

    async def __call__(self) -> None:
        if self.error is not None:
            raise self.error
        self.started += 1


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def service() -> FakeService:
    return FakeService()


async def start(service: FakeService, direct: Direct) -> None:
    await OrderServiceStarts(service).start(SAGA, traceparent="00-ab-cd-01", directly=direct)


async def test_the_order_service_is_told_all_that_the_saga_needs(service: FakeService) -> None:
    service.tell("/sagas", {"started": True})

    await start(service, direct := Direct())

    [asked] = service.asked
    assert direct.started == 0
    assert (asked.method, asked.path, asked.correlation_id) == ("POST", "/sagas", "trace-7")
    read = NewSaga.model_validate_json(json.dumps(asked.content))
    assert (read.saga, read.traceparent) == (SAGA, "00-ab-cd-01")


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, {"started": False}),
        (200, {"anything": "else"}),
        (404, {}),  # an order service of a version before
        (422, {}),
        (503, {}),
    ],
)
async def test_a_saga_that_the_order_service_may_not_have_started_is_started_directly(
    service: FakeService, status: int, content: Any
) -> None:
    service.tell("/sagas", content, status)

    await start(service, direct := Direct())

    assert direct.started == 1


async def test_a_service_that_is_away_is_not_waited_for(service: FakeService) -> None:
    service.away = True

    await asyncio.wait_for(start(service, direct := Direct()), 0.5)

    assert direct.started == 1


async def test_a_service_that_does_not_answer_is_not_waited_for_to_the_end(service: FakeService) -> None:
    service.hangs = True

    await asyncio.wait_for(start(service, direct := Direct()), saga_starts._LONGEST)

    assert direct.started == 1


async def test_an_answer_that_comes_late_counts_if_it_is_first(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, begun = asyncio.Event(), asyncio.Event()

    async def answer_late(_: ServiceRequest) -> ServiceResponse:
        await answered.wait()
        return ServiceResponse(200, b'{"started": true}')

    async def stand_still() -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(service, "request", answer_late)
    starting = asyncio.create_task(OrderServiceStarts(service).start(SAGA, traceparent=None, directly=stand_still))
    await asyncio.wait_for(begun.wait(), 1)
    answered.set()
    await asyncio.wait_for(starting, 1)


async def test_once_a_service_did_not_answer_no_order_waits_for_it_until_it_answers_again(
    service: FakeService,
) -> None:
    clock, direct = Clock(), Direct()
    starts, service.hangs = OrderServiceStarts(service, clock), True

    async def one_more(*, after: float) -> tuple[int, int]:
        clock.now += after
        await asyncio.wait_for(starts.start(SAGA, traceparent=None, directly=direct), saga_starts._SHORTEST / 2)
        await asyncio.sleep(0.01)  # until a request that nobody waits for is made
        return direct.started, len(service.asked)

    await starts.start(SAGA, traceparent=None, directly=direct)
    assert await one_more(after=0.1) == (2, 2)  # it is tried at once …
    assert await one_more(after=0.9) == (3, 2)  # … and then every second
    service.hangs = False
    service.tell("/sagas", {"started": True})
    assert await one_more(after=0.2) == (4, 3)
    assert await one_more(after=0.0) == (4, 4)  # it has answered


async def test_answers_that_usually_take_long_are_waited_for_longer(service: FakeService) -> None:
    service.tell("/sagas", {"started": True})
    clock = Clock()
    service.on_request = lambda _: setattr(clock, "now", clock.now + 0.1)
    starts, direct = OrderServiceStarts(service, clock), Direct()
    for _ in range(20):
        await starts.start(SAGA, traceparent=None, directly=direct)

    answer_quickly = service.request

    async def answer_late(question: ServiceRequest) -> ServiceResponse:
        await asyncio.sleep(0.2)
        return await answer_quickly(question)

    service.request = answer_late  # type: ignore[method-assign]
    await starts.start(SAGA, traceparent=None, directly=direct)
    assert direct.started == 0


async def test_of_many_sagas_at_once_some_are_started_directly(service: FakeService) -> None:
    service.hangs = True
    starts, direct = OrderServiceStarts(service), Direct()

    await asyncio.gather(*(starts.start(SAGA, traceparent=None, directly=direct) for _ in range(100)))

    assert (direct.started, len(service.asked)) == (100, saga_starts._MOST)


@pytest.mark.parametrize(
    ("status", "direct", "certain"),
    [
        (200, RequestNotTaken("refused"), True),
        (200, TemporalUnavailable("no answer"), False),
        (503, RequestNotTaken("refused"), False),
        (503, TemporalUnavailable("no answer"), False),
    ],
)
async def test_nothing_is_said_for_certain_of_a_start_that_somebody_may_have_made(
    service: FakeService, status: int, direct: TemporalUnavailable, certain: bool
) -> None:
    service.tell("/sagas", {"started": False}, status)

    with pytest.raises(TemporalUnavailable) as raised:
        await start(service, Direct(direct))

    assert isinstance(raised.value, RequestNotTaken) is certain


async def test_a_request_that_nobody_waits_for_any_more_is_given_up_in_the_end(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saga_starts, "_GIVEN_UP", 0.05)
    service.hangs = True
    before = asyncio.all_tasks()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(start(service, Direct()), 0.02)
    await asyncio.sleep(0.1)

    assert asyncio.all_tasks() == before
