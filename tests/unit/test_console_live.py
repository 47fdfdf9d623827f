"""The console's stream tells each viewer how the sagas stand, a few times a second, and goes on where it stopped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4, uuid5

import httpx
import pytest

from api.gateway.console.live import EVERY, Live
from api.gateway.console.live_stream import Viewer
from api.gateway.console.moving_sagas import Facts, MovingSagas
from api.gateway.keys import Role, mint
from models.messages import Envelope
from models.originals import NO_ORIGINALS, ServiceName
from models.saga import Coordinator
from tests.support.events import APPROVED, CANCELLED_BY_USER, CREATED, DECLINED, ORDER, PAID, REFUNDED, START
from tests.support.fakes.gateway import NOW, FakeFeed, Neighbours
from tests.support.gateway_http import problem
from tests.support.messages import USER

pytestmark = pytest.mark.anyio

STREAM = "/api/console/stream"
ALICE, BOB = UUID(USER), UUID(int=7)
BEGUN = replace(CREATED, payload={**CREATED.payload, "userId": USER})


def of(order: UUID, event: Envelope, **payload: Any) -> Envelope:
    """This event, of another order."""
    ids = {"orderId": str(order), **payload}
    return replace(event, event_id=uuid5(order, event.event_type), payload={**event.payload, **ids})


class Look:
    """Looks orders up, and notes which."""

    def __init__(self) -> None:
        self.knows: dict[UUID, Facts] = {}
        self.asked: list[UUID] = []

    async def __call__(self, order_id: UUID) -> Facts | None:
        self.asked.append(order_id)
        await asyncio.sleep(0)
        return self.knows.get(order_id)


@pytest.fixture
def feed() -> FakeFeed:
    return FakeFeed()


@pytest.fixture
def look() -> Look:
    return Look()


@pytest.fixture
def live(feed: FakeFeed, look: Look) -> Live:
    return Live(feed=feed, clock=lambda: NOW, look_up=look, originals=NO_ORIGINALS, linger=0.05)


def read(event: bytes | None) -> tuple[str, str, Any]:
    """The id, the name and the data of a server-sent event."""
    assert event is not None
    lines = dict(line.split(": ", 1) for line in event.decode().strip().split("\n"))
    return lines["id"], lines["event"], json.loads(lines["data"])


async def frame(viewer: Viewer) -> Any:
    """The data of the viewer's next frame."""
    async with asyncio.timeout(10):
        assert await viewer.wait()
    _, name, data = read(viewer.advance())
    assert name == "sagas"
    return data


async def test_a_saga_is_told_as_it_stands_and_once_however_many_events_it_has(live: Live, feed: FakeFeed) -> None:
    async with live.viewed(None):
        viewer = Viewer(live, None)
        assert read(viewer.begin(None))[1:] == ("hello", {"at": "2026-02-15T01:42:19.000Z"})
        feed.push(ORDER, BEGUN, APPROVED, PAID)
        told = await frame(viewer)
    assert told["sagas"] == [
        {
            "orderId": str(ORDER),
            "coordinator": "choreography",
            "status": "PAID",
            "paymentStatus": "APPROVED",
            "amount": 999,
            "currency": "USD",
            "userId": USER,
            "lastEvent": "OrderPaid",
            "at": "2026-02-15T01:42:20.600Z",
            "startedAt": "2026-02-15T01:42:19.000Z",
            "events": 3,
        }
    ]
    assert (told["dropped"], {**told["rates"], "seconds": 0}) == (
        0,
        {"started": 1, "ended": 1, "events": 3, "seconds": 0},
    )


async def test_a_later_frame_has_what_changed_since_the_last_one(live: Live, feed: FakeFeed) -> None:
    other = uuid4()
    async with live.viewed(None):
        viewer = Viewer(live, None)
        feed.push(ORDER, BEGUN, of(other, BEGUN))
        assert [each["orderId"] for each in (await frame(viewer))["sagas"]] == [str(ORDER), str(other)]
        feed.push(ORDER, replace(APPROVED, coordinator=Coordinator.ORCHESTRATION))
        told = await frame(viewer)
    (saga,) = told["sagas"]
    assert (saga["orderId"], saga["paymentStatus"], saga["amount"], saga["events"]) == (str(ORDER), "APPROVED", 999, 2)
    assert (told["rates"]["started"], told["rates"]["ended"], told["rates"]["events"]) == (0, 0, 1)


