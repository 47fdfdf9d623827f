"""Services tell how long orders wait, and the gateway refuses more while that is too long."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from activities.book import Submission
from activities.waits import Waits
from api.fields import ASKED_AT
from api.services.waits import wait_routes
from choreography.depths import Length
from choreography.queue_wait import QueueWait
from models.ids import uuid7
from models.saga import Coordinator, CreateOrderRequested, Message, OrderCancelRequested, OrderId, UserId
from tests.support.fakes.gateway import NOW, Neighbours
from tests.support.gateway_http import problem
from tests.support.messages import USER

pytestmark = pytest.mark.anyio

BOTH = list(Coordinator)
CHOREOGRAPHY, ORCHESTRATION = Coordinator.CHOREOGRAPHY, Coordinator.ORCHESTRATION


class Clock:
    """A timer that stands still unless told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Queue:
    """A queue with one reader or more, of which one is looked at."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.known: Length | None = Length(0, 1)
        self.wait = QueueWait(self, "q", timer=self.clock)

    async def length(self, _queue: str) -> Length | None:
        return self.known

    def work(self, *, seconds: int, rate: int) -> None:
        for _ in range(seconds):
            for _ in range(rate):
                self.wait.settled("q", "ack")
            self.clock.now += 1


@pytest.fixture
def queue() -> Queue:
    return Queue()


async def test_a_new_message_waits_as_long_as_the_queue_takes(queue: Queue) -> None:
    queue.work(seconds=5, rate=100)
    queue.known = Length(3000, 1)
    assert await queue.wait.seconds() == pytest.approx(30)
    queue.known = Length(3000, 3)
    assert await queue.wait.seconds() == pytest.approx(10)


async def test_only_the_latest_work_tells_the_rate(queue: Queue) -> None:
    queue.known = Length(1000, 1)
    queue.work(seconds=60, rate=1000)
    queue.work(seconds=6, rate=10)
    assert await queue.wait.seconds() == pytest.approx(100)


async def test_a_queue_that_is_hardly_or_not_worked_on_tells_no_wait(queue: Queue) -> None:
    queue.known = Length(1_000_000, 1)
    assert await queue.wait.seconds() is None
    queue.work(seconds=2, rate=1)
    assert await queue.wait.seconds() is None, "a burst has hardly begun"
    queue.work(seconds=3, rate=1)
    assert await queue.wait.seconds() is not None
    queue.clock.now += 7
    assert await queue.wait.seconds() is None, "it stands still"


@pytest.mark.parametrize("known", [None, Length(100, 0)])
async def test_a_broker_that_does_not_tell_leaves_the_wait_unknown(queue: Queue, known: Length | None) -> None:
    queue.work(seconds=5, rate=1)
    queue.known = known
    assert await queue.wait.seconds() is None


class Turning:
    """A service that turns to orchestrated orders; its clocks stand still unless told."""

    def __init__(self) -> None:
        self.timer = Clock()
        self.waits = Waits(clock=lambda: NOW + timedelta(seconds=self.timer.now), timer=self.timer)

    def turn_to(
        self,
        *,
        waited: float,
        coordinator: Coordinator = ORCHESTRATION,
        order_id: UUID | None = None,
        attempt: int | None = None,
    ) -> None:
        minted = uuid7(NOW + timedelta(seconds=self.timer.now - waited))
        created = CreateOrderRequested(
            order_id=OrderId(order_id or minted),
            user_id=UserId(UUID(USER)),
            total=1,
            currency="USD",
            payment_method=None,
        )
        self.note(created, coordinator, attempt)

    def note(self, message: Message, coordinator: Coordinator = ORCHESTRATION, attempt: int | None = None) -> None:
        self.waits.note(
            Submission(message=message, event_id=uuid4(), correlation_id="", coordinator=coordinator, attempt=attempt)
        )


@pytest.fixture
def service() -> Turning:
    return Turning()


def test_the_latest_orchestrated_orders_tell_how_long_one_waits(service: Turning) -> None:
    assert service.waits.seconds is None
    service.turn_to(waited=100)
    assert service.waits.seconds == pytest.approx(100, abs=0.01)
    service.timer.now += 3
    service.turn_to(waited=40)
    service.turn_to(waited=50)
    assert service.waits.seconds == pytest.approx(40, abs=0.01), "one old order among new ones makes nobody wait"
    service.timer.now += 7
    assert service.waits.seconds is None, "what nobody turns to any more tells nothing"


def test_an_order_that_the_service_has_turned_to_before_tells_no_wait(service: Turning) -> None:
    service.turn_to(waited=300, attempt=3)
    assert service.waits.seconds is None
    service.turn_to(waited=2, attempt=1)
    assert service.waits.seconds == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize(("ahead", "tells"), [(3600, 5.0), (-3600, 7205.0), (7200, 0.0), (None, 3605.0)])
async def test_a_clock_that_differs_from_the_gateways_makes_nobody_wait(ahead: float | None, tells: float) -> None:
    async def expected() -> dict[Coordinator, float | None]:
        return {CHOREOGRAPHY: 7.0, ORCHESTRATION: 3605.0}

    app = FastAPI()
    app.include_router(wait_routes(expected))
    asked_at = datetime.now(UTC) - timedelta(seconds=ahead or 0)
    headers = {} if ahead is None else {ASKED_AT: asked_at.isoformat()}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        told = (await client.get("/waits", headers=headers)).json()
    assert told["choreography"] == 7.0
    assert told["orchestration"] == pytest.approx(tells, abs=5)


def test_what_tells_no_time_or_waits_elsewhere_is_not_counted(service: Turning) -> None:
    service.turn_to(waited=30, order_id=uuid4())
    service.turn_to(waited=30, coordinator=CHOREOGRAPHY)
    service.note(OrderCancelRequested(order_id=OrderId(uuid7(NOW))))
    assert service.waits.seconds is None


async def place(client: httpx.AsyncClient, coordinator: Coordinator = CHOREOGRAPHY) -> httpx.Response:
    return await client.post("/api/orders", json={"userId": USER, "total": 1, "coordinator": coordinator})


async def asked(client: httpx.AsyncClient) -> None:
    """Have the gateway ask the services, which it does while it takes an order, and wait for the answers."""
    before = asyncio.all_tasks()
    assert (await place(client)).status_code == 202
    if asking := asyncio.all_tasks() - before:
        await asyncio.wait(asking)


@pytest.mark.parametrize("service", ["orders", "payments"])
@pytest.mark.parametrize("coordinator", BOTH)
async def test_orders_that_would_wait_too_long_are_refused_and_come_to_nothing(
    service: str, coordinator: Coordinator
) -> None:
    neighbours = Neighbours()
    getattr(neighbours, service).tell("/waits", {"choreography": None, "orchestration": None, coordinator: 60.5})
    async with neighbours.client() as client:
        await asked(client)
        published, started = len(neighbours.broker.published), len(neighbours.orchestration.started)
        refused = problem(await place(client, coordinator), 503)
        assert "60 s" in refused["detail"]
        answer = await place(client, coordinator)
        assert answer.headers["retry-after"] == "10"
        assert (len(neighbours.broker.published), len(neighbours.orchestration.started)) == (published, started)
        [other] = set(BOTH) - {coordinator}
        assert (await place(client, other)).status_code == 202


async def test_orders_are_taken_while_the_wait_is_bearable_or_unknown() -> None:
    neighbours = Neighbours()
    neighbours.orders.tell("/waits", {"choreography": 59.9, "orchestration": None})
    neighbours.payments.away = True
    async with neighbours.client() as client:
        await asked(client)
        for coordinator in BOTH:
            assert (await place(client, coordinator)).status_code == 202


async def test_a_service_is_asked_once_a_second_at_most_and_only_while_orders_are_placed() -> None:
    neighbours, began = Neighbours(), monotonic()
    async with neighbours.client() as client:
        for _ in range(20):
            await asked(client)
        await client.get("/api/orders")
        times = sum(question.path == "/waits" for question in neighbours.orders.asked)
        assert 1 <= times <= 1 + (monotonic() - began)
