"""Make the message that replaces a failed delivery: one that waits for a retry, or a dead letter."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from aiormq.abc import DeliveredMessage

from choreography.headers import (
    ATTEMPT,
    DEAD_LETTER_ID,
    ERROR,
    FAILED_AT,
    FIRST_EXCHANGE,
    FIRST_FAILED_AT,
    FIRST_ROUTING_KEY,
    MESSAGE_ID,
    PROPERTIES,
    QUEUE,
    REASON,
    REDELIVERED,
    TRACEPARENT,
    redrives_in,
    text_in,
    time_in,
)
from choreography.outgoing_message import OutgoingMessage
from choreography.topology import DEAD_LETTER_EXCHANGE, JITTER, own_exchange, retry_queue
from choreography.undecodable import undecodable
from models.times import wire_time

# All headers must fit into one frame. RabbitMQ accepts frames of 128 KiB.
_LONGEST_ERROR: Final = 2_000  # characters
_LONGEST_CAUSE: Final = 1_500  # characters of an error to which something is added
_MOST_PROPERTIES: Final = 100_000  # bytes


def retry(message: DeliveredMessage, queue: str, *, attempt: int, delay: float, error: str) -> OutgoingMessage:
    """The message to publish so that the delivery returns to `queue` in about `delay` seconds, for its next attempt."""
    headers = {**_story(message, error), ATTEMPT: attempt + 1}
    jittered = delay * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
    return _outgoing(message, own_exchange(queue), retry_queue(queue, delay), headers, jittered)


def dead_letter(message: DeliveredMessage, queue: str, *, attempt: int, reason: str, error: str) -> OutgoingMessage:
    """The message to publish so that the delivery, which failed in `queue` for good, becomes a dead letter.

    It can be published whatever the delivery holds. It keeps the bytes of properties that can't be decoded.
    """
    told: dict[str, Any] = {ATTEMPT: attempt, REASON: reason, QUEUE: queue, DEAD_LETTER_ID: str(uuid4())}
    if (broken := undecodable(message)) is not None:
        told[PROPERTIES] = bytearray(broken.properties[:_MOST_PROPERTIES])
        if (size := len(broken.properties)) > _MOST_PROPERTIES:
            cut = f"of the {size} bytes of its properties the first {_MOST_PROPERTIES} are kept"
            error = f"{error[:_LONGEST_CAUSE]}; {cut}"
    return _outgoing(message, DEAD_LETTER_EXCHANGE, queue, {**_story(message, error), **told})


def _story(message: DeliveredMessage, error: str) -> dict[str, Any]:
    """The headers that tell where the message came from, when it first failed, how it failed now, and its trace.

    An earlier failure may have written the first two already; whether it was redriven since is told, too.
    """
    now = wire_time(datetime.now(UTC))
    told = message.header.properties.headers or {}
    story: dict[str, Any] = {
        **redrives_in(told),
        FIRST_EXCHANGE: text_in(told, FIRST_EXCHANGE, message.exchange or ""),
        FIRST_ROUTING_KEY: text_in(told, FIRST_ROUTING_KEY, message.routing_key or ""),
        FIRST_FAILED_AT: time_in(told, FIRST_FAILED_AT) or now,
        MESSAGE_ID: text_in(told, MESSAGE_ID, message.header.properties.message_id or ""),
        FAILED_AT: now,
        ERROR: error[:_LONGEST_ERROR].encode("utf-8", "backslashreplace").decode(),
    }
    if traceparent := text_in(told, TRACEPARENT, ""):
        story[TRACEPARENT] = traceparent
    if message.redelivered or told.get(REDELIVERED) is True:
        story[REDELIVERED] = True
    return story


def _outgoing(
    message: DeliveredMessage,
    exchange: str,
    routing_key: str,
    headers: dict[str, Any],
    expiration: float | None = None,
) -> OutgoingMessage:
    return OutgoingMessage(
        body=message.body,
        exchange=exchange,
        routing_key=routing_key,
        # A new id: returned messages are found by it, and strangers may give several messages the same one.
        message_id=str(uuid4()),
        correlation_id=message.header.properties.correlation_id,
        headers=headers,
        expiration=expiration,
    )
