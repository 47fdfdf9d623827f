"""Stream a saga's timeline as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, AsyncExitStack
from typing import Final
from uuid import UUID

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.gateway.dependencies import EventFeed, Limits
from api.gateway.follow import Follower
from api.gateway.queries import Queries, events_removed
from api.problems import Problem, unavailable
from choreography.outgoing_message import BrokerUnavailable
from workflows.timeline import Entry, entry_as_json

HEARTBEAT: Final = b": still here\n\n"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EventStream(StreamingResponse):
    """A stream that ends its subscription in any case, even if it ends before the first byte."""

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncIterator[bytes], subscription: AsyncExitStack) -> None:
        super().__init__(chunks, headers=_HEADERS)
        self._subscription = subscription

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._subscription:
            await super().__call__(scope, receive, send)


async def open_stream(
    *,
    place: AbstractContextManager[None],
    order_id: UUID,
    last_event_id: str | None,
    correlation_id: str,
    queries: Queries,
    feed: EventFeed,
    limits: Limits,
) -> Response:
    """A stream of each event once, first known ones, then live ones, until the saga is over; 204 if none is left.

    Raises Problem, always before the first byte, if the order is unknown, if its events were removed, or if a service
    or the broker is away.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(place)
        try:
            async with asyncio.timeout(limits.query):
                live = await stack.enter_async_context(feed.subscribe(order_id))
        except (BrokerUnavailable, TimeoutError) as error:
            raise cannot_follow() from error
        follower = Follower(live, lambda: queries.events(order_id, correlation_id))
        await follower.read_logs()
        # If the order is accepted but not stored yet, its first events will come live.
        if not follower.timeline.entries and await queries.is_stored(order_id, correlation_id):
            await follower.read_logs()
            if not follower.timeline.entries:
                raise events_removed(order_id)
        told = follower.told_up_to(last_event_id)
        # An EventSource reconnects when a stream ends. A 204 tells it to stop.
        if follower.timeline.over and len(told) == len(follower.timeline.entries):
            return Response(status_code=204)
        chunks = _chunks(follower, told, limits.heartbeat)
        response: Response = EventStream(chunks, stack.pop_all())
    return response


def cannot_follow() -> Problem:
    return unavailable("The message broker does not answer, so nothing can be followed; try again")


async def _chunks(follower: Follower, told: set[UUID], heartbeat: float) -> AsyncIterator[bytes]:
    while True:
        for entry in follower.entries_after(told):
            yield _event(entry)
        if follower.timeline.over:
            return
        try:
            async with asyncio.timeout(heartbeat):
                if not await follower.advance():
                    return
        except TimeoutError:
            yield HEARTBEAT
        except Problem:
            return  # the reader reconnects, and a 503 then says what is away


def _event(entry: Entry) -> bytes:
    data = msgspec.json.encode(entry_as_json(entry))
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (str(entry.event_id).encode(), entry.event_type.encode(), data)
