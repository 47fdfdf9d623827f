"""Feed mirrors from their queue, an order at a time; events wait at the broker while Temporal is away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.abc import DeliveredMessage
from temporalio.service import RPCError, RPCStatusCode

from activities.faults import crash_point
from choreography.acknowledgements import Acknowledgements
from choreography.broker import Broker, stop_consuming
from choreography.message import BrokerUnavailable
from choreography.setting_aside import dead_letter
from choreography.topology import MIRROR_QUEUE
from choreography.undecodable import check_decoded
from models.messages import MalformedMessage, check_depth
from models.saga import Coordinator
from models.texts import correlation_of
from workflows.mirror_arrivals import Arrivals
from workflows.pace import Pace, PaceLog

log = structlog.get_logger()

_LARGEST_EVENT: Final = 256 * 1024  # bytes; ours have a few hundred
_FIRST_PAUSE: Final = 0.1  # seconds
_LONGEST_PAUSE: Final = 5.0  # seconds
_MOST_REFUSALS: Final = 8
_ACKNOWLEDGED_WITHIN: Final = 0.1  # seconds


class Mirrors(Protocol):
    async def record(self, order_id: str, events: Sequence[dict[str, Any]]) -> None:
        """Have the order's mirror take note of these events; raises what Temporal raises."""


class Repair(Protocol):
    async def __call__(self) -> None:
        """Put right what Temporal may miss, after it has refused something."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Delivery:
    message: DeliveredMessage
    acknowledgements: Acknowledgements
    tag: int
    event: dict[str, Any] = field(default_factory=dict)


class _Payload(msgspec.Struct, rename="camel"):
    order_id: UUID


class _Glance(msgspec.Struct, rename="camel"):
    """As much of an envelope as says whose it is: types that we don't know are for the mirror to note."""

    event_id: str
    event_type: str
    payload: _Payload
    correlation_id: str | None = None
    coordinator: Coordinator | None = None


_glance: Final = msgspec.json.Decoder(_Glance)
_event: Final = msgspec.json.Decoder(dict[str, Any])