async def test_what_comes_twice_or_late_changes_nothing_back(live: Live, feed: FakeFeed) -> None:
    async with live.viewed(None):
        viewer = Viewer(live, None)
        feed.push(ORDER, PAID, APPROVED, CANCELLED_BY_USER, REFUNDED, PAID, BEGUN, BEGUN, APPROVED)
        told = await frame(viewer)
    (saga,) = told["sagas"]
    assert (saga["status"], saga["paymentStatus"], saga["events"]) == ("CANCELLED", "REFUNDED", 5)
    assert (saga["lastEvent"], saga["amount"]) == ("PaymentRefunded", 999)
    assert (told["rates"]["events"], told["rates"]["ended"]) == (5, 1)


async def test_the_last_event_is_the_one_that_happened_last_in_whatever_order_they_arrive(
    live: Live, feed: FakeFeed
) -> None:
    async with live.viewed(None):
        viewer = Viewer(live, None)
        feed.push(ORDER, BEGUN, PAID, APPROVED)
        (saga,) = (await frame(viewer))["sagas"]
    assert (saga["lastEvent"], saga["at"], saga["paymentStatus"]) == (
        "OrderPaid",
        "2026-02-15T01:42:20.600Z",
        "APPROVED",
    )


async def test_a_viewer_gets_five_frames_a_second_at_most_whatever_happens(live: Live, feed: FakeFeed) -> None:
    clock = asyncio.get_running_loop().time
    async with live.viewed(None):
        viewer, times = Viewer(live, None), []
        flood = asyncio.create_task(_flood(feed))
        began = clock()
        while clock() < began + 1.5:
            told = await frame(viewer)
            times.append(
                live.tick.when
            )  # not the time now: on a busy machine this test is told late, and then soon again
            assert len(told["sagas"]) <= 100
        flood.cancel()
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) > 2
    assert min(gaps) > EVERY * 0.99


async def _flood(feed: FakeFeed) -> None:
    while True:
        for _ in range(20):
            feed.push(order := uuid4(), of(order, BEGUN))
        await asyncio.sleep(0.005)


async def test_the_newest_hundred_are_told_and_the_others_counted(live: Live, feed: FakeFeed) -> None:
    orders = [uuid4() for _ in range(130)]
    async with live.viewed(None):
        viewer = Viewer(live, None)
        for order in orders:
            feed.push(order, of(order, BEGUN))
        told = await frame(viewer)
    assert [each["orderId"] for each in told["sagas"]] == [str(order) for order in orders[30:]]
    assert (told["dropped"], told["rates"]["started"]) == (30, 130)


async def test_who_reads_slowly_is_told_the_newest_state_once(live: Live, feed: FakeFeed) -> None:
    async with live.viewed(None):
        slow, quick = Viewer(live, None), Viewer(live, None)
        for event in (BEGUN, APPROVED, PAID):
            feed.push(ORDER, event)
            await frame(quick)
        told = await frame(slow)
        assert [(each["status"], each["events"]) for each in told["sagas"]] == [("PAID", 3)]
        assert told["rates"]["events"] == 3
        feed.push(ORDER, CANCELLED_BY_USER)
        assert await frame(quick) == await frame(slow)


async def test_viewers_who_keep_up_share_their_frames(live: Live, feed: FakeFeed) -> None:
    async with live.viewed(None), live.viewed(None):
        viewers = [Viewer(live, None), Viewer(live, None)]
        feed.push(ORDER, BEGUN)
        await viewers[0].wait()
        assert viewers[0].advance() == viewers[1].advance()
        assert set(live.tick.frames) == {None}


async def test_a_user_is_told_of_own_sagas_alone_and_of_no_others_rates(live: Live, feed: FakeFeed) -> None:
    hers, his, nobodys = uuid4(), uuid4(), uuid4()
    async with live.viewed(ALICE), live.viewed(BOB), live.viewed(None):
        alice, bob, everybody = Viewer(live, ALICE), Viewer(live, BOB), Viewer(live, None)
        feed.push(hers, of(hers, BEGUN))
        assert [each["orderId"] for each in (await frame(alice))["sagas"]] == [str(hers)]
        assert bob.advance() is None
        feed.push(his, of(his, BEGUN, userId=str(BOB)), of(his, APPROVED))
        feed.push(nobodys, of(nobodys, PAID))
        told = await frame(bob)
        assert ([each["orderId"] for each in told["sagas"]], told["rates"]["events"]) == ([str(his)], 2)
        assert alice.advance() is None
        assert (await frame(everybody))["rates"]["events"] == 4


