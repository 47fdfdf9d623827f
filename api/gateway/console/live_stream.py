"""Stream what moves to one viewer of the console, as server-sent events that go on where they stopped."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from starlette.responses import Response

from api.gateway.console.live import Live
from api.gateway.console.moving_sagas import Tally
from api.gateway.dependencies import Limits
from api.gateway.stream import HEARTBEAT, EventStream, cannot_follow
from choreography.outgoing_message import BrokerUnavailable
from models.times import wire_time

_ID: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})-([0-9]{1,13})")  # epoch, version, milliseconds since 1970


async def open_live_stream(
    *, live: Live, place: AbstractContextManager[None], user_id: UUID | None, last_event_id: str | None, limits: Limits
) -> Response:
    """A stream of what moves: everybody's sagas, or this user's. Raises Problem if the broker is away."""
    async with AsyncExitStack() as stack:
        stack.enter_context(place)
        try:
            async with asyncio.timeout(limits.query):
                await stack.enter_async_context(live.viewed(user_id))
        except (BrokerUnavailable, TimeoutError) as error:
            raise cannot_follow() from error
        chunks = _chunks(Viewer(live, user_id), last_event_id, limits)
        response: Response = EventStream(chunks, stack.pop_all())
    return response


class Viewer:
    """Up to where one viewer has been told."""

    def __init__(self, live: Live, user_id: UUID | None) -> None:
        self._live = live
        self._user_id = user_id
        self._told_at: datetime | None = None
        self._version = 0  # what changed after this one has not been told …
        self._tally = Tally()  # … of what was counted after this …
        self._when = 0.0  # … by the loop's clock
        self._mark(live.tick.version)

    async def wait(self) -> bool:
        """Wait for something that this viewer has not been told. Returns False if nothing comes any more."""
        await self._live.after(self._version)
        return not self._live.is_closed

    def begin(self, last_event_id: str | None) -> bytes:
        """The first event: `hello`; or for whoever comes back too late, `gap`."""
        match = _ID.fullmatch(last_event_id or "")
        if not last_event_id:
            return self._event("hello", {"at": wire_time(self._live.clock())})
        if match is not None:
            self._told_at = datetime.fromtimestamp(int(match[3]) / 1000, UTC)
            if match[1] == self._live.epoch and self._live.sagas.known_since <= int(match[2]) <= self._version:
                self._version = int(match[2])
                return self._event("hello", {"at": wire_time(self._live.clock())})
        return self._gap()

    def advance(self) -> bytes | None:
        """The next event: what changed, or that nobody knows; None if there is nothing new for this viewer."""
        tick, version = self._live.tick, self._version
        if version < self._live.sagas.known_since:
            self._mark(tick.version)
            return self._gap()
        if version == tick.before and self._user_id in tick.frames:
            frame = tick.frames[self._user_id]  # the same for all who keep up
        else:
            frame = self._live.frame(self._user_id, version, self._tally, self._when)
        self._mark(tick.version)
        return None if frame is None else self._event("sagas", msgspec.Raw(frame))

    def _mark(self, version: int) -> None:
        self._version = version
        self._tally = self._live.sagas.tally(self._user_id)
        self._when = asyncio.get_running_loop().time()

    def _gap(self) -> bytes:
        return self._event("gap", {"since": wire_time(self._told_at) if self._told_at else None})

    def _event(self, name: str, data: Any) -> bytes:
        self._told_at = self._live.clock()
        milliseconds = int(self._told_at.timestamp() * 1000)
        return b"id: %s-%d-%d\nevent: %s\ndata: %s\n\n" % (
            self._live.epoch.encode(),
            self._version,
            milliseconds,
            name.encode(),
            msgspec.json.encode(data),
        )


async def _chunks(viewer: Viewer, last_event_id: str | None, limits: Limits) -> AsyncIterator[bytes]:
    clock = asyncio.get_running_loop().time
    yield viewer.begin(last_event_id)
    ends, silent_since = clock() + limits.longest_view, clock()
    while clock() < ends:  # then the viewer comes back, and is asked again who it is
        try:
            async with asyncio.timeout_at(silent_since + limits.heartbeat):
                if not await viewer.wait():
                    return
            event = viewer.advance()
        except TimeoutError:
            event = HEARTBEAT
        if event is not None:
            yield event
            silent_since = clock()
