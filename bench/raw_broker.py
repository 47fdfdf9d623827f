"""The ceiling of RabbitMQ: the messages of sagas, confirmed, consumed and acknowledged, and nothing else done."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final
from uuid import uuid4

import aio_pika
import uvloop
from aiormq.abc import AbstractChannel, DeliveredMessage

from bench.paid_saga import paid_saga
from choreography.acknowledgements import Acknowledgements
from choreography.confirms import ConfirmedPublishing
from choreography.outgoing_message import OutgoingMessage, as_message
from embedded.errors import StackError
from models.message_types import ORDERS_EXCHANGE, PAYMENTS_EXCHANGE, EventType

# What a saga that ends PAID publishes; each exchange and queue has a twin of its own, bound as the services' are.
_TWINS: Final[Mapping[str, str]] = {ORDERS_EXCHANGE: "bench.orders", PAYMENTS_EXCHANGE: "bench.payments"}
_QUEUES: Final[Mapping[str, Sequence[tuple[str, str]]]] = {
    "bench.order-service": (("bench.orders", "order.create.requested"), ("bench.payments", "payment.approved")),
    "bench.payment-service": (("bench.orders", "order.created"),),
}
PUBLISHED: Final = 4  # messages a saga
_CONSUMED: Final = 3  # of them: nobody but the mirror awaits order.paid
_AT_ONCE: Final = 300  # messages that wait for their confirm together, as many as a batch of the services
_PREFETCH: Final = 5000
_PATIENCE: Final = 30.0  # seconds


class BrokerCeilingFailed(StackError):
    """Not every message was confirmed, or not every one arrived."""


async def sagas_per_second(url: str, *, seconds: float) -> float:
    """How many sagas' messages a second are published, confirmed, consumed and acknowledged: two processes, as lean
    as ours. Raises BrokerCeilingFailed.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.raw_broker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if process.stdin is None or process.stdout is None:
        raise BrokerCeilingFailed("The consuming process has no pipes")
    try:
        # By its input, not on its command line, which anybody may read: the URL has a password.
        process.stdin.write(f"{url}\n".encode())
        async with _connected(url) as connection:
            await _declare(connection)
            if await process.stdout.readline() != b"ready\n":
                raise BrokerCeilingFailed("The consuming process does not consume")
            began = time.monotonic()
            sagas = await _publish(connection, seconds)
            process.stdin.write(f"{sagas * _CONSUMED}\n".encode())
            async with asyncio.timeout(_PATIENCE):
                told = await process.stdout.readline()
            if told != b"all\n":
                raise BrokerCeilingFailed("Not every message of the ceiling's has arrived")
            return sagas / (time.monotonic() - began)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        async with _connected(url) as connection:
            await _delete(connection)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AbstractChannel]:
    connection = await aio_pika.connect(url, timeout=5)
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        yield await channel.get_underlay_channel()


async def _declare(channel: AbstractChannel) -> None:
    for exchange in _TWINS.values():
        await channel.exchange_declare(exchange, exchange_type="topic", durable=True)
    for queue, bindings in _QUEUES.items():
        await channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        for exchange, routing_key in bindings:
            await channel.queue_bind(queue, exchange, routing_key)


async def _delete(channel: AbstractChannel) -> None:
    for queue in _QUEUES:
        await channel.queue_delete(queue)
    for exchange in _TWINS.values():
        await channel.exchange_delete(exchange)


async def _publish(channel: AbstractChannel, seconds: float) -> int:
    """Publish the messages of one saga after another, with pipelined confirms; how many sagas that were."""
    publishing = ConfirmedPublishing(channel)
    messages = saga_messages()
    deadline, sagas = time.monotonic() + seconds, 0
    each = _AT_ONCE // PUBLISHED
    under_way: set[asyncio.Task[None]] = set()
    while time.monotonic() < deadline:
        # Two batches at a time: while one waits for its confirms, the next is on its way.
        under_way.add(asyncio.create_task(_confirmed(publishing, messages * each)))
        sagas += each
        if len(under_way) == 2:
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    await asyncio.gather(*under_way)
    return sagas


async def _confirmed(publishing: ConfirmedPublishing, messages: Sequence[OutgoingMessage]) -> None:
    fresh = [replace(message, message_id=str(uuid4())) for message in messages]
    for error in await publishing.publish(fresh, timeout=_PATIENCE):
        if error is not None:
            raise BrokerCeilingFailed(f"A message of the ceiling's was not confirmed: {error}")


def saga_messages() -> list[OutgoingMessage]:
    """The messages that a saga publishes until it is PAID, for the twin exchanges."""
    return [
        replace(
            message := as_message(envelope),
            exchange=_TWINS[message.exchange],
            mandatory=envelope.event_type != EventType.ORDER_PAID,
        )
        for envelope in paid_saga()
    ]


async def _consume() -> None:
    """The consuming process: it reads the URL, then how many messages are to come, and tells when all have."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    url = (await lines.readline()).decode().strip()
    counted = _Counted()
    async with _connected(url) as channel:
        await _declare(channel)
        acknowledgements = Acknowledgements(channel)

        async def on_message(message: DeliveredMessage) -> None:
            acknowledgements.settle(acknowledgements.received(message))
            counted.add()

        await channel.basic_qos(prefetch_count=_PREFETCH)
        for queue in _QUEUES:
            await channel.basic_consume(queue, on_message)
        print("ready", flush=True)
        await counted.wait(int(await lines.readline()))
        print("all", flush=True)
        await lines.read()  # until the other process hangs up


class _Counted:
    def __init__(self) -> None:
        self._number = 0
        self._wanted: int | None = None
        self._all = asyncio.Event()

    def add(self) -> None:
        self._number += 1
        if self._number == self._wanted:
            self._all.set()

    async def wait(self, number: int) -> None:
        self._wanted = number
        if self._number < number:
            await self._all.wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as _runner:
        _runner.run(_consume())
