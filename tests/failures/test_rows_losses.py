"""Connections that are lost again and again make no dead letters (docs/failures.md, row 38)."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from functools import partial
from signal import SIGKILL
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from activities import crash_points
from activities.book import Submission
from choreography.broker import Broker
from choreography.consumer import Consumer
from choreography.dead_letters import DeadLetterRecord, DeadLetters
from choreography.reactions import Reactions
from choreography.suspects import MOST_DEATHS, SUSPECTED_AFTER, Suspects
from choreography.topology import ORDER_QUEUE, PAYMENT_QUEUE, Topology, dead_letter_queue
from models.database import Database
from models.order import Order
from models.saga import Decision, OrderCancelRequested, Stale
from tests.chaos.proxy import Proxy
from tests.support.messages import ORDERS, cancel, create
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.long

LETTERS = dead_letter_queue(ORDER_QUEUE)


def test_38_messages_that_came_again_a_hundred_times_are_handled_as_if_they_came_first(world: World) -> None:
    world.start("order", "payment")
    world.terminate("order", "payment")
    ids = [str(uuid4()) for _ in range(100)]
    world.publish(*map(create, ids))
    return_all(world, ORDER_QUEUE, len(ids), times=100)
    world.start("order")
    until(lambda: orders(world) == len(ids), what="all orders are stored")
    return_all(world, PAYMENT_QUEUE, len(ids), times=100)
    world.start("payment")
    world.wait_at_rest(ids)
    assert world.dead_letters() == []
    for role in ("orders", "payments"):
        assert world.rows(role, "SELECT * FROM suspects") == []


def test_38_connections_lost_under_load_make_neither_dead_letters_nor_copies(world: World, broker_proxy: Proxy) -> None:
    world.start("order", "payment", provider_latency_ms=300)
    ids = [str(uuid4()) for _ in range(200)]
    for n in range(40):
        world.publish(*map(create, ids[5 * n : 5 * n + 5]))
        connected = world.log("order").count("broker_connected")
        broker_proxy.reset()
        until(partial(connected_again, world, connected), what="it connects anew")
    world.wait_at_rest(ids)
    assert world.dead_letters() == []
    lost = [line for line in world.log("order").splitlines() if "broker_connection_lost" in line]
    assert lost
    assert all("ConnectionResetError" in line for line in lost), "each names its cause"


def test_38_a_message_that_ends_every_process_is_a_dead_letter_and_its_neighbours_are_not(world: World) -> None:
    """Each time that a process dies, the neighbours of the message are under way, too."""
    consume_in_a_process(world)  # it declares the queues
    killer, *others = [str(uuid4()) for _ in range(9)]
    world.publish(*map(cancel, others[:4]), cancel(killer), *map(cancel, others[4:]))
    return_all(world, ORDER_QUEUE, 9, times=SUSPECTED_AFTER + 1)
    deaths = 0
    while consume_in_a_process(world, letters=1, killer=killer) == -SIGKILL:
        deaths += 1
        assert deaths <= MOST_DEATHS + 1
    assert deaths == MOST_DEATHS + 1  # the first one may have been its neighbours' doing
    (letter,) = world.dead_letters()
    assert (letter.order_id, letter.reason) == (killer, "REDELIVERED")
    assert world.rows("orders", "SELECT * FROM suspects") == []


def test_38_a_message_that_is_set_aside_again_because_its_answer_was_lost_is_one_dead_letter(world: World) -> None:
    consume_in_a_process(world)
    malformed = (ORDERS, "order.cancel.requested", b"not json")
    world.publish(malformed, malformed)
    for _ in range(3):
        assert consume_in_a_process(world, letters=99, crash_at="consumer.settled:2") == -SIGKILL
    assert depth(world, LETTERS) > 2
    assert consume_in_a_process(world, letters=depth(world, LETTERS) + 1) == 0
    letters = world.dead_letters()
    assert len(letters) == 2
    for letter in letters:
        asyncio.run(DeadLetters(world.amqp_url).discard(partial(is_same, letter)))
    until(lambda: depth(world, LETTERS) == 0, what="no copy is left")


def is_same(one: DeadLetterRecord, other: DeadLetterRecord) -> bool:
    return one.id == other.id


def consume_in_a_process(world: World, *, letters: int = 0, killer: str = "", crash_at: str = "") -> int | None:
    """Run the consumer of the order service in a process of its own until `letters` are dead. Returns its exit code.

    Each cancellation takes a moment, and that of the order `killer` kills the process.
    """

    async def react(entry: Submission, _last: bool) -> Decision[Order]:
        if str(entry.message.order_id) == killer:
            os.kill(os.getpid(), SIGKILL)
        await asyncio.sleep(0.1)  # as a provider would take
        return Stale(why="only its delivery is tested")

    async def consume() -> None:
        database = Database(world.dsn("orders"), name="test")
        await database.open()
        broker = Broker(world.amqp_url, name="test", topology=Topology(retry_delays=(0.1,)))
        reactions: Reactions = {OrderCancelRequested: react}
        consumer = Consumer(broker, ORDER_QUEUE, reactions, suspects=Suspects(database), prefetch=100)
        running = asyncio.create_task(broker.run())
        async with asyncio.timeout(60):
            while consumer.standing != "ok" or await asyncio.to_thread(depth, world, LETTERS) < letters:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await consumer.drain(30)
        running.cancel()
        await asyncio.wait([running])
        await database.close()

    def run() -> None:
        crash_points.arm(crash_at)
        asyncio.run(consume())

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(90)
    return process.exitcode


def connected_again(world: World, before: int) -> bool:
    return world.log("order").count("broker_connected") > before


def return_all(world: World, queue: str, count: int, *, times: int) -> None:
    """Take all messages of a queue and return them without an answer, as a lost connection does."""

    async def take() -> None:
        async with await aio_pika.connect(world.amqp_url) as connection:
            for _ in range(times):
                arrived: asyncio.Queue[object] = asyncio.Queue()
                channel = await connection.channel()
                await (await channel.get_queue(queue, ensure=False)).consume(arrived.put)
                for _ in range(count):
                    await asyncio.wait_for(arrived.get(), 20)
                await channel.close()

    asyncio.run(take())


def orders(world: World) -> int:
    found: int = world.rows("orders", "SELECT count(*) AS n FROM orders")[0]["n"]
    return found


def depth(world: World, queue: str) -> int:
    async def ask(channel: AbstractChannel) -> int:
        declared = await channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0

    found: int = world.amqp(ask)
    return found
