"""Publish on a channel on which every message is confirmed, returned or given up."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from aio_pika.exceptions import AMQPError, DeliveryError
from aiormq.abc import AbstractChannel, DeliveredMessage

from choreography.frames import FrameWriter, publish_frames
from choreography.outgoing_message import BrokerUnavailable, NotStored, NotTaken, OutgoingMessage, Unroutable
from choreography.traces import SendingTraces
from models.futures import forget_error


@dataclass(slots=True)
class _Copies:
    """The mandatory messages under way with one id, and whether RabbitMQ has returned any of them."""

    confirmations: list[asyncio.Future[Any]] = field(default_factory=list)
    returned: bool = False

    def one_is_returned(self) -> bool:
        self.returned = self.returned or any(map(_is_returned, self.confirmations))
        return self.returned


class ConfirmedPublishing:
    """Publishes on a channel in confirm mode. Nobody else may publish on that channel.

    It uses the channel's own bookkeeping (delivery tags, confirmations), without a task, lock or timer a message.
    """

    def __init__(self, channel: AbstractChannel, traces: SendingTraces | None = None) -> None:
        self._channel = cast(Any, channel)  # aiormq's Channel: the abstract class lacks the bookkeeping
        self._channel.on_return_raises = False  # a returned message is a result, not an error to be retrieved
        self._writer = FrameWriter(channel)
        self._traces = traces
        self._largest_body: int = self._channel.max_content_size
        self._under_way: dict[str, _Copies] = {}  # mandatory messages, by their ids
        self._channel.closing.add_done_callback(lambda _: self._give_up())

    async def publish(self, messages: Sequence[OutgoingMessage], *, timeout: float) -> list[BrokerUnavailable | None]:
        """Publish in this order. Returns for each message its error, or None if it is confirmed within `timeout` s."""
        if self._traces is None:
            return await self._publish(messages, timeout)
        with self._traces.sending(messages) as sending:
            sending.errors = errors = await self._publish(sending.messages, timeout)
        return errors

    async def _publish(self, messages: Sequence[OutgoingMessage], timeout: float) -> list[BrokerUnavailable | None]:
        sent = [self._send(message) for message in messages]
        waiting = [each for each in sent if isinstance(each, asyncio.Future)]
        try:
            if waiting:
                await asyncio.wait(waiting, timeout=timeout)
            return [
                self._outcome(message, each, timeout) if isinstance(each, asyncio.Future) else each
                for message, each in zip(messages, sent, strict=True)
            ]
        finally:
            for message, each in zip(messages, sent, strict=True):
                if isinstance(each, asyncio.Future):
                    self._forget(message.message_id, each)

    def _send(self, message: OutgoingMessage) -> asyncio.Future[Any] | BrokerUnavailable:
        channel = self._channel
        if channel.is_closed:
            return NotStored("the channel to RabbitMQ is closed")
        try:
            frames = publish_frames(channel.number, message, self._largest_body)
        except (TypeError, ValueError, OverflowError, struct.error) as error:
            # A message that AMQP can't carry fails alone. It must not stop the publisher.
            return NotStored(f"it cannot be written as an AMQP message: {describe(error)}")
        confirmation: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        channel.delivery_tag += 1
        channel.confirmations[channel.delivery_tag] = confirmation
        if message.mandatory:
            channel.message_id_delivery_tag[message.message_id] = channel.delivery_tag  # a returned message has no tag
            self._under_way.setdefault(message.message_id, _Copies()).confirmations.append(confirmation)
        self._writer.add(frames)
        return confirmation

    def _outcome(
        self, message: OutgoingMessage, confirmation: asyncio.Future[Any], timeout: float
    ) -> BrokerUnavailable | None:
        # Of several with one id, RabbitMQ does not say which it returns, and the driver takes it for the latest. The
        # return comes before the confirmation of the returned one.
        copies = self._under_way.get(message.message_id)
        if copies is not None and copies.one_is_returned():
            where = f"exchange {message.exchange!r} with routing key {message.routing_key!r}"
            return Unroutable(f"no queue is bound to {where}")
        return _outcome(confirmation, timeout)

    def _forget(self, message_id: str, confirmation: asyncio.Future[Any]) -> None:
        if not confirmation.cancel():  # it has arrived
            forget_error(confirmation)
        copies = self._under_way.get(message_id)
        if copies is not None and confirmation in copies.confirmations:
            copies.confirmations.remove(confirmation)
            if not copies.confirmations:
                del self._under_way[message_id]
                self._channel.message_id_delivery_tag.pop(message_id, None)

    def _give_up(self) -> None:
        for confirmation in self._channel.confirmations.values():
            if isinstance(confirmation, asyncio.Future) and not confirmation.done():
                confirmation.set_exception(ConnectionError("the channel was closed"))


def _is_returned(confirmation: asyncio.Future[Any]) -> bool:
    arrived = confirmation.done() and not confirmation.cancelled() and confirmation.exception() is None
    return arrived and isinstance(confirmation.result(), DeliveredMessage)


def _outcome(confirmation: asyncio.Future[Any], timeout: float) -> BrokerUnavailable | None:
    if not confirmation.done() or confirmation.cancelled():
        return NotTaken(f"RabbitMQ gave no confirm within {timeout:g} s")
    error = confirmation.exception()
    match error:
        case None:
            return None
        case DeliveryError():
            return NotTaken(f"RabbitMQ rejected the message: {describe(error)}")
        case AMQPError() | OSError() | TimeoutError() | RuntimeError():
            return BrokerUnavailable(f"RabbitMQ gave no confirm: {describe(error)}")
        case _:
            raise error


def describe(error: BaseException) -> str:
    """The error in a few words, for a log line or another error's text."""
    return f"{type(error).__name__}: {error}".rstrip(": ")
