"""Make what a delivery becomes when it can't be settled: a message that waits to be retried, or a dead letter."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any
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
    QUEUE,
    REASON,
)
from choreography.message import Outgoing
from choreography.topology import DEAD_LETTER_EXCHANGE, retry_queue
from models.times import wire_time


def retry(message: DeliveredMessage, queue: str, *, attempt: int, delay: float, error: str) -> Outgoing:
    """What to publish so that the message comes back to `queue` in about `delay` seconds, for the attempt after this.

    A fifth more or less: what failed together need not come back together.
    """
    headers = {**_story(message, error), ATTEMPT: attempt + 1}
    jittered = delay * random.uniform(0.8, 1.2)  # noqa: S311
    return _outgoing(message, "", retry_queue(queue, delay), headers, jittered)


def dead_letter(message: DeliveredMessage, queue: str, *, attempt: int, reason: str, error: str) -> Outgoing:
    """What to publish so that the message, which failed in `queue` for good, becomes a dead letter."""
    told = {ATTEMPT: attempt, REASON: reason, QUEUE: queue, DEAD_LETTER_ID: str(uuid4())}
    return _outgoing(message, DEAD_LETTER_EXCHANGE, queue, {**_story(message, error), **told})


def _story(message: DeliveredMessage, error: str) -> dict[str, Any]:
    """Where it came from and when it first failed, which earlier failures may have told already; and this failure."""
    now = wire_time(datetime.now(UTC))
    told = message.header.properties.headers or {}
    return {
        FIRST_EXCHANGE: message.exchange or "",
        FIRST_ROUTING_KEY: message.routing_key or "",
        FIRST_FAILED_AT: now,
        **{name: value for name, value in told.items() if name.startswith("x-saga-")},
        FAILED_AT: now,
        ERROR: error[:2000],
    }


def _outgoing(
    message: DeliveredMessage,
    exchange: str,
    routing_key: str,
    headers: dict[str, Any],
    expiration: float | None = None,
) -> Outgoing:
    properties = message.header.properties
    return Outgoing(
        body=message.body,
        exchange=exchange,
        routing_key=routing_key,
        message_id=properties.message_id or str(uuid4()),
        correlation_id=properties.correlation_id,
        headers=headers,
        expiration=expiration,
    )
