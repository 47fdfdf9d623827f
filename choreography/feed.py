"""Hand the events of single orders to whoever watches them, as they are published; nothing is kept."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias
from uuid import UUID

import msgspec
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError
from aiormq.abc import DeliveredMessage

from choreography.broker import BrokerUnavailable
from models.messages import ORDERS_EXCHANGE, PAYMENTS_EXCHANGE, Envelope, MalformedMessage, decode

log = structlog.get_logger()

# `order.*` covers every event and neither command: those have one word more.
_BINDINGS: Final = ((ORDERS_EXCHANGE, "order.*"), (PAYMENTS_EXCHANGE, "payment.*"))
_BROKER_ERRORS: Final = (AMQPError, OSError, TimeoutError, RuntimeError)


class _Closed:
    """The feed was closed: there will be no more."""


_Item: TypeAlias = Envelope | _Closed | None


class _Payload(msgspec.Struct, rename="camel"):
    order_id: str = ""


class _Glance(msgspec.Struct):
    """As much of an envelope as tells whether anybody watches its order."""

    payload: _Payload


_glance: Final = msgspec.json.Decoder(_Glance)


class Subscription(AsyncIterator[Envelope | None]):
    """One watcher's events; None says that some may have been missed. Giving up a wait loses nothing."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[_Item] = asyncio.Queue()

    def put(self, item: _Item) -> None:
        self._items.put_nowait(item)

    async def __anext__(self) -> Envelope | None:
        item = await self._items.get()
        if isinstance(item, _Closed):
            self._items.put_nowait(item)
            raise StopAsyncIteration
        return item


class Feed:
    """A queue of its own at the broker, which exists only while somebody is subscribed.

    Hand `on_connect` to the Broker whose connection it is to use. After a lost connection every subscription gets a
    None: what was published meanwhile is in the event logs.
    """

    def __init__(self, *, linger: float = 3.0) -> None:
        self._linger = linger  # seconds that the queue outlives its last subscription
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()
        self._subscriptions: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._farewell: asyncio.Task[None] | None = None

    async def on_connect(self, connection: AbstractConnection) -> None:
        """Use this connection from now on, and tell every subscription that there may be a gap."""
        self._connection = connection
        self._channel = None
        if self._subscriptions:
            async with self._opening:
                await self._open()
        self._broadcast(None)

    @asynccontextmanager
    async def subscribe(self, order_id: UUID) -> AsyncIterator[Subscription]:
        """An order's events: once entered, every later one arrives. Raises BrokerUnavailable."""
        key = str(order_id)
        subscription = Subscription()
        self._subscriptions[key].add(subscription)
        try:
            await self._ensure_open()
            yield subscription
        finally:
            self._subscriptions[key].discard(subscription)
            if not self._subscriptions[key]:
                del self._subscriptions[key]
            if not self._subscriptions:
                self._farewell = asyncio.create_task(self._close_when_idle())

    async def close(self) -> None:
        """End every subscription, and give the queue up."""
        self._broadcast(_Closed())
        await self._drop()

    async def _ensure_open(self) -> None:
        async with self._opening:
            if self._channel is not None and not self._channel.is_closed:
                return
            try:
                await self._open()
            except _BROKER_ERRORS as error:
                raise BrokerUnavailable(f"RabbitMQ gave no queue for the feed: {error}") from error

    async def _open(self) -> None:
        connection = self._connection
        if connection is None or connection.is_closed:
            raise BrokerUnavailable("there is no connection to RabbitMQ")
        channel = await connection.channel(publisher_confirms=False)
        queue = await channel.declare_queue(exclusive=True, auto_delete=True, durable=False)
        for exchange, routing_key in _BINDINGS:
            await queue.bind(exchange, routing_key)
        channel.close_callbacks.add(self._on_channel_closed)
        # aiormq's own consumer: every event of every order comes by here, and most are of no interest.
        underlay = await channel.get_underlay_channel()
        await underlay.basic_consume(queue.name, self._on_message, no_ack=True, exclusive=True)
        self._channel = channel

    async def _on_message(self, message: DeliveredMessage) -> None:
        try:
            watchers = self._subscriptions.get(_glance.decode(message.body).payload.order_id)
            event = decode(message.body) if watchers else None
        except (msgspec.DecodeError, UnicodeDecodeError, MalformedMessage):
            return  # what nobody can read, the services dead-letter; there is nothing to show
        for watcher in watchers or ():
            watcher.put(event)

    def _on_channel_closed(self, channel: AbstractChannel, *_: object) -> None:
        if channel is self._channel:
            self._channel = None
            log.warning("feed_interrupted")

    def _broadcast(self, item: _Item) -> None:
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.put(item)

    async def _close_when_idle(self) -> None:
        await asyncio.sleep(self._linger)
        async with self._opening:
            if not self._subscriptions:
                await self._drop()

    async def _drop(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            with suppress(*_BROKER_ERRORS):
                await asyncio.wait_for(channel.close(), 2)
