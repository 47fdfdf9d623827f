"""Carry what the programs of a stack say to each other, and hold it back on the ways of one that is cut off.

A server is cut off from all programs that reach it by these ways; a process is cut off from everybody. What is on its
way meanwhile arrives when the way is whole again, as TCP has it. So a way is held, never reset.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from embedded.errors import StackError

_AT_ONCE: Final = 64 * 1024  # bytes
_Place: TypeAlias = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Way:
    """Connections to `at` lead to `to`. `ends` are the names of the programs at both ends; a client has none."""

    at: _Place
    to: _Place
    ends: frozenset[str]


class Ways:
    """All ways of a stack, open from `stand` to `close`."""

    def __init__(self, ways: Sequence[Way]) -> None:
        self._carriers = [_Carrier(way) for way in ways]
        self._healings: dict[str, asyncio.TimerHandle] = {}

    async def stand(self) -> None:
        """Accept connections on all of them. Raises StackError."""
        for each in self._carriers:
            await each.stand()

    def lead_to(self, name: str) -> bool:
        """Whether a program of this name can be cut off."""
        return any(name in each.way.ends for each in self._carriers)

    def cut(self, name: str, seconds: float, then: Callable[[], None]) -> None:
        """Hold all ways of a program for so long; then they are whole again, and `then` is called."""

        def heal() -> None:
            self._heal(name)
            then()

        if name in self._healings:
            self._healings[name].cancel()
        self._healings[name] = asyncio.get_running_loop().call_later(seconds, heal)
        for each in self._carriers_of(name):
            each.hold(name)

    def heal(self) -> None:
        """Make all ways whole at once."""
        for name, healing in list(self._healings.items()):
            healing.cancel()
            self._heal(name)

    def close(self) -> None:
        """Accept nothing more, and end all connections."""
        for each in self._carriers:
            each.close()

    def _heal(self, name: str) -> None:
        self._healings.pop(name, None)
        for each in self._carriers_of(name):
            each.release(name)

    def _carriers_of(self, name: str) -> list[_Carrier]:
        return [each for each in self._carriers if name in each.way.ends]


class _Carrier:
    """Carries the connections of one way, unless the program at one of its ends is cut off."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self._holding: set[str] = set()  # the programs that are cut off
        self._whole = asyncio.Event()
        self._whole.set()
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None] | None] = set()  # asyncio itself forgets who waits for a stream

    async def stand(self) -> None:
        host, port = self.way.at
        try:
            self._server = await asyncio.start_server(self._carry, host, port)
        except OSError as error:
            raise StackError(f"Port {port} cannot be bound on {host}: {error.strerror}") from error

    def hold(self, name: str) -> None:
        self._holding.add(name)
        self._whole.clear()

    def release(self, name: str) -> None:
        self._holding.discard(name)
        if not self._holding:
            self._whole.set()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._carrying:
            if task is not None:
                task.cancel()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):  # asyncio would print a traceback for it
            await self._carry_both(reader, writer)

    async def _carry_both(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._carrying.add(task)
        writers = [writer]
        try:
            await self._whole.wait()
            onward, back = await asyncio.open_connection(*self.way.to)
            writers.append(back)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._copy(reader, back))
                both.create_task(self._copy(onward, writer))
            for each in writers:
                each.close()
        except* OSError:
            pass  # one side is gone, so the other one's connection ends, too
        finally:
            self._carrying.discard(task)
            for each in writers:
                if not each.is_closing():
                    each.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on bytes, then their end. Raises OSError if one side is gone."""
        try:
            while data := await reader.read(_AT_ONCE):
                await self._whole.wait()
                writer.write(data)
                await writer.drain()
        finally:
            await self._whole.wait()  # nobody hears of an end, either
        writer.write_eof()
