"""Consume a service's queue: decode, react, and only then acknowledge; a failure is set aside, never in the way."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.abc import DeliveredMessage

from activities.book import Entry
from activities.faults import crash_point
from choreography import losses, setting_aside
from choreography.acknowledgements import Acknowledgements
from choreography.broker import Broker, stop_consuming
from choreography.disposition import Ack, DeadLetter, Disposition, RetryAfter, dispose
from choreography.headers import ATTEMPT, DELIVERY_COUNT, count_in
from choreography.message import BrokerUnavailable, Outgoing
from choreography.reactions import Reactions
from choreography.suspects import MOST_DEATHS, SUSPECTED_AFTER, Suspects
from choreography.undecodable import check_decoded
from models.messages import Envelope, MalformedMessage, decode, parse
from models.saga import Coordinator

log = structlog.get_logger()


class Consumer:
    """Handles up to `prefetch` messages of one queue at once; each is acknowledged after its effect is committed."""

    def __init__(self, broker: Broker, queue: str, reactions: Reactions, *, suspects: Suspects, prefetch: int) -> None:
        self._broker = broker
        self._queue = queue
        self._reactions = reactions
        self._suspects = suspects
        self._prefetch = prefetch
        self._delays = broker.topology.retry_delays
        self._channel: AbstractChannel | None = None
        self._tag = ""
        self._handling: set[asyncio.Task[Any]] = set()
        self._draining = False
        broker.on_connect(self._attach)

    @property
    def consuming(self) -> bool:
        return self._channel is not None and not self._channel.is_closed and self._broker.connected

    async def _attach(self, connection: AbstractConnection) -> None:
        if self._draining:
            return
        channel = await connection.channel(publisher_confirms=False)
        channel.close_callbacks.add(self._broker.lose)
        await channel.set_qos(prefetch_count=self._prefetch)
        underlay = await channel.get_underlay_channel()
        # The broker cancels a consumer whose queue is gone: reconnecting declares the queue anew.
        underlay.on_consumer_cancel_callbacks.add(self._broker.lose)
        self._channel = channel
        handle = partial(self._on_delivery, Acknowledgements(underlay))
        self._tag = str((await underlay.basic_consume(self._queue, handle)).consumer_tag)

    async def drain(self, timeout: float) -> None:
        """Take nothing new, and finish within `timeout` seconds what was begun; the rest will be redelivered."""
        self._draining = True
        deadline = asyncio.get_running_loop().time() + timeout
        if self._channel is not None and self.consuming:
            await stop_consuming(self._channel, self._tag, within=timeout)
        if self._handling:
            await asyncio.wait(self._handling, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))

    async def _on_delivery(self, acknowledgements: Acknowledgements, delivery: DeliveredMessage) -> None:
        tag = acknowledgements.received(delivery)
        task = asyncio.current_task()
        if task is not None:
            self._handling.add(task)
            task.add_done_callback(self._handling.discard)
        try:
            await self._handle(delivery)
            crash_point("consumer.settled")
            acknowledgements.settle(tag)
        except losses.LOST as error:
            # Not acknowledged, so it comes again when the connection does.
            log.warning("delivery_left_unacknowledged", queue=self._queue, error=str(error))
            self._broker.lose(error)

    async def _handle(self, delivery: DeliveredMessage) -> None:
        if count_in(delivery.header.properties.headers or {}, DELIVERY_COUNT, 0) <= SUSPECTED_AFTER:
            await self._settle(delivery, deaths=0)
            return
        async with self._suspects.handling(_place_and_body(delivery)) as deaths:
            if delivery.channel.is_closed:
                raise ConnectionError("the channel was closed before its turn came")
            await self._settle(delivery, deaths=deaths)

    async def _settle(self, delivery: DeliveredMessage, *, deaths: int) -> None:
        """React to it, or set it aside: then it may be acknowledged. `deaths` is how many processes it has ended."""
        attempt = count_in(delivery.header.properties.headers or {}, ATTEMPT, 1)
        envelope: Envelope | None = None
        try:
            if deaths >= MOST_DEATHS:
                why = f"{deaths} processes in a row ended while they handled this message"
                disposition: Disposition = DeadLetter(reason="REDELIVERED", error=why)
            else:
                check_decoded(delivery)
                envelope = decode(delivery.body, correlation_id=delivery.header.properties.correlation_id)
                disposition = dispose(await self._react(envelope, attempt), attempt, self._delays)
        except Exception as error:
            disposition = dispose(error, attempt, self._delays)
        if not isinstance(disposition, Ack):
            await self._set_aside(delivery, envelope, attempt, disposition)

    async def _react(self, envelope: Envelope, attempt: int) -> Any:
        if envelope.coordinator is Coordinator.ORCHESTRATION:
            return None  # published for whoever listens; the orchestrator has already sequenced what follows
        message = parse(envelope)
        step = self._reactions.get(type(message))
        if step is None:
            raise MalformedMessage(f"{envelope.event_type} has no reaction in {self._queue}; it was misrouted")
        entry = Entry(
            message=message,
            event_id=envelope.event_id,
            correlation_id=envelope.correlation_id,
            coordinator=envelope.coordinator,
        )
        return await step(entry, attempt > len(self._delays))

    async def _set_aside(
        self, delivery: DeliveredMessage, envelope: Envelope | None, attempt: int, disposition: RetryAfter | DeadLetter
    ) -> None:
        log.warning(
            "message_retried" if isinstance(disposition, RetryAfter) else "message_dead_lettered",
            queue=self._queue,
            event_type=envelope and envelope.event_type,
            order_id=envelope and envelope.order_id,
            correlation_id=envelope and envelope.correlation_id,
            attempt=attempt,
            error=disposition.error,
        )
        # Stored elsewhere before it is acknowledged here: a crash in between repeats, never loses.
        await self._store(self._elsewhere(delivery, attempt, disposition), delivery)

    async def _store(self, message: Outgoing, delivery: DeliveredMessage) -> None:
        """Publish, trying for as long as the delivery is ours; its neighbours go on meanwhile."""
        pause = 0.1
        while not delivery.channel.is_closed:
            try:
                return await self._broker.publish(message)
            except BrokerUnavailable as error:
                log.warning("message_not_set_aside", queue=self._queue, to=message.routing_key, error=str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
        raise ConnectionError("the channel was closed before the message could be set aside")

    def _elsewhere(self, delivery: DeliveredMessage, attempt: int, disposition: RetryAfter | DeadLetter) -> Outgoing:
        match disposition:
            case RetryAfter(delay=delay, error=error):
                return setting_aside.retry(delivery, self._queue, attempt=attempt, delay=delay, error=error)
            case DeadLetter(reason=reason, error=error):
                return setting_aside.dead_letter(delivery, self._queue, attempt=attempt, reason=reason, error=error)


def _place_and_body(delivery: DeliveredMessage) -> bytes:
    """What a delivery has in common with the others of the same message."""
    return b"\0".join(((delivery.exchange or "").encode(), (delivery.routing_key or "").encode(), delivery.body))
