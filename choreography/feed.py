"""Hand events to those who watch their order, or all orders, as they are published. The feed stores nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID, uuid4

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue
from aiormq.abc import DeliveredMessage

from choreography import connection_errors
from choreography.outgoing_message import BrokerUnavailable
from choreography.topology import EVERY_EVENT, FEED_QUEUES
from choreography.undecodable import undecodable
from models.messages import Envelope, MalformedMessage, decode
from models.partial_envelope import read_partially

log = structlog.get_logger()

_PAUSE: Final = 1.0  # seconds between tries to get the queue back


class _Closed:
    """Says that the feed was closed and no event follows."""


_News: TypeAlias = Envelope | _Closed | None


class Watcher(AsyncIterator[Envelope | None]):
    """One watcher's events. None says that events may have been missed. Giving up a wait loses no event."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[_News] = asyncio.Queue()

    def put(self, item: _News) -> None:
        self._items.put_nowait(item)

    async def __anext__(self) -> Envelope | None:
        item = await self._items.get()
        if isinstance(item, _Closed):
            self._items.put_nowait(item)
            raise StopAsyncIteration
        return item


class Listener(Protocol):
    """Is told of every order's events, at once and in the order of their arrival: what it does must be quick."""

    def heard(self, event: Envelope) -> None:
        """An event was published."""

    def missed(self) -> None:
        """Events may have been missed: the connection was interrupted."""

    def closed(self) -> None:
        """The feed was closed and no event follows."""