async def test_an_order_whose_beginning_was_not_heard_is_looked_up(live: Live, feed: FakeFeed, look: Look) -> None:
    look.knows[ORDER] = Facts(user_id=ALICE, total=5, currency="EUR", created_at=START)
    async with live.viewed(ALICE), live.viewed(None):
        alice = Viewer(live, ALICE)
        feed.push(ORDER, PAID)
        told = await frame(alice)
    assert [(each["amount"], each["currency"], each["startedAt"]) for each in told["sagas"]] == [
        (5, "EUR", "2026-02-15T01:42:19.000Z")
    ]
    assert look.asked == [ORDER]


async def test_an_order_whose_events_come_together_is_looked_up_once(live: Live, feed: FakeFeed, look: Look) -> None:
    async with live.viewed(None):
        feed.push(ORDER, APPROVED, PAID)
        for _ in range(10):
            await asyncio.sleep(0)
    assert look.asked == [ORDER]


async def test_only_so_many_are_looked_up_at_once(live: Live, feed: FakeFeed, look: Look) -> None:
    async with live.viewed(None):
        for _ in range(1000):
            feed.push(order := uuid4(), of(order, PAID))
        feed.push(ORDER, PAID)
        for _ in range(1000):
            await asyncio.sleep(0)
    assert (len(look.asked), ORDER in look.asked) == (200, False)


async def test_a_viewer_who_comes_back_is_told_what_changed_meanwhile(live: Live, feed: FakeFeed) -> None:
    async with live.viewed(None):
        viewer = Viewer(live, None)
        feed.push(ORDER, BEGUN)
        await viewer.wait()
        last_id, _, _ = read(viewer.advance())
    feed.push(ORDER, APPROVED)
    async with live.viewed(None):
        again = Viewer(live, None)
        assert read(again.begin(last_id))[1] == "hello"
        assert [each["paymentStatus"] for each in (await frame(again))["sagas"]] == ["APPROVED"]


async def test_a_viewer_who_was_away_at_the_last_tick_is_told_what_that_tick_told_the_others(
    feed: FakeFeed, look: Look
) -> None:
    live = Live(feed=feed, clock=lambda: NOW, look_up=look, originals=NO_ORIGINALS, linger=5)
    async with live.viewed(None):
        viewer = Viewer(live, None)
        feed.push(ORDER, BEGUN)
        await viewer.wait()
        last_id, _, _ = read(viewer.advance())
    feed.push(ORDER, APPROVED, PAID)
    async with asyncio.timeout(10):
        await live.after(live.tick.version)  # the one tick that nobody views
    async with live.viewed(None):
        again = Viewer(live, None)
        assert read(again.begin(last_id))[1] == "hello"
        assert [each["status"] for each in (await frame(again))["sagas"]] == ["PAID"]


async def test_a_user_who_leaves_and_returns_between_two_ticks_is_told_what_was_counted_since(
    live: Live, feed: FakeFeed
) -> None:
    orders = [uuid4() for _ in range(4)]
    async with live.viewed(ALICE):
        viewer = Viewer(live, ALICE)
        for order in orders[:3]:
            feed.push(order, of(order, BEGUN))
        await frame(viewer)
    async with live.viewed(ALICE):
        viewer = Viewer(live, ALICE)
        feed.push(orders[3], of(orders[3], BEGUN))
        rates = (await frame(viewer))["rates"]
    assert (rates["started"], rates["ended"], rates["events"]) == (1, 0, 1)


@pytest.mark.parametrize("last_id", ["00000000-5-1771119739000", "x", "1", "ffffffff-99999999999-0"])
async def test_who_comes_back_from_elsewhere_is_told_that_there_is_a_gap(live: Live, last_id: str) -> None:
    async with live.viewed(None):
        viewer = Viewer(live, None)
        _, name, data = read(viewer.begin(last_id))
    assert name == "gap"
    assert data["since"] in (None, "2026-02-15T01:42:19.000Z", "1970-01-01T00:00:00.000Z")


async def test_who_comes_back_too_late_is_told_so_and_since_when(live: Live, feed: FakeFeed) -> None:
    live.sagas = MovingSagas(most=3)
    async with live.viewed(None):
        live.sagas = MovingSagas(most=3)
        viewer = Viewer(live, None)
        last_id, _, _ = read(viewer.begin(None))
        for _ in range(5):
            feed.push(order := uuid4(), of(order, BEGUN))
        again = Viewer(live, None)
        assert read(again.begin(last_id))[1:] == ("gap", {"since": "2026-02-15T01:42:19.000Z"})
        await viewer.wait()
        assert read(viewer.advance())[1] == "gap"


async def test_an_interruption_of_the_broker_is_a_gap_for_everybody(live: Live, feed: FakeFeed) -> None:
    async with live.viewed(None):
        viewer = Viewer(live, None)
        viewer.begin(None)
        feed.push(ORDER, BEGUN, None)
        await viewer.wait()
        assert read(viewer.advance())[1:] == ("gap", {"since": "2026-02-15T01:42:19.000Z"})
        feed.push(ORDER, APPROVED)
        assert [each["events"] for each in (await frame(viewer))["sagas"]] == [2]


