"""Switch the mirrors off and on at the broker, and measure how fast they work off their backlog."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self
from urllib.parse import quote

import aio_pika
import httpx
from aio_pika.abc import AbstractChannel
from temporalio.client import Client

from choreography.topology import MIRROR_QUEUE
from cli import http_clients
from models.message_types import ORDERS_EXCHANGE, PAYMENTS_EXCHANGE
from workflows.saga_mirror import SagaMirror

_POLL: Final = 2.0  # seconds; to count 50,000 workflows takes Temporal 45 ms, in which it does nothing else
_FEW: Final = 100  # what is worked off in a moment says nothing of a rate
_PATIENCE: Final = 120.0  # seconds in which nothing moves
_EXCHANGES: Final = (ORDERS_EXCHANGE, PAYMENTS_EXCHANGE)  # of all events


@dataclass(frozen=True, kw_only=True, slots=True)
class Drained:
    """How fast a backlog was worked off after the last saga had ended. Rates are None if the backlog was tiny."""

    events: int  # that waited in the mirrors' queue
    events_rate: float | None  # a second, until none waited
    sagas: int  # whose mirror had not closed
    sagas_rate: float | None  # mirrors that closed a second, until all had
    seconds: float


class Backlog:
    """The mirrors' queue and its bindings, and the mirrors that have closed."""

    def __init__(self, *, temporal: Client, channel: AbstractChannel, api: httpx.AsyncClient) -> None:
        self._temporal = temporal
        self._channel = channel
        self._api = api

    @classmethod
    @asynccontextmanager
    async def of(cls, *, temporal: Client, amqp: str, rabbitmq_api: str) -> AsyncIterator[Self]:
        """A connected backlog, until the end of the context. `rabbitmq_api` has user and password."""
        connection = await aio_pika.connect(amqp, timeout=5)
        async with connection, http_clients.async_client(base_url=rabbitmq_api, timeout=10.0) as api:
            yield cls(temporal=temporal, channel=await connection.channel(), api=api)

    @asynccontextmanager
    async def switched_off(self) -> AsyncIterator[None]:
        """No event reaches the mirrors' queue until the end of the context; sagas begun meanwhile get no mirror.

        The worker and Temporal stay, with nothing to do. The worker binds the queue again when it connects anew, and
        every SAGA_TOPOLOGY_INTERVAL seconds.
        """
        bound = (await self._api.get(f"/queues/%2F/{MIRROR_QUEUE}/bindings")).raise_for_status().json()
        bindings = [(each["source"], each["routing_key"]) for each in bound if each["source"] in _EXCHANGES]
        for exchange, key in bindings:
            path = f"/bindings/%2F/e/{exchange}/q/{MIRROR_QUEUE}/{quote(key, safe='')}"
            (await self._api.delete(path)).raise_for_status()
        try:
            yield
        finally:
            queue = await self._channel.get_queue(MIRROR_QUEUE, ensure=False)
            for exchange, key in bindings:
                await queue.bind(exchange, key)

    async def waiting(self) -> int:
        """The number of events in the queue that the worker does not have yet."""
        declared = await self._channel.declare_queue(MIRROR_QUEUE, passive=True)
        return declared.declaration_result.message_count or 0

    async def closed(self, since: float) -> int:
        """The number of closed mirrors that were begun after `since` (seconds since the epoch)."""
        after = datetime.fromtimestamp(since, UTC).isoformat()
        query = f"WorkflowType = '{SagaMirror.__name__}' AND ExecutionStatus = 'Completed' AND StartTime >= '{after}'"
        return (await self._temporal.count_workflows(query)).count

    async def drained(self, *, sagas: int, since: float) -> Drained:
        """Watch until so many mirrors that were begun after `since` have closed. Raises TimeoutError."""
        began = time.monotonic()
        events, before = await self.waiting(), await self.closed(since)
        events_by: float | None = None
        closed, moved = before, began
        while closed < sagas or events_by is None:
            await asyncio.sleep(_POLL)
            if events_by is None and await self.waiting() == 0:
                events_by = time.monotonic() - began
            if (now := await self.closed(since)) > closed:
                closed, moved = now, time.monotonic()
            elif time.monotonic() - moved > _PATIENCE:
                raise TimeoutError(f"{closed} of {sagas} mirrors have closed, and none for {_PATIENCE:g} s")
        seconds = time.monotonic() - began
        return Drained(
            events=events,
            events_rate=_rate(events, events_by),
            sagas=sagas - before,
            sagas_rate=_rate(sagas - before, seconds),
            seconds=seconds,
        )


def _rate(number: int, seconds: float) -> float | None:
    return number / seconds if number >= _FEW and seconds > 0 else None