class Feed:
    """Reads events from a queue of its own, which exists only while somebody is subscribed.

    Hand `on_connect` to the Broker whose connection the feed is to use. After an interruption every subscription gets
    None: the events of that time are in the event logs.
    """

    def __init__(self, *, linger: float = 3.0, bind_every: float = 30.0) -> None:
        self._linger = linger  # seconds for which the queue outlives its last subscription
        self._bind_every = bind_every  # seconds; a deleted exchange loses its bindings
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._opening: asyncio.Task[Exception | None] | None = None
        self._watchers: dict[UUID, set[Watcher]] = {}
        self._listeners: list[Listener] = []
        self._background: set[asyncio.Task[None]] = set()

    async def on_connect(self, connection: AbstractConnection) -> None:
        """Use this connection from now on, and tell every subscription that events may be missing."""
        self._connection = connection
        self._channel = None
        self._opening = None  # what was being opened on the earlier connection fails by itself
        try:
            if self._wanted:
                await self._ensure_open()
        except BrokerUnavailable as error:
            raise ConnectionError(str(error)) from error  # the Broker then makes a new connection
        self._tell_of_gap()

    @asynccontextmanager
    async def subscribe(self, order_id: UUID) -> AsyncIterator[Watcher]:
        """Watch an order: every event that is published inside the context arrives. Raises BrokerUnavailable."""
        watcher = Watcher()
        self._watchers.setdefault(order_id, set()).add(watcher)
        try:
            await self._ensure_open()
            yield watcher
        finally:
            watchers = self._watchers[order_id]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[order_id]
            self._close_if_idle()

    @asynccontextmanager
    async def listen(self, listener: Listener) -> AsyncIterator[None]:
        """Tell this listener of every event that is published inside the context. Raises BrokerUnavailable."""
        self._listeners.append(listener)
        try:
            await self._ensure_open()
            yield
        finally:
            self._listeners.remove(listener)
            self._close_if_idle()

    async def close(self) -> None:
        """End every subscription and give up the queue."""
        self._broadcast(_Closed())
        for listener in self._listeners:
            listener.closed()
        for task in self._background:
            task.cancel()
        await self._drop()

    @property
    def _wanted(self) -> bool:
        return bool(self._watchers or self._listeners)

    async def _ensure_open(self) -> None:
        if self._channel is not None:
            return
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._try_open())
        # Shielded: if one subscriber gives up, the channel must still be opened for the others.
        error = await asyncio.shield(self._opening)
        if error is not None:
            raise BrokerUnavailable(f"RabbitMQ gave no queue to watch events with: {error}") from error

    async def _try_open(self) -> Exception | None:
        connection = self._connection
        if connection is None or connection.is_closed:
            return BrokerUnavailable("there is no connection")
        try:
            with connection_errors.named():
                channel = await self._open(connection)
        except connection_errors.LOST as error:
            return error
        if connection is not self._connection:
            return BrokerUnavailable("the connection was lost")
        self._channel = channel
        return None

    async def _open(self, connection: AbstractConnection) -> AbstractChannel:
        channel = await connection.channel(publisher_confirms=False)
        channel.close_callbacks.add(self._on_channel_closed)
        queue = await channel.declare_queue(f"{FEED_QUEUES}.{uuid4()}", exclusive=True, auto_delete=True, durable=False)
        await _bind(queue)
        # aiormq's own consumer, which is cheaper: every event of every order arrives here, and few are wanted.
        underlay = await channel.get_underlay_channel()

        async def close() -> None:
            with suppress(*connection_errors.LOST), connection_errors.named():
                await channel.close()

        # RabbitMQ cancels the consumer of a deleted queue. Close the channel in a task of its own: the channel's reader
        # calls us, and only it can receive the answer.
        underlay.on_consumer_cancel_callbacks.add(lambda _: self._in_background(close()))
        await underlay.basic_consume(queue.name, self._on_message, no_ack=True, exclusive=True)
        self._in_background(self._keep_bound(channel, queue))
        return channel

    async def _keep_bound(self, channel: AbstractChannel, queue: AbstractQueue) -> None:
        """Bind repeatedly, because RabbitMQ does not report a missing binding, and have watchers look for a gap."""
        while True:
            await asyncio.sleep(self._bind_every)
            if channel.is_closed or channel is not self._channel:
                return
            with suppress(*connection_errors.LOST), connection_errors.named():
                await _bind(queue)
                self._broadcast(None)

    async def _on_message(self, message: DeliveredMessage) -> None:
        if undecodable(message) is not None:
            return  # a service or the worker makes it a dead letter
        try:
            watchers = self._watchers.get(read_partially(message.body).payload.order_id, ())
            if not (watchers or self._listeners):
                return
            event = decode(message.body, correlation_id=message.header.properties.correlation_id)
        except MalformedMessage:
            return  # the services make it a dead letter; there is nothing to show
        for watcher in watchers:
            watcher.put(event)
        for listener in self._listeners:
            listener.heard(event)

    def _on_channel_closed(self, channel: AbstractChannel | None, error: BaseException | None) -> None:
        if channel is not None and channel is self._channel:
            self._channel = None
            log.warning("feed_interrupted", error=str(error))
            self._in_background(self._recover())

    async def _recover(self) -> None:
        # Without a connection, `on_connect` opens the channel later. With one, an exchange may be missing for a moment.
        while self._wanted and self._connection is not None and not self._connection.is_closed:
            with suppress(BrokerUnavailable):
                await self._ensure_open()
                self._tell_of_gap()
                return
            await asyncio.sleep(_PAUSE)

    def _tell_of_gap(self) -> None:
        self._broadcast(None)
        for listener in self._listeners:
            listener.missed()

    def _broadcast(self, item: _News) -> None:
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.put(item)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _close_if_idle(self) -> None:
        if not self._wanted:
            self._in_background(self._close_when_idle())

    async def _close_when_idle(self) -> None:
        await asyncio.sleep(self._linger)
        if not self._wanted:
            await self._drop()

    async def _drop(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            with suppress(*connection_errors.LOST), connection_errors.named():
                await asyncio.wait_for(channel.close(), 2)


async def _bind(queue: AbstractQueue) -> None:
    for exchange, routing_key in EVERY_EVENT:
        await queue.bind(exchange, routing_key)
