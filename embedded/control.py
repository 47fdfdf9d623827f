"""Let the stack's own user have the supervisor kill, freeze or cut off a program, by a socket in the folder of data."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from embedded import state
from embedded.errors import StackError

LONGEST: Final = 60.0  # seconds that a program stands still, or is cut off
_SOCKET: Final = "control"
_LONGEST_LINE: Final = 1024  # bytes
_WITHIN: Final = 10.0  # seconds


class Controlled(Protocol):
    """What the supervisor does with one of its programs. Raises LookupError if no such program runs."""

    async def kill(self, name: str) -> None: ...
    async def freeze(self, name: str, seconds: float) -> None: ...
    async def cut(self, name: str, seconds: float) -> None: ...


@contextlib.asynccontextmanager
async def listening(data: Path, controlled: Controlled) -> AsyncIterator[None]:
    """Do as told inside the context. Who may enter the folder may tell; its mode lets only its owner in."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.LimitOverrunError, ValueError, asyncio.CancelledError):
            told = {"error": await _do(controlled, await reader.readline())}
            writer.write(json.dumps(told).encode() + b"\n")
            await writer.drain()
        writer.close()

    with _path(data) as path:
        server = await asyncio.start_unix_server(answer, path, limit=_LONGEST_LINE)
        (data / _SOCKET).chmod(0o600)  # whoever made the folder may have opened it to others
    try:
        yield
    finally:
        server.close()
        (data / _SOCKET).unlink(missing_ok=True)


async def _do(controlled: Controlled, line: bytes) -> str | None:
    """What is wrong, if it is not done."""
    match json.loads(line):
        case {"act": "kill", "name": str(name)}:
            act = controlled.kill(name)
        case {"act": "freeze" | "cut" as what, "name": str(name), "seconds": float(seconds) | int(seconds)} if (
            0 < seconds <= LONGEST and seconds is not True
        ):
            act = (controlled.freeze if what == "freeze" else controlled.cut)(name, seconds)
        case _:
            return "is not understood"
    try:
        await act
    except LookupError as error:
        return str(error.args[0])
    return None


class Control:
    """The other end: what a process of the stack knows of the programs, and may have done with them."""

    def __init__(self, data: Path) -> None:
        self._data = data

    @property
    def is_there(self) -> bool:
        """Whether a supervisor listens."""
        return (self._data / _SOCKET).is_socket()

    def processes(self) -> list[dict[str, Any]]:
        """Each program with its `name`, `state`, `pid`, `restarts` and `cuttable`, as the supervisor knows them."""
        known: list[dict[str, Any]] = (state.running(self._data) or {}).get("processes", [])
        return known

    async def kill(self, name: str) -> None:
        """SIGKILL a program and all of its processes. Raises LookupError if it does not run, OSError without answer."""
        await self._tell({"act": "kill", "name": name})

    async def freeze(self, name: str, seconds: float) -> None:
        """Stop a program and all of its processes for so long; then they go on. Raises as `kill`."""
        await self._tell({"act": "freeze", "name": name, "seconds": seconds})

    async def cut(self, name: str, seconds: float) -> None:
        """Let nothing through to a program, or from it, for so long. Raises as `kill`."""
        await self._tell({"act": "cut", "name": name, "seconds": seconds})

    async def _tell(self, request: dict[str, Any]) -> None:
        async with asyncio.timeout(_WITHIN):
            with _path(self._data) as path:
                reader, writer = await asyncio.open_unix_connection(path)
            writer.write(json.dumps(request).encode() + b"\n")
            answer = await reader.readline()
            writer.close()
        try:
            error = json.loads(answer)["error"]
        except (ValueError, KeyError) as strange:
            raise ConnectionError("The supervisor gave no answer") from strange
        if error is not None:
            raise LookupError(error)


@contextlib.contextmanager
def _path(data: Path) -> Iterator[str]:
    """A short path of the socket: the system takes at most 107 bytes, and the folder's own may be longer."""
    try:
        folder = os.open(data, os.O_PATH)
    except OSError as error:
        raise StackError(f"{data} cannot be opened ({error.strerror})") from error
    try:
        yield f"/proc/self/fd/{folder}/{_SOCKET}"
    finally:
        os.close(folder)
