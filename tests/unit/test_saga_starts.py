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
from tests.support.fakes.gateway import Asked, FakeService
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
    """Starts sagas, or raises this error. Each start takes so many seconds by the clock."""

    def __init__(self, error: Exception | None = None, *, clock: Clock | None = None, takes: float = 0.0) -> None:
        self.error = error
        self.clock = clock or Clock()
        self.takes = takes
        self.started = 0

    async def __call__(self) -> None:
        if self.error is not None:
            raise self.error
        self.clock.now += self.takes
        self.started += 1


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have answers waited for so long that no busy machine is in the way."""
    monkeypatch.setattr(saga_starts, "_SHORTEST", 5.0)
    monkeypatch.setattr(saga_starts, "_LONGEST", 5.0)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saga_starts, "_LONGEST", 0.02)


async def start(service: FakeService, direct: Direct) -> None:
    await OrderServiceStarts(service).start(SAGA, traceparent="00-ab-cd-01", directly=direct)


@pytest.mark.usefixtures("unhurried")
async def test_the_order_service_is_told_all_that_the_saga_needs(service: FakeService) -> None:
    service.tell("/sagas", {"started": True})

    await start(service, direct := Direct())

    [asked] = service.asked
    assert direct.started == 0
    assert (asked.method, asked.path, asked.correlation_id) == ("POST", "/sagas", "trace-7")
    read = NewSaga.model_validate_json(json.dumps(asked.content))
    assert (read.saga, read.traceparent) == (SAGA, "00-ab-cd-01")


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, {"started": False}),
        (200, {"anything": "else"}),
        (404, {}),  # an order service of a version before
        (422, {}),
        (503, {}),
        (0, OSError("connection refused")),
        (0, RuntimeError("Session is closed")),
    ],
)
async def test_after_an_answer_that_is_not_as_it_should_be_sagas_are_started_directly(
    service: FakeService, status: int, content: Any
) -> None:
    def fail(_: Asked) -> None:
        raise content

    if status:
        service.tell("/sagas", content, status)
    else:
        service.on_request = fail
    starts, direct = OrderServiceStarts(service), Direct()

    for _ in range(2):
        await starts.start(SAGA, traceparent=None, directly=direct)

    assert (direct.started, len(service.asked)) == (2, 1)


@pytest.mark.usefixtures("hurried")
async def test_a_service_that_does_not_answer_is_not_waited_for(service: FakeService) -> None:
    service.hangs = True

    await asyncio.wait_for(start(service, direct := Direct()), 1)

    assert direct.started == 1


@pytest.mark.usefixtures("hurried")
async def test_an_answer_that_comes_late_counts_if_it_is_first(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, begun, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def answer_late(_: ServiceRequest) -> ServiceResponse:
        await answered.wait()
        return ServiceResponse(200, b'{"started": true}')

    async def stand_still() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    monkeypatch.setattr(service, "request", answer_late)
    starting = asyncio.create_task(OrderServiceStarts(service).start(SAGA, traceparent=None, directly=stand_still))
    await asyncio.wait_for(begun.wait(), 1)
    answered.set()
    await asyncio.wait_for(starting, 1)
    await asyncio.wait_for(left.wait(), 1)


@pytest.mark.usefixtures("unhurried")
async def test_a_service_that_failed_is_tried_every_second_and_no_order_waits_for_that(service: FakeService) -> None:
    clock, direct = Clock(), Direct()
    starts, service.away = OrderServiceStarts(service, clock), True

    async def one_more(*, after: float) -> tuple[int, int]:
        clock.now += after
        await asyncio.wait_for(starts.start(SAGA, traceparent=None, directly=direct), 1)
        await asyncio.sleep(0.01)  # until a request that nobody waits for is made
        return direct.started, len(service.asked)

    assert await one_more(after=0.0) == (1, 1)
    assert await one_more(after=0.9) == (2, 1)
    service.away, service.hangs = False, True
    assert await one_more(after=0.2) == (3, 2)
    service.hangs = False
    service.tell("/sagas", {"started": True})
    assert await one_more(after=0.9) == (4, 2)
    assert await one_more(after=0.2) == (5, 3)
    assert await one_more(after=0.0) == (5, 4)  # it has answered


@pytest.mark.usefixtures("unhurried")
async def test_a_service_that_failed_is_not_asked_for_a_saga_that_was_not_started(service: FakeService) -> None:
    clock, direct = Clock(), Direct()
    starts, service.away = OrderServiceStarts(service, clock), True
    await starts.start(SAGA, traceparent=None, directly=direct)
    clock.now += 2.0
    direct.error = RequestNotTaken("refused")

    with pytest.raises(RequestNotTaken):
        await starts.start(SAGA, traceparent=None, directly=direct)
    await asyncio.sleep(0.01)

    assert len(service.asked) == 1


@pytest.mark.parametrize(("takes", "is_asked_again"), [(0.01, False), (0.15, True)])
async def test_an_answer_may_take_four_times_as_long_as_a_direct_start(
    service: FakeService, takes: float, is_asked_again: bool
) -> None:
    clock = Clock()
    direct, starts = Direct(clock=clock, takes=takes), OrderServiceStarts(service, clock)

    async def one_more() -> int:
        """Start a saga a second later. Returns how many were started directly."""
        clock.now += 1.0
        before = direct.started
        await starts.start(SAGA, traceparent=None, directly=direct)
        await asyncio.sleep(0.01)  # until a request that nobody waits for is answered
        return direct.started - before

    service.away = True
    assert [await one_more() for _ in range(20)] == [1] * 20  # now it is known how long these take
    service.away = False
    service.tell("/sagas", {"started": True})
    service.on_request = lambda _: setattr(clock, "now", clock.now + 0.5)
    assert await one_more() == 1  # and the service is tried
    assert await one_more() == (0 if is_asked_again else 1)


@pytest.mark.usefixtures("hurried")
async def test_of_many_sagas_at_once_some_are_started_directly(service: FakeService) -> None:
    service.hangs = True
    starts, direct = OrderServiceStarts(service), Direct()

    await asyncio.gather(*(starts.start(SAGA, traceparent=None, directly=direct) for _ in range(100)))

    assert (direct.started, len(service.asked)) == (100, saga_starts._MOST)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize(
    ("status", "direct", "certain"),
    [
        (200, RequestNotTaken("refused"), True),
        (404, RequestNotTaken("refused"), True),
        (200, TemporalUnavailable("no answer"), False),
        (503, RequestNotTaken("refused"), False),
        (408, RequestNotTaken("refused"), False),
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


@pytest.mark.usefixtures("unhurried")
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