class MirrorFeed:
    """Acknowledges an event once its mirror is sure to know it.

    What arrives for an order within `gather` seconds goes in one call, so that a mirror is told most of its story at
    once. As many orders as help are told at the same time, at most `concurrency`, the longest-waiting first: Pace says
    how many. At most `prefetch` events are held; the rest waits in the queue. While Temporal is away the events are
    held, and tried again with growing pauses.
    """

    def __init__(
        self,
        broker: Broker,
        mirrors: Mirrors,
        *,
        repair: Repair,
        prefetch: int = 1000,
        concurrency: int = 32,
        gather: float = 0.25,
    ) -> None:
        self._broker = broker
        self._mirrors = mirrors
        self._repair = repair
        self._prefetch = prefetch
        self._pace = Pace(most=concurrency)
        self._channel: AbstractChannel | None = None
        self._tag = ""
        self._arrivals: Arrivals[_Delivery] = Arrivals(gather=gather)
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._waking: asyncio.TimerHandle | None = None
        self._rests_until = 0.0  # the loop's clock
        self._draining = False
        self._said = PaceLog()
        self.trouble: str | None = None  # what Temporal last refused with, until it takes something again
        broker.on_connect(self._attach)

    @property
    def consuming(self) -> bool:
        return self._channel is not None and not self._channel.is_closed and self._broker.connected

    async def _attach(self, connection: AbstractConnection) -> None:
        if self._draining:
            return
        self._arrivals.clear()  # what came by an earlier connection comes again by this one
        channel = await connection.channel(publisher_confirms=False)
        channel.close_callbacks.add(self._broker.lose)
        await channel.set_qos(prefetch_count=self._prefetch)
        underlay = await channel.get_underlay_channel()
        # The broker cancels a consumer whose queue is gone: reconnecting declares the queue anew.
        underlay.on_consumer_cancel_callbacks.add(self._broker.lose)
        self._channel = channel
        handle = partial(self._on_delivery, Acknowledgements(underlay, pause=_ACKNOWLEDGED_WITHIN))
        self._tag = str((await underlay.basic_consume(MIRROR_QUEUE, handle)).consumer_tag)

    async def drain(self, timeout: float) -> None:
        """Take nothing new, and finish within `timeout` seconds the calls under way; the rest comes again."""
        self._draining = True
        self._arrivals.clear()
        deadline = asyncio.get_running_loop().time() + timeout
        if self._channel is not None and self.consuming:
            await stop_consuming(self._channel, self._tag, within=timeout)
        if self._telling:
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            await asyncio.wait(self._telling.values(), timeout=left)
        await asyncio.sleep(_ACKNOWLEDGED_WITHIN)  # so that what was told doesn't come again

    async def _on_delivery(self, acknowledgements: Acknowledgements, message: DeliveredMessage) -> None:
        delivery = _Delivery(message=message, acknowledgements=acknowledgements, tag=acknowledgements.received(message))
        try:
            check_decoded(message)
            glance = _glance.decode(message.body)
            event = _event.decode(message.body)
            check_depth(message.body, event)
            # What a mirror is told is all that it will ever know: properties don't come along.
            traced_by = message.header.properties.correlation_id
            event["correlationId"] = correlation_of(glance.correlation_id, traced_by, glance.event_id)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, MalformedMessage) as error:
            await self._set_aside(delivery, "MALFORMED", f"not an event: {error}")
            return
        if len(message.body) > _LARGEST_EVENT:
            await self._set_aside(delivery, "MALFORMED", f"{len(message.body)} bytes are too many for a mirror")
            return
        if glance.coordinator is Coordinator.ORCHESTRATION:
            self._acknowledge(delivery)  # its workflow needs no mirror
            return
        order_id = str(glance.payload.order_id)
        now = asyncio.get_running_loop().time()
        self._arrivals.add(order_id, replace(delivery, event=event), size=len(message.body), now=now)
        self._tell_more()

    def _tell_more(self) -> None:
        loop = asyncio.get_running_loop()
        if self._draining or len(self._telling) >= self._pace.at_once:
            return
        if self._rests_until > loop.time():
            self._wake_at(self._rests_until)
            return
        free = islice(self._arrivals.besides(self._telling), self._pace.at_once - len(self._telling))
        for order_id, ripe_at in list(free):
            if ripe_at > loop.time():
                self._wake_at(ripe_at)
                return
            task = asyncio.create_task(self._tell(order_id, self._arrivals.take(order_id)))
            self._telling[order_id] = task
            task.add_done_callback(lambda _, order_id=order_id: self._told(order_id))  # type: ignore[misc]

    def _wake_at(self, when: float) -> None:
        if self._waking is None:
            self._waking = asyncio.get_running_loop().call_at(when, self._wake)

    def _wake(self) -> None:
        self._waking = None
        self._tell_more()

    def _told(self, order_id: str) -> None:
        del self._telling[order_id]
        self._tell_more()

    async def _tell(self, order_id: str, deliveries: Sequence[_Delivery]) -> None:
        pause, refusals = _FIRST_PAUSE, 0
        events = [delivery.event for delivery in deliveries]
        loop = asyncio.get_running_loop()
        while not (self._draining or deliveries[-1].message.channel.is_closed):
            began = loop.time()
            try:
                await self._mirrors.record(order_id, events)
            except Exception as error:  # whatever it is, the events must not be lost
                self._note_trouble(order_id, error)
                refusals += not _away(error)
                if refusals >= _MOST_REFUSALS:
                    for delivery in deliveries:
                        await self._set_aside(delivery, "FAILED", f"{type(error).__name__}: {error}")
                    return
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
                pause = min(pause * 2, _LONGEST_PAUSE)
                if not _away(error):
                    await self._try_repair()
            else:
                self._note_success(loop.time() - began, loop.time())
                crash_point("mirror.told")
                for delivery in deliveries:
                    self._acknowledge(delivery)
                return

    async def _try_repair(self) -> None:
        try:
            await self._repair()
        except Exception as error:  # the next attempt will tell whether it is still needed
            log.warning("mirror_repair_failed", error=str(error))

    def _note_trouble(self, order_id: str, error: Exception) -> None:
        told = f"{type(error).__name__}: {error}"
        if self.trouble is None or not _away(error):
            log.warning("mirror_not_told", order_id=order_id, error=told)
        self.trouble = told

    def _note_success(self, seconds: float, now: float) -> None:
        if self.trouble is not None:
            log.info("mirrors_told_again")
        self.trouble = None
        self._rests_until = now + self._pace.took(seconds, under_way=len(self._telling), now=now)
        self._said.note(self._pace, waiting=len(self._arrivals), now=now)

    async def _set_aside(self, delivery: _Delivery, reason: str, error: str) -> None:
        """Store as a dead letter, then acknowledge: a crash in between repeats, never loses."""
        log.warning("message_dead_lettered", queue=MIRROR_QUEUE, reason=reason, error=error)
        try:
            letter = dead_letter(delivery.message, MIRROR_QUEUE, attempt=1, reason=reason, error=error)
            await self._broker.publish(letter)
        except BrokerUnavailable as unavailable:
            log.warning("message_not_set_aside", queue=MIRROR_QUEUE, error=str(unavailable))
            self._broker.lose(unavailable)  # not acknowledged, so it comes again when the connection does
        else:
            self._acknowledge(delivery)

    def _acknowledge(self, delivery: _Delivery) -> None:
        try:
            delivery.acknowledgements.settle(delivery.tag)
        except ConnectionError as error:
            log.info("mirror_event_left_unacknowledged", error=str(error))


def _away(error: Exception) -> bool:
    """Whether Temporal is away or overloaded, as opposed to refusing what it was asked."""
    if isinstance(error, RPCError):
        return error.status not in (
            RPCStatusCode.INVALID_ARGUMENT,
            RPCStatusCode.FAILED_PRECONDITION,
            RPCStatusCode.OUT_OF_RANGE,
            RPCStatusCode.UNIMPLEMENTED,
        )
    return isinstance(error, RuntimeError | OSError)  # a connection that was never made; a timeout
