"""The mirrors' queue is told of every order that stands still, once, however many there are and whatever fails."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from choreography import late_orders
from choreography.broker import Broker
from choreography.declaring import declare
from choreography.late_orders import LateOrders
from choreography.topology import MIRROR_QUEUE, Topology
from models.database import Database
from models.ids import uuid7
from models.late_events import LateEvents
from tests.support.messages import create
from tests.support.waiting import until
from tests.support.world import World

AFTER = 1.0


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_orders, "_PAGE", 2)
    monkeypatch.setattr(late_orders, "_LOOK_BACK_EVERY", 0.0)


def place(world: World, number: int) -> None:
    orders = [str(uuid7(datetime.now(UTC))) for _ in range(number)]
    world.publish(*map(create, orders))
    for order_id in orders:
        world.wait_status(order_id, "PENDING_PAYMENT")


def told(world: World, number: int) -> None:
    until(lambda: world.queues()[MIRROR_QUEUE] == number, what=f"{number} orders are told")


def test_each_late_order_is_told_once_as_soon_as_there_is_somebody_to_tell(world: World) -> None:
    world.has_run("payment", "worker")
    world.amqp(lambda channel: declare(channel, Topology(reads=(MIRROR_QUEUE,), only_late=True)))
    world.start("order")  # which has no SAGA_MIRROR_AFTER

    async def run() -> None:
        broker = Broker(world.amqp_url, name="test", topology=Topology(reads=()))
        database = Database(world.dsn("orders"), name="test")
        await database.open()
        running = [
            asyncio.create_task(broker.run()),
            asyncio.create_task(LateOrders(broker, database, LateEvents(AFTER)).run()),
        ]
        try:
            await asyncio.to_thread(stand_still)
        finally:
            for each in running:
                each.cancel()
            await asyncio.wait(running)
            await database.close()

    def stand_still() -> None:
        place(world, 5)
        told(world, 5)
        world.purge(MIRROR_QUEUE)
        place(world, 1)
        told(world, 1)
        world.amqp(lambda channel: channel.queue_delete(MIRROR_QUEUE))
        place(world, 3)
        until(lambda: "late_orders_not_told" in {each["event"] for each in logs}, what="nobody takes them")
        world.amqp(lambda channel: declare(channel, Topology(reads=(MIRROR_QUEUE,), only_late=True)))
        told(world, 3)

    with capture_logs() as logs:
        asyncio.run(run())
