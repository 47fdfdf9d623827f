"""List, show, redrive and discard dead letters, whatever bytes they hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, TypeAlias
from uuid import uuid4

from aio_pika.abc import AbstractChannel
from aiormq.abc import AbstractChannel as Underlay
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from choreography import connection_errors
from choreography.confirms import ConfirmedPublishing
from choreography.connecting import connect_to_any
from choreography.headers import (
    ATTEMPT,
    DEAD_LETTER_ID,
    ERROR,
    FAILED_AT,
    FIRST_EXCHANGE,
    FIRST_FAILED_AT,
    FIRST_ROUTING_KEY,
    MESSAGE_ID,
    OPERATOR,
    PROPERTIES,
    QUEUE,
    REASON,
    REDELIVERED,
    REDRIVEN_AT,
    REDRIVES,
    TRACEPARENT,
    count_in,
    redrives_in,
    text_in,
    time_in,
)
from choreography.outgoing_message import OutgoingMessage
from choreography.readers import is_there
from choreography.topology import MIRROR_QUEUE, ORDER_QUEUE, PAYMENT_QUEUE, dead_letter_queue, own_exchange
from choreography.undecodable import undecodable
from models.messages import MalformedMessage, decode
from models.times import wire_time

SERVICES: Final = (ORDER_QUEUE, PAYMENT_QUEUE, MIRROR_QUEUE)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetterRecord:
    """A dead letter and the reason why it is one. Times are ISO 8601 in UTC."""

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
    properties: bytes | None = None  # the original flags and values, if they can't be decoded
    redriven: int = 0  # how often it was redriven, and failed again
    redriven_at: str | None = None  # the last time …
    redriven_by: str | None = None  # … by whom, if a name was given


Wanted: TypeAlias = Callable[[DeadLetterRecord], bool]
Act: TypeAlias = Callable[[Underlay, str, DeliveredMessage], Awaitable[None]]

_LONGEST_ERROR: Final = 10_000  # bytes
_PATIENCE: Final = 5.0  # seconds, with a broker that says nothing
_LOOKS: Final = 50  # at the queue, until it has back what was only read …
_BETWEEN_LOOKS: Final = 0.02  # … seconds apart


class DeadLetters:
    """The dead letters of all services at one broker or cluster. Redriving or discarding some never loses another.

    If the acknowledgement of a dead letter's original is lost, the message is delivered and set aside again. Such
    copies count as one dead letter here: a redrive or discard of the first is done to all.
    """

    def __init__(self, url: str, *, services: Sequence[str] = SERVICES) -> None:
        self._url = url
        self._services = services
        self._alone = asyncio.Lock()  # whoever looks has all letters meanwhile, and nobody else would find one

    async def all(self) -> list[DeadLetterRecord]:
        """All dead letters, by queue, oldest first. They stay where they are."""
        return await self._each(lambda _: True)

    async def redrive(self, wanted: Wanted, *, by: str = "") -> list[DeadLetterRecord]:
        """Send the wanted dead letters back to the queues in which they failed, with a new count of attempts.

        The queue confirms each message before it leaves the dead letters. So an interrupted or repeated redrive loses
        none, and a message that is delivered twice has its effect once. Properties that can't be decoded are dropped.
        `by`, the name of who asked for it, goes along. Raises BrokerUnavailable.
        """
        publishing: ConfirmedPublishing | None = None

        async def move(channel: Underlay, service: str, message: DeliveredMessage) -> None:
            nonlocal publishing
            publishing = publishing or ConfirmedPublishing(channel)
            (error,) = await publishing.publish([_again(service, message, by)], timeout=10)
            if error is not None:
                raise error
            await _delete(channel, service, message)

        return await self._each(wanted, move, _delete)

    async def discard(self, wanted: Wanted) -> list[DeadLetterRecord]:
        """Delete the wanted dead letters for good."""
        return await self._each(wanted, _delete, _delete)

    async def _each(
        self, wanted: Wanted, act: Act | None = None, act_on_copy: Act | None = None
    ) -> list[DeadLetterRecord]:
        """The wanted dead letters. Whatever is not acted on stays, and is back in its queue on return."""
        records = []
        async with self._alone, self._channel() as (channel, services):
            underlay = await channel.get_underlay_channel()
            for service in services:
                chosen: dict[str, bool] = {}
                left = 0
                async for message in _messages(channel, underlay, service):
                    record, content = _record(service, message), _content(message)
                    is_copy = _may_be_a_copy(message) and content in chosen
                    if not is_copy:
                        chosen[content] = wanted(record)
                    do = act_on_copy if is_copy else act
                    if chosen[content] and do is not None:
                        await do(underlay, service, message)
                    else:
                        left += 1
                    if chosen[content] and not is_copy:
                        records.append(record)
                await _give_back(channel, underlay, service, left)
        return records

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[tuple[AbstractChannel, Sequence[str]]]:
        """A channel, and the services that have a queue of dead letters. A service that has never run has none."""
        with connection_errors.named():
            connection = await connect_to_any(self._url, timeout=_PATIENCE)
            async with connection:
                async with asyncio.timeout(_PATIENCE):
                    services = [each for each in self._services if await is_there(connection, dead_letter_queue(each))]
                yield await connection.channel(publisher_confirms=True), services


async def _messages(channel: AbstractChannel, underlay: Underlay, service: str) -> AsyncIterator[DeliveredMessage]:
    """Each message that is in the queue now, once. Unacknowledged ones return when the channel closes."""
    for _ in range(await _length(channel, service)):
        message = await underlay.basic_get(dead_letter_queue(service))
        if isinstance(message.delivery, Basic.GetEmpty):
            return
        yield message


async def _give_back(channel: AbstractChannel, underlay: Underlay, service: str, left: int) -> None:
    """Return the `left` messages that were read and not acknowledged, and wait until the queue has them again.

    Whoever asks next then finds them, unless somebody else has taken them meanwhile.
    """
    if not left:
        return
    await underlay.basic_nack(0, multiple=True, requeue=True)
    for _ in range(_LOOKS):
        if await _length(channel, service) >= left:
            return
        await asyncio.sleep(_BETWEEN_LOOKS)


async def _length(channel: AbstractChannel, service: str) -> int:
    queue = await channel.get_queue(dead_letter_queue(service), ensure=True)
    return queue.declaration_result.message_count or 0


async def _delete(channel: Underlay, _service: str, message: DeliveredMessage) -> None:
    await channel.basic_ack(message.delivery_tag or 0)


def _again(service: str, message: DeliveredMessage, by: str) -> OutgoingMessage:
    headers = message.header.properties.headers or {}
    kept = (FIRST_EXCHANGE, FIRST_ROUTING_KEY, TRACEPARENT)
    story: dict[str, Any] = {name: text for name in kept if (text := text_in(headers, name, ""))}
    story |= {REDRIVES: count_in(headers, REDRIVES, 0) + 1, REDRIVEN_AT: wire_time(datetime.now(UTC))}
    return OutgoingMessage(
        body=message.body,
        exchange=own_exchange(service),
        routing_key=service,
        message_id=text_in(headers, MESSAGE_ID, "") or message.header.properties.message_id or str(uuid4()),
        correlation_id=message.header.properties.correlation_id,
        headers={**story, **({OPERATOR: by} if by else {})},
    )


def _record(service: str, message: DeliveredMessage) -> DeadLetterRecord:
    """The record of a dead letter. A stranger may have written its headers, so only well-formed ones are used."""
    headers = message.header.properties.headers or {}
    broken = undecodable(message)
    kept, redrives = headers.get(PROPERTIES), redrives_in(headers)
    # Without our headers, RabbitMQ made it a dead letter, and none of our processes.
    reason, error = ("REDELIVERED", "the broker returned it too often")
    if broken is not None:
        reason, error = ("MALFORMED", f"its properties or its routing key can't be decoded: {broken.cause}")
    try:
        envelope = decode(message.body, correlation_id=message.header.properties.correlation_id)
    except MalformedMessage:
        envelope = None
    return DeadLetterRecord(
        id=text_in(headers, DEAD_LETTER_ID, "") or message.header.properties.message_id or _content(message)[:32],
        queue=text_in(headers, QUEUE, service),
        reason=text_in(headers, REASON, reason),
        error=text_in(headers, ERROR, error, longest=_LONGEST_ERROR),
        attempts=count_in(headers, ATTEMPT, 1),
        exchange=text_in(headers, FIRST_EXCHANGE, message.exchange or ""),
        routing_key=text_in(headers, FIRST_ROUTING_KEY, message.routing_key or ""),
        first_failed_at=time_in(headers, FIRST_FAILED_AT),
        failed_at=time_in(headers, FAILED_AT),
        event_type=envelope.event_type if envelope else None,
        event_id=str(envelope.event_id) if envelope else None,
        order_id=envelope.order_id if envelope else None,
        body=message.body,
        properties=broken.properties if broken else bytes(kept) if isinstance(kept, bytearray) else None,
        redriven=redrives.get(REDRIVES, 0),
        redriven_at=redrives.get(REDRIVEN_AT),
        redriven_by=redrives.get(OPERATOR),
    )


def _may_be_a_copy(message: DeliveredMessage) -> bool:
    return (message.header.properties.headers or {}).get(REDELIVERED) is True


def _content(message: DeliveredMessage) -> str:
    """A digest of a message's body, exchange and routing key. Copies have the same digest."""
    headers = message.header.properties.headers or {}
    place = (text_in(headers, FIRST_EXCHANGE, ""), text_in(headers, FIRST_ROUTING_KEY, ""))
    return sha256("\0".join(place).encode() + b"\0" + message.body).hexdigest()
