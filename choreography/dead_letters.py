"""List, show, redrive and discard dead letters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from choreography import losses
from choreography.broker import connect_to_any
from choreography.confirms import ConfirmedPublishing
from choreography.headers import (
    ATTEMPT,
    DEAD_LETTER_ID,
    ERROR,
    FAILED_AT,
    FIRST_EXCHANGE,
    FIRST_FAILED_AT,
    FIRST_ROUTING_KEY,
    QUEUE,
    REASON,
)
from choreography.message import Outgoing
from choreography.topology import MIRROR_QUEUE, ORDER_QUEUE, PAYMENT_QUEUE, dead_letter_queue
from models.messages import MalformedMessage, decode

SERVICES = (ORDER_QUEUE, PAYMENT_QUEUE, MIRROR_QUEUE)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetterRecord:
    """A dead letter and why it is one; times are ISO 8601 UTC."""

    id: str
    queue: str
    reason: str
    error: str
    attempts: int
    exchange: str
    routing_key: str
    first_failed_at: str | None
    failed_at: str | None
    event_type: str | None
    event_id: str | None
    order_id: str | None
    body: bytes


Wanted: TypeAlias = Callable[[DeadLetterRecord], bool]


class DeadLetters:
    """The dead letters of all services at one broker or cluster; redriving or discarding some never loses another."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def all(self) -> list[DeadLetterRecord]:
        """All dead letters, by queue and oldest first; they stay where they are."""

        async def leave(_publishing: ConfirmedPublishing, _service: str, _message: AbstractIncomingMessage) -> None:
            """Closing the channel returns it."""

        return await self._each(lambda _: True, leave)

    async def redrive(self, wanted: Wanted) -> list[DeadLetterRecord]:
        """Send the wanted ones back to the queue they failed in, with a fresh count of attempts.

        Each is confirmed by its queue before it leaves the dead letters: interrupted or repeated, none is lost, and
        one that is delivered twice has its effect once. Raises BrokerUnavailable.
        """

        async def move(publishing: ConfirmedPublishing, service: str, message: AbstractIncomingMessage) -> None:
            (error,) = await publishing.publish([_again(service, message)], timeout=10)
            if error is not None:
                raise error
            await message.ack()

        return await self._each(wanted, move)

    async def discard(self, wanted: Wanted) -> list[DeadLetterRecord]:
        """Delete the wanted ones for good."""

        async def delete(_publishing: ConfirmedPublishing, _service: str, message: AbstractIncomingMessage) -> None:
            await message.ack()

        return await self._each(wanted, delete)

    async def _each(
        self, wanted: Wanted, act: Callable[[ConfirmedPublishing, str, AbstractIncomingMessage], Awaitable[None]]
    ) -> list[DeadLetterRecord]:
        records = []
        async with self._channel() as channel:
            publishing = ConfirmedPublishing(await channel.get_underlay_channel())
            for service in SERVICES:
                async for message in _messages(channel, service):
                    record = _record(service, message)
                    if wanted(record):
                        await act(publishing, service, message)
                        records.append(record)
        return records

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[AbstractChannel]:
        with losses.named():
            connection = await connect_to_any(self._url, timeout=5)
            async with connection:
                yield await connection.channel(publisher_confirms=True, on_return_raises=True)


async def _messages(channel: AbstractChannel, service: str) -> AsyncIterator[AbstractIncomingMessage]:
    """What the queue holds now, each once; whatever is not acknowledged returns when the channel closes."""
    queue = await channel.get_queue(dead_letter_queue(service), ensure=True)
    for _ in range(queue.declaration_result.message_count or 0):
        message = await queue.get(fail=False)
        if message is None:
            return
        yield message


def _again(service: str, message: AbstractIncomingMessage) -> Outgoing:
    headers = {name: value for name, value in message.headers.items() if name in (FIRST_EXCHANGE, FIRST_ROUTING_KEY)}
    return Outgoing(
        body=message.body,
        exchange="",
        routing_key=service,
        message_id=message.message_id or "",
        correlation_id=message.correlation_id,
        headers=headers,
    )


def _record(service: str, message: AbstractIncomingMessage) -> DeadLetterRecord:
    headers: dict[str, Any] = dict(message.headers)
    try:
        envelope = decode(message.body, correlation_id=message.correlation_id)
    except MalformedMessage:
        envelope = None
    return DeadLetterRecord(
        id=str(headers.get(DEAD_LETTER_ID) or message.message_id or message.delivery_tag),
        queue=str(headers.get(QUEUE, service)),
        # Without our headers it was the broker that gave up on it.
        reason=str(headers.get(REASON, "REDELIVERED")),
        error=str(headers.get(ERROR, "the broker returned it too often")),
        attempts=int(headers.get(ATTEMPT, 1)),
        exchange=str(headers.get(FIRST_EXCHANGE, message.exchange or "")),
        routing_key=str(headers.get(FIRST_ROUTING_KEY, message.routing_key or "")),
        first_failed_at=headers.get(FIRST_FAILED_AT),
        failed_at=headers.get(FAILED_AT),
        event_type=envelope.event_type if envelope else None,
        event_id=str(envelope.event_id) if envelope else None,
        order_id=envelope.order_id if envelope else None,
        body=message.body,
    )