async def test_without_viewers_nothing_is_heard(live: Live, feed: FakeFeed) -> None:
    assert feed.idle
    async with live.viewed(None):
        async with live.viewed(ALICE):
            assert feed.listeners == [live]
        await asyncio.sleep(0.1)
        assert feed.listeners == [live]
        epoch = live.epoch
    async with live.viewed(None):  # at once: it lingers
        assert live.epoch == epoch
    async with asyncio.timeout(10):
        while not feed.idle:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    async with live.viewed(None):
        assert live.epoch != epoch


def test_with_an_original_order_service_the_payment_tells_how_the_order_stands() -> None:
    sagas = MovingSagas(originals=frozenset({ServiceName.ORDER}))
    for event in (BEGUN, DECLINED):
        sagas.take(event)
    (saga,) = sagas.changed_since(0, None)
    assert saga.as_json(sagas.originals)["status"] == "FAILED"
    assert sagas.tally(None).ended == 1


def test_any_event_may_carry_anything() -> None:
    sagas = MovingSagas()
    for payload in ({}, {"orderId": str(ORDER), "userId": 1, "total": "x"}, {"orderId": str(ORDER), "userId": "y"}):
        sagas.take(replace(BEGUN, event_id=uuid4(), payload=payload))
    assert [saga.user_id for saga in sagas.changed_since(0, None)] == [None]
    for _ in range(100):
        sagas.take(replace(PAID, event_id=uuid4(), occurred_at=START + timedelta(days=1)))
    (saga,) = sagas.changed_since(0, None)
    assert len(saga.events) == 64


# through the gateway


@pytest.fixture
async def client(around: Neighbours) -> AsyncIterator[httpx.AsyncClient]:
    around.limits = replace(around.limits, longest_view=0.6, heartbeat=0.1)
    async with around.client() as client:
        yield client


async def test_a_stream_begins_tells_and_stays_awake(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.orders.tell(f"/orders/{ORDER}", {"userId": USER, "total": 5, "currency": "EUR", "createdAt": "2026-02-15Z"})
    reading = asyncio.create_task(client.get(STREAM))
    while not around.feed.listeners:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    around.feed.push(ORDER, BEGUN)
    answer = await reading
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert answer.headers["cache-control"] == "no-store"
    events = [each for each in answer.text.split("\n\n") if each]
    assert [line.split("\n")[1] for line in events if line.startswith("id: ")] == ["event: hello", "event: sagas"]
    assert ": still here" in events


async def test_a_key_that_is_bound_to_a_user_is_told_of_that_users_sagas_alone(around: Neighbours) -> None:
    (alice, alices), (bob, bobs) = mint("alice", Role.CLIENT, ALICE), mint("bob", Role.CLIENT, BOB)
    around.keys = (alices, bobs)
    around.limits = replace(around.limits, longest_view=0.6, heartbeat=0.1)
    async with around.client() as client:
        reading = [
            asyncio.create_task(client.get(STREAM, headers={"Authorization": f"Bearer {key}"})) for key in (alice, bob)
        ]
        while not around.feed.listeners:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        around.feed.push(ORDER, BEGUN)
        hers, his = [(await each).text for each in reading]
    assert (str(ORDER) in hers, str(ORDER) in his) == (True, False)
    assert ("event: sagas" in hers, "event: sagas" in his) == (True, False)


async def test_when_the_gateway_ends_so_do_the_streams(around: Neighbours) -> None:
    around.limits = replace(around.limits, longest_view=60)
    async with asyncio.timeout(10), around.client() as client:
        reading = asyncio.create_task(client.get(STREAM))
        while not around.feed.listeners:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        for listener in around.feed.listeners:
            listener.closed()
        assert (await reading).status_code == 200


async def test_without_the_broker_it_is_a_503(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.feed.away = True
    assert problem(await client.get(STREAM), 503)
    around.feed.away, around.feed.hangs = False, True
    assert problem(await client.get(STREAM), 503)


async def test_only_so_many_may_view_at_once(around: Neighbours) -> None:
    around.limits = replace(around.limits, longest_view=0.5, heartbeat=0.1, viewers=2)
    async with around.client() as client:
        first = asyncio.create_task(client.get(STREAM))
        while not around.feed.listeners:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        assert "views of the console" in problem(await client.get(STREAM), 503)["detail"]
        assert (await first).status_code == 200
        assert (await client.get(STREAM)).status_code == 200
