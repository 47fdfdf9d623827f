"""The feed of the mirrors tells them together what came together, and acknowledges only what they know."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from choreography.broker import Broker
from choreography.outgoing_message import OutgoingMessage
from choreography.subscription import Subscription
from choreography.topology import INBOXES, MIRROR_QUEUE, Topology
from models.ids import Uuid7Mint
from models.late_events import LateEvents
from models.message_types import ORDERS_EXCHANGE, ROUTES, type_of
from models.messages import encode, envelope_of
from models.saga import Event, OrderCancelled, OrderId, OrderPaid, PaymentApproved, PaymentRefunded
from tests.support import raw_amqp
from tests.support.fakes.gateway import NOW
from tests.support.poison import BROKEN, PLAIN
from tests.support.raw_amqp import RawMessage
from tests.support.waiting import until
from tests.support.world import World
from workflows.mirror_feed import MirrorFeed

pytestmark = pytest.mark.anyio

ORDER, OTHER = OrderId(UUID(int=1)), OrderId(UUID(int=2))
GATHER = 1.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class TellTale:
    """Mirrors that note each call and its time."""

    def __init__(self) -> None:
        self.traced_by: list[str] = []
        self.told: asyncio.Queue[tuple[float, str, list[str]]] = asyncio.Queue()

    async def record(self, order_id: str, events: Sequence[dict[str, Any]]) -> None:
        now = asyncio.get_running_loop().time()
        self.traced_by += [event["correlationId"] for event in events]
        self.told.put_nowait((now, order_id, [event["eventType"] for event in events]))


async def no_repair() -> None:
    raise AssertionError("nothing was refused")


@asynccontextmanager
async def feeding(
    world: World, mirrors: TellTale, *, gather: float, late: LateEvents | None = None, prefetch: int = 1000
) -> AsyncIterator[tuple[Broker, MirrorFeed]]:
    broker = Broker(world.amqp_url, name="test", topology=Topology(reads=INBOXES))
    subscribe = partial(Subscription, broker, MIRROR_QUEUE)
    feed = MirrorFeed(subscribe, mirrors, repair=no_repair, gather=gather, late=late, prefetch=prefetch)
    running = asyncio.create_task(broker.run())
    try:
        async with asyncio.timeout(60):
            while feed.standing != "ok":  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
            yield broker, feed
    finally:
        await feed.drain(1)
        running.cancel()
        await asyncio.wait([running])


async def publish(broker: Broker, event: Event, *, event_id: UUID | None = None, cause: UUID | None = None) -> None:
    envelope = envelope_of(event, event_id=event_id or uuid4(), occurred_at=NOW, correlation_id="c", causation_id=cause)
    route = ROUTES[type_of(event)]
    await broker.publish(
        OutgoingMessage(
            body=encode(envelope), exchange=route.exchange, routing_key=route.routing_key, message_id=str(uuid4())
        )
    )


async def test_what_happens_to_an_order_within_a_moment_is_told_in_one_call(world: World) -> None:
    mirrors = TellTale()
    async with feeding(world, mirrors, gather=GATHER) as (broker, _):
        began = asyncio.get_running_loop().time()
        await publish(broker, PaymentApproved(order_id=ORDER, transaction_id="tx"))
        await publish(broker, PaymentApproved(order_id=OTHER, transaction_id="tx"))
        await publish(broker, OrderPaid(order_id=ORDER))

        told = [await mirrors.told.get() for _ in range(2)]
        await publish(broker, OrderPaid(order_id=OTHER))
        told.append(await mirrors.told.get())

    assert [what for _, *what in told] == [
        [str(ORDER), ["PaymentApproved", "OrderPaid"]],
        [str(OTHER), ["PaymentApproved"]],
        [str(OTHER), ["OrderPaid"]],
    ]
    assert told[0][0] - began >= GATHER
    assert mirrors.told.empty()


async def test_without_gathering_each_event_is_told_as_it_comes(world: World) -> None:
    mirrors = TellTale()
    async with feeding(world, mirrors, gather=0) as (broker, _):
        for event in (PaymentApproved(order_id=ORDER, transaction_id="tx"), OrderPaid(order_id=ORDER)):
            await publish(broker, event)
            assert (await mirrors.told.get())[2] == [type(event).__name__]


async def test_47_an_original_services_event_is_told_with_what_traces_it(world: World) -> None:
    """The correlation id is in the AMQP property alone, or nowhere, and mirrors get no properties."""
    mirrors = TellTale()
    bare = {"eventType": "OrderPaid", "occurredAt": "2026-02-15T01:42:19.000Z", "payload": {"orderId": str(ORDER)}}
    ours = {"correlationId": None, "causationId": None, "schemaVersion": None, "coordinator": None}
    async with feeding(world, mirrors, gather=0) as (broker, _):
        for event_id, more, traced_by in (("e1", {}, "p"), ("e2", {}, None), ("e3", ours, "p"), ("e4", ours, None)):
            message = OutgoingMessage(
                body=json.dumps({**bare, **more, "eventId": event_id}).encode(),
                exchange="orders.exchange",
                routing_key="order.paid",
                message_id=event_id,
                correlation_id=traced_by,
            )
            await broker.publish(message)
            await mirrors.told.get()
    assert mirrors.traced_by == ["p", "e2", "p", "e4"]


async def test_events_that_were_told_are_acknowledged_and_the_others_come_again(world: World) -> None:
    mirrors = TellTale()
    async with feeding(world, mirrors, gather=0) as (broker, _):
        await publish(broker, OrderPaid(order_id=ORDER))
        await mirrors.told.get()
        await asyncio.to_thread(until, lambda: world.statistics(MIRROR_QUEUE).get("ack", 0) == 1)
    async with feeding(world, mirrors, gather=60) as (broker, _):
        await publish(broker, OrderPaid(order_id=OTHER))
        await asyncio.to_thread(until, lambda: world.statistics(MIRROR_QUEUE).get("deliver", 0) == 2)
    async with feeding(world, mirrors, gather=0):
        assert (await mirrors.told.get())[1] == str(OTHER)
    assert mirrors.told.empty()


def new_order(ago: float = 0.0) -> OrderId:
    return OrderId(Uuid7Mint()(datetime.now(UTC) - timedelta(seconds=ago)))


async def call_off(broker: Broker, order_id: OrderId) -> None:
    await publish(broker, OrderCancelled(order_id=order_id, reason="USER_REQUESTED", total=999))


async def refund(broker: Broker, order_id: OrderId) -> None:
    await publish(broker, PaymentRefunded(order_id=order_id, transaction_id="tx"))


async def test_a_saga_that_is_soon_compensated_is_acknowledged_without_a_mirror_and_a_slow_one_is_told(
    world: World,
) -> None:
    mirrors, after = TellTale(), 4.0
    before = new_order()
    async with feeding(world, mirrors, gather=0, late=LateEvents(after)) as (broker, _):
        await call_off(broker, before)
        await refund(broker, before)
        told = [(await mirrors.told.get())[1:] for _ in range(2)]  # the feed before this one may have told of it
        assert told == [(str(before), ["OrderCancelled"]), (str(before), ["PaymentRefunded"])]
        slow, quick, old = new_order(), new_order(), new_order(ago=60)
        began = asyncio.get_running_loop().time()
        await call_off(broker, slow)
        await call_off(broker, quick)
        await refund(broker, quick)
        await call_off(broker, old)
        assert (await mirrors.told.get())[1:] == (str(old), ["OrderCancelled"])
        told_at, *what = await mirrors.told.get()
        assert what == [str(slow), ["OrderCancelled"]]
        assert told_at - began >= after
        await refund(broker, slow)
        assert (await mirrors.told.get())[1:] == (str(slow), ["PaymentRefunded"])
        await asyncio.to_thread(until, lambda: world.statistics(MIRROR_QUEUE).get("ack", 0) == 7)
    assert mirrors.told.empty()


async def test_what_is_held_back_stays_at_the_broker_and_whoever_gets_it_again_tells_it(world: World) -> None:
    """A mirror may know some of it: nothing says what the one before had told."""
    mirrors, late = TellTale(), LateEvents(600.0)
    async with feeding(world, mirrors, gather=0, late=late) as (broker, feed):
        order_id = new_order()
        await call_off(broker, order_id)
        while feed.held != 1:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    assert mirrors.told.empty()
    async with feeding(world, mirrors, gather=0, late=late) as (broker, _):
        assert (await mirrors.told.get())[2] == ["OrderCancelled"]
        await refund(broker, order_id)
        assert (await mirrors.told.get())[2] == ["PaymentRefunded"]


async def test_more_sagas_than_can_be_held_stop_nobody(world: World) -> None:
    mirrors = TellTale()
    async with feeding(world, mirrors, gather=0, late=LateEvents(600.0), prefetch=8) as (broker, _):
        orders = [new_order() for _ in range(40)]
        for order_id in orders:
            await call_off(broker, order_id)
        told = [(await asyncio.wait_for(mirrors.told.get(), 30))[1] for _ in orders[:-2]]
    assert told == [str(order_id) for order_id in orders[:-2]]


@pytest.mark.parametrize("name", BROKEN)
async def test_37_events_that_cannot_be_decoded_are_set_aside_and_the_others_are_told(world: World, name: str) -> None:
    mirrors = TellTale()
    with capture_logs() as logs:
        async with feeding(world, mirrors, gather=0) as (broker, _):
            for values, routing_key in ((BROKEN[name], b"order.paid"), (PLAIN, b"order.\xff")):
                bad = RawMessage(exchange=ORDERS_EXCHANGE, routing_key=routing_key, body=b"{}", properties=values)
                await asyncio.to_thread(raw_amqp.publish, world.amqp_url, [bad])
            await publish(broker, OrderPaid(order_id=ORDER))
            assert (await mirrors.told.get())[2] == ["OrderPaid"]
            letters = await asyncio.to_thread(until, lambda: len(found := world.dead_letters()) == 2 and found)
    assert {(letter.queue, letter.reason, letter.body) for letter in letters} == {(MIRROR_QUEUE, "MALFORMED", b"{}")}
    assert {letter.routing_key for letter in letters} == {"order.paid", "order.\\xff"}
    assert "broker_connection_lost" not in {each["event"] for each in logs}
