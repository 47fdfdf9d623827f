"""The gateway's live feed delivers each published event to those who watch its order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

import httpx
import pytest

from choreography.broker import Broker
from choreography.feed import Feed
from choreography.outgoing_message import BrokerUnavailable, OutgoingMessage
from choreography.topology import FEED_QUEUES, Topology
from models.message_types import ROUTES, type_of
from models.messages import Envelope, encode, envelope_of
from models.saga import Event, OrderCancelRequested, OrderId, OrderPaid, PaymentApproved
from tests.support.fakes.gateway import NOW
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.anyio

ORDER, OTHER = OrderId(UUID(int=1)), OrderId(UUID(int=2))
LINGER = 0.05


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def feed() -> Feed:
    return Feed(linger=LINGER)


@pytest.fixture
async def broker(world: World, feed: Feed) -> AsyncIterator[Broker]:
    broker = Broker(world.amqp_url, name="test", topology=Topology(reads=()))
    broker.on_connect(feed.on_connect)
    running = asyncio.create_task(broker.run())
    await connected(broker)
    yield broker
    running.cancel()
    await asyncio.wait([running])


async def connected(broker: Broker) -> None:
    async with asyncio.timeout(60):
        while not broker.connected:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def publish(broker: Broker, message: Event | OrderCancelRequested) -> Envelope:
    envelope = envelope_of(message, event_id=UUID(int=9), occurred_at=NOW, correlation_id="c")
    route = ROUTES[type_of(message)]
    await broker.publish(
        OutgoingMessage(
            body=encode(envelope),
            exchange=route.exchange,
            routing_key=route.routing_key,
            message_id=str(envelope.event_id),
            mandatory=False,
        )
    )
    return envelope


async def test_events_of_the_order_watched_arrive_and_no_others(broker: Broker, feed: Feed) -> None:
    async with asyncio.timeout(60), feed.subscribe(ORDER) as events:
        await publish(broker, OrderPaid(order_id=OTHER))
        await publish(broker, OrderCancelRequested(order_id=ORDER))
        approved = await publish(broker, PaymentApproved(order_id=ORDER, transaction_id="tx"))
        paid = await publish(broker, OrderPaid(order_id=ORDER))

        received = [await anext(events), await anext(events)]

    assert [event.event_type for event in received if event] == [approved.event_type, paid.event_type]
    assert [event.order_id for event in received if event] == [str(ORDER)] * 2


async def test_a_message_that_nobody_can_read_does_not_stop_the_feed(broker: Broker, feed: Feed) -> None:
    async with asyncio.timeout(60), feed.subscribe(ORDER) as events:
        for body in (b"", b"\xff", b"{}", b'{"payload":{"orderId":"%s"}}' % str(ORDER).encode()):
            await broker.publish(
                OutgoingMessage(
                    body=body,
                    exchange="orders.exchange",
                    routing_key="order.paid",
                    message_id="m",
                    mandatory=False,
                )
            )
        await publish(broker, OrderPaid(order_id=ORDER))

        event = await anext(events)

    assert event is not None
    assert event.event_type == "OrderPaid"


async def test_everybody_who_watches_an_order_gets_its_events(broker: Broker, feed: Feed) -> None:
    async with asyncio.timeout(60), feed.subscribe(ORDER) as first, feed.subscribe(ORDER) as second:
        await publish(broker, OrderPaid(order_id=ORDER))

        assert await anext(first) == await anext(second)


async def test_giving_up_a_wait_loses_nothing(broker: Broker, feed: Feed) -> None:
    async with asyncio.timeout(60), feed.subscribe(ORDER) as events:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(events)
        await publish(broker, OrderPaid(order_id=ORDER))

        assert await anext(events) is not None


async def test_after_a_lost_connection_the_watchers_are_told_and_events_arrive_again(
    broker: Broker, feed: Feed
) -> None:
    async with asyncio.timeout(60), feed.subscribe(ORDER) as events:
        broker.lose()

        assert await anext(events) is None
        await connected(broker)
        await publish(broker, OrderPaid(order_id=ORDER))
        assert await anext(events) is not None


async def test_an_exchange_that_goes_missing_is_bound_to_again_and_the_watchers_are_told(world: World) -> None:
    feed = Feed(linger=LINGER, bind_every=0.2)
    broker = Broker(world.amqp_url, name="test", topology=Topology(reads=()), declare_every=0.2)
    broker.on_connect(feed.on_connect)
    running = asyncio.create_task(broker.run())
    await connected(broker)
    async with asyncio.timeout(20), feed.subscribe(ORDER) as events:
        await asyncio.to_thread(world.amqp, lambda channel: channel.exchange_delete("orders.exchange"))
        while True:
            with suppress(BrokerUnavailable):  # the exchange is still missing
                await publish(broker, OrderPaid(order_id=ORDER))
            try:
                async with asyncio.timeout(0.5):
                    event = await anext(events)
            except TimeoutError:
                continue
            if event is not None:
                break
        assert event.event_type == "OrderPaid"
    running.cancel()
    await asyncio.wait([running])


async def test_a_subscription_without_a_connection_is_refused_at_once() -> None:
    with pytest.raises(BrokerUnavailable):
        async with asyncio.timeout(60), Feed().subscribe(ORDER):
            pass


async def test_closing_the_feed_ends_every_subscription(broker: Broker, feed: Feed) -> None:
    async with asyncio.timeout(60), feed.subscribe(ORDER) as events:
        await feed.close()

        assert [event async for event in events] == []


async def test_the_queue_is_gone_soon_after_its_last_watcher(world: World, broker: Broker, feed: Feed) -> None:
    assert await asyncio.to_thread(queues_of_feed, world) == []
    async with feed.subscribe(ORDER):
        await asyncio.to_thread(until, lambda: len(queues_of_feed(world)) == 1)

    await asyncio.to_thread(until, lambda: queues_of_feed(world) == [])


def queues_of_feed(world: World) -> list[str]:
    answer = httpx.get(f"{world.servers.rabbitmq_api}/queues/{world.name}", params={"columns": "name"}, timeout=20)
    return [queue["name"] for queue in answer.json() if queue["name"].startswith(f"{FEED_QUEUES}.")]


class Ears:
    """Notes what a listener is told."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[str] = asyncio.Queue()

    def heard(self, event: Envelope) -> None:
        self.told.put_nowait(f"{event.event_type} {event.order_id}")

    def missed(self) -> None:
        self.told.put_nowait("missed")

    def closed(self) -> None:
        self.told.put_nowait("closed")


async def test_a_listener_is_told_of_every_order_through_the_one_queue(
    world: World, broker: Broker, feed: Feed
) -> None:
    ears = Ears()
    async with asyncio.timeout(60), feed.listen(ears), feed.subscribe(ORDER) as events:
        await publish(broker, OrderPaid(order_id=OTHER))
        await publish(broker, OrderPaid(order_id=ORDER))
        assert [await ears.told.get(), await ears.told.get()] == [f"OrderPaid {OTHER}", f"OrderPaid {ORDER}"]
        assert (await anext(events)) is not None
        assert len(await asyncio.to_thread(queues_of_feed, world)) == 1
        broker.lose()
        assert await ears.told.get() == "missed"
        await connected(broker)
        await publish(broker, OrderPaid(order_id=ORDER))
        assert await ears.told.get() == f"OrderPaid {ORDER}"
        await feed.close()
        assert await ears.told.get() == "closed"
    await asyncio.to_thread(until, lambda: queues_of_feed(world) == [])
    assert ears.told.empty()
