"""Read a queue on every connection that the Broker makes, and settle each delivery after it was handled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias

import aiormq.abc
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.abc import ConsumerCallback, DeliveredMessage
from aiormq.exceptions import ConnectionInternalError

from choreography import connection_errors, setting_aside
from choreography.acknowledgements import Acknowledgements
from choreography.broker import Broker
from choreography.confirms import describe
from choreography.headers import OURS, TRACEPARENT
from choreography.outgoing_message import BrokerUnavailable, OutgoingMessage
from choreography.unconfirmed import does_nothing_for
from choreography.undecodable import check_decoded
from models.futures import forget_error

log = structlog.get_logger()

_ANSWERED_WITHIN = 10.0  # seconds, after which a queue that cannot be consumed counts as having no leader
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between tries to set a message aside

# What became of a delivery, by the names of choreography.disposition; and who is told of each, with its queue.
Settlement: TypeAlias = Literal["ack", "retry", "dead_letter"]
Settled: TypeAlias = Callable[[str, Settlement], None]


def tell_nobody(_queue: str, _settlement: Settlement) -> None:
    """For whoever counts no deliveries."""


class Delivery:
    """A message of a queue. It is ours until its channel closes; then RabbitMQ delivers it again."""

    __slots__ = ("_acknowledgements", "_broker", "_settled", "_settlement", "_tag", "message", "queue", "traceparent")

    def __init__(
        self,
        message: DeliveredMessage,
        queue: str,
        broker: Broker,
        acknowledgements: Acknowledgements,
        settled: Settled = tell_nobody,
    ) -> None:
        self.message = message
        self.queue = queue
        self._broker = broker
        self._acknowledgements = acknowledgements
        self._tag = acknowledgements.received(message)
        self._settled = settled
        self._settlement: Settlement = "ack"
        self.traceparent: str | None = None  # the trace context of its handling, if that is traced

    @property
    def body(self) -> bytes:
        return self.message.body

    @property
    def correlation_id(self) -> str | None:
        """The correlation id in the message's property; its body may have another one."""
        correlation_id: str | None = self.message.header.properties.correlation_id
        return correlation_id

    @property
    def headers(self) -> dict[str, Any]:
        return self.message.header.properties.headers or {}

    @property
    def is_fresh(self) -> bool:
        """Whether the message shows no sign that it was delivered before, replayed or redriven."""
        return not (self.message.redelivered or any(name.startswith(OURS) for name in self.headers))

    @property
    def is_ours(self) -> bool:
        return not self.message.channel.is_closed

    def check_decoded(self) -> None:
        """Raise MalformedMessage if the driver could not decode the message."""
        check_decoded(self.message)

    def acknowledge(self) -> None:
        """Acknowledge the message. Raises ConnectionError if it is not ours any more."""
        self._acknowledgements.settle(self._tag)
        self._settled(self.queue, self._settlement)

    async def retry(self, *, attempt: int, delay: float, error: str) -> None:
        """Store the message in a queue where it waits `delay` seconds for its next attempt. Raises as `dead_letter`."""
        await self._store(setting_aside.retry(self.message, self.queue, attempt=attempt, delay=delay, error=error))
        self._settlement = "retry"

    async def dead_letter(self, *, reason: str, error: str, attempt: int = 1) -> None:
        """Store the message as a dead letter. On return it can be acknowledged; a crash before that repeats this.

        This tries for as long as the message is ours. Raises ConnectionError if it is not ours any more.
        """
        letter = setting_aside.dead_letter(self.message, self.queue, attempt=attempt, reason=reason, error=error)
        await self._store(letter)
        self._settlement = "dead_letter"

    async def _store(self, elsewhere: OutgoingMessage) -> None:
        if self.traceparent is not None:
            elsewhere = replace(elsewhere, headers={**elsewhere.headers, TRACEPARENT: self.traceparent})
        pause = _FIRST_PAUSE
        while self.is_ours:
            try:
                return await self._broker.publish(elsewhere)
            except BrokerUnavailable as error:
                to = elsewhere.routing_key
                log.warning("message_not_set_aside", queue=self.queue, to=to, error=str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        raise ConnectionError("the channel was closed before the message could be set aside")


Handle: TypeAlias = Callable[[Delivery], Awaitable[None]]


class Subscription:
    """Calls `handle` for each message of a queue, each in a task of its own. At most `prefetch` are ours at once.

    If `handle` fails because the connection is lost, the message comes again with the next connection. `renew` is
    called before each connection is used. Acknowledgements leave together, up to `pause` seconds late. `settled`
    is called for each delivery that is done with.
    """

    def __init__(
        self,
        broker: Broker,
        queue: str,
        handle: Handle,
        *,
        prefetch: int,
        pause: float = 0.0,
        renew: Callable[[], None] | None = None,
        settled: Settled = tell_nobody,
    ) -> None:
        self._broker = broker
        self._queue = queue
        self._handle = handle
        self._prefetch = prefetch
        self._pause = pause
        self._renew = renew
        self._settled = settled
        self._channel: AbstractChannel | None = None
        self._acknowledgements: Acknowledgements | None = None
        self._tag = ""
        self._silent = False  # whether its queue gave no answer when it was last asked
        self._handling: set[asyncio.Task[Any]] = set()
        self._ended = False
        broker.on_connect(self._attach)

    @property
    def standing(self) -> str:
        """`ok` if the queue is read; else the reason why not, as a sentence for an operator."""
        if self._silent:
            return does_nothing_for(self._queue)
        if not self._broker.connected or self._consuming:
            return self._broker.standing
        return "connected, but not consuming"

    @property
    def held(self) -> int:
        """How many messages are ours: delivered, and not settled yet."""
        return self._acknowledgements.open if self._acknowledgements is not None and self._consuming else 0

    @property
    def _consuming(self) -> bool:
        return self._channel is not None and not self._channel.is_closed

    async def _attach(self, connection: AbstractConnection) -> None:
        if self._ended:
            return
        if self._renew is not None:
            self._renew()
        channel = await connection.channel(publisher_confirms=False)
        channel.close_callbacks.add(self._broker.lose)
        await channel.set_qos(prefetch_count=self._prefetch)
        underlay = await channel.get_underlay_channel()
        # RabbitMQ cancels the consumer of a deleted queue. A new connection declares the queue again.
        underlay.on_consumer_cancel_callbacks.add(self._broker.lose)
        self._acknowledgements = Acknowledgements(underlay, pause=self._pause)
        self._tag = await self._consume(underlay, partial(self._on_delivery, self._acknowledgements))
        self._channel = channel

    async def _consume(self, channel: aiormq.abc.AbstractChannel, on_delivery: ConsumerCallback) -> str:
        """Have messages delivered; the tag by which to end that. Raises ConnectionError if RabbitMQ has no answer."""
        consuming = asyncio.ensure_future(channel.basic_consume(self._queue, on_delivery))
        consuming.add_done_callback(forget_error)
        # Given up, the request ends with its connection. If it were cancelled, the driver would wait for RabbitMQ.
        await asyncio.wait((consuming,), timeout=_ANSWERED_WITHIN)
        self._silent = not consuming.done() or isinstance(_error_of(consuming), ConnectionInternalError)
        if self._silent:
            log.error("queue_does_nothing", why=does_nothing_for(self._queue))
            raise ConnectionError(f"RabbitMQ gives nobody anything from {self._queue!r}")
        return str(consuming.result().consumer_tag)

    async def _on_delivery(self, acknowledgements: Acknowledgements, message: DeliveredMessage) -> None:
        delivery = Delivery(message, self._queue, self._broker, acknowledgements, self._settled)
        task = asyncio.current_task()
        if task is not None:
            self._handling.add(task)
            task.add_done_callback(self._handling.discard)
        try:
            await self._handle(delivery)
        except connection_errors.LOST as error:
            # The message is not acknowledged, so it comes again with the next connection.
            log.warning("delivery_left_unacknowledged", queue=self._queue, error=str(error))
            if delivery.is_ours:
                self._broker.lose(error)

    async def end(self, *, within: float) -> None:
        """Take no new message, and wait for the begun ones for `within` seconds. RabbitMQ delivers the others again."""
        self._ended = True
        deadline = asyncio.get_running_loop().time() + within
        if self._channel is not None and self._consuming and self._broker.connected:
            # Don't cancel this after the timeout: the driver would then ask a silent broker to close the channel.
            await asyncio.wait((asyncio.create_task(_cancel(self._channel, self._tag)),), timeout=within)
        if self._handling:
            await asyncio.wait(self._handling, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))


class Subscribe(Protocol):
    """Makes a Subscription to a queue that is fixed already."""

    def __call__(
        self, handle: Handle, *, prefetch: int, pause: float = 0.0, renew: Callable[[], None] | None = None
    ) -> Subscription: ...


def _error_of(done: asyncio.Future[Any]) -> BaseException | None:
    return asyncio.CancelledError() if done.cancelled() else done.exception()


async def _cancel(channel: AbstractChannel, tag: str) -> None:
    """Have RabbitMQ deliver no further message. Those that are on their way still arrive."""
    try:
        with connection_errors.named():
            await (await channel.get_underlay_channel()).basic_cancel(tag)
    except connection_errors.LOST as error:
        log.info("consumer_not_cancelled", error=describe(error))
