"""Stand before web UIs that answer everybody, and pass on only requests of browsers that asked for this machine.

`python -m embedded.porter LISTEN=BEHIND…`, each an `address:port`. Neither Temporal's UI nor RabbitMQ's checks the Host
of a request. So a web page whose name is made to lead to loopback (DNS rebinding) could read them and, through
Temporal's, start and end workflows. The UIs themselves listen on an address that no page can guess.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from api.loopback import is_loopback

HEAD_LIMIT: Final = 64 * 1024  # bytes
HEAD_WITHIN: Final = 10.0  # seconds
MOST_AT_ONCE: Final = 256  # connections
LOOK_EVERY: Final = 2.0  # seconds
MOST_MISSED: Final = 5  # looks in a row
_CONNECTED_WITHIN: Final = 2.0  # seconds
_AT_ONCE: Final = 64 * 1024  # bytes
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_FIELD: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
_REQUEST: Final = re.compile(r"([A-Z]+) (/[^ ]*) HTTP/1\.1")
_READING: Final = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class RequestRefused(Exception):
    """A request that is not passed on. It has the HTTP status and the reason."""

    status: str
    why: str


def admit(head: bytes, allowed: frozenset[str] = frozenset()) -> bytes:
    """The head of the request as it is passed on. Raises RequestRefused unless its Host names this machine.

    `allowed` are the names that count beside loopback's. A page of another origin may follow a link here, and do
    nothing else.
    """
    lines = head.decode("latin-1").split("\r\n")
    request = _REQUEST.fullmatch(lines[0])
    fields = [_FIELD.fullmatch(line) for line in lines[1:]]
    if request is None or not all(fields):
        raise RequestRefused("400 Bad Request", "This is no request that can be passed on")
    named: dict[str, list[str]] = {}
    for field in filter(None, fields):
        named.setdefault(field[1].lower(), []).append(field[2])
    host, origin, site = (named.get(name, []) for name in ("host", "origin", "sec-fetch-site"))
    match = _HOST.fullmatch(host[0]) if len(host) == 1 else None
    if match is None:
        raise RequestRefused("400 Bad Request", "A request names one Host")
    name = match[1].lower().rstrip(".")
    if name not in allowed and not is_loopback(name):
        raise RequestRefused("421 Misdirected Request", f"{match[1]} is not served here: use 127.0.0.1 or localhost")
    if any(each.partition("://")[2].lower() != host[0].lower() for each in origin):
        raise RequestRefused("403 Forbidden", "A web page of another origin has no business here")
    if not set(site) <= {"same-origin", "none"}:
        follows_link = named.get("sec-fetch-mode") == ["navigate"] and named.get("sec-fetch-dest") == ["document"]
        if request[1] not in _READING or not follows_link:
            raise RequestRefused("403 Forbidden", "A web page of another origin has no business here")
    kept = [line for line, field in zip(lines[1:], fields, strict=True) if field and field[1].lower() not in _HOP]
    # One request a connection: later requests are not checked, so they must not be answered.
    return "\r\n".join([lines[0], *kept, "Connection: close", "", ""]).encode("latin-1")


_HOP: Final = ("connection", "upgrade", "keep-alive", "proxy-connection")


class Porter:
    """Passes on the requests that arrive at one door to the server behind it."""

    def __init__(self, behind: tuple[str, int], allowed: frozenset[str]) -> None:
        self._behind = behind
        self._allowed = allowed
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._meetings: set[asyncio.Task[None] | None] = set()  # asyncio itself forgets who waits for a stream

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        meeting = asyncio.current_task()
        self._meetings.add(meeting)
        try:
            async with self._places:
                await self._lead(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client left, or sent no whole request
        except asyncio.CancelledError:
            pass  # the stack ends; asyncio would print a traceback for it
        finally:
            writer.close()
            self._meetings.discard(meeting)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_WITHIN):
            head = (await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n")
        try:
            passed_on = admit(head, self._allowed)
        except RequestRefused as refusal:
            return await _answer(writer, refusal)
        try:
            async with asyncio.timeout(_CONNECTED_WITHIN):
                answer, request = await asyncio.open_connection(*self._behind)
        except OSError:
            return await _answer(
                writer, RequestRefused("503 Service Unavailable", "The server behind this does not answer")
            )
        try:
            request.write(passed_on)
            await _pass_on(reader, request, answer, writer)
        finally:
            request.close()


async def _pass_on(
    reader: asyncio.StreamReader,
    request: asyncio.StreamWriter,
    answer: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Copy both ways until the answer is complete, or the client has left."""
    sending, answering = (asyncio.create_task(_copy(*ways)) for ways in ((reader, request), (answer, writer)))
    try:
        await asyncio.wait((sending, answering), return_when=asyncio.FIRST_COMPLETED)
        if not reader.at_eof():  # the server behind may have stopped listening, and still answer
            await answering
    finally:
        sending.cancel()
        answering.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_AT_ONCE):
            writer.write(data)
            await writer.drain()


async def _answer(writer: asyncio.StreamWriter, refusal: RequestRefused) -> None:
    body = f"{refusal.why}.\n".encode("latin-1")
    head = f"HTTP/1.1 {refusal.status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode("latin-1") + b"Connection: close\r\n\r\n" + body)
    await writer.drain()


async def stand(doors: Mapping[tuple[str, int], tuple[str, int]], allowed: frozenset[str]) -> list[asyncio.Server]:
    """Open the doors, given as the address of each door and the address behind it. Raises OSError."""
    return [
        await asyncio.start_server(Porter(behind, allowed).meet, *at, limit=HEAD_LIMIT) for at, behind in doors.items()
    ]


def allowed_hosts() -> frozenset[str]:
    """The names that the environment allows beside loopback's."""
    names = os.environ.get("SAGA_ALLOWED_HOSTS", "").lower().replace(" ", "")
    return frozenset(filter(None, names.split(",")))


async def _stand_until_told(doors: Sequence[str]) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    places = [(_place(at), _place(behind)) for at, behind in (door.split("=") for door in doors)]
    standing = await stand(dict(places), allowed_hosts())
    missed = 0
    while not told.is_set():
        there = [await _is_there(behind) for _, behind in places]
        missed = 0 if all(there) else missed + 1
        if missed > MOST_MISSED:  # the container behind may have restarted with a new network: end, to join that one
            sys.exit(f"porter: nobody answers behind {', '.join(doors)}; it ends, to be started again")
        with suppress(TimeoutError):
            await asyncio.wait_for(told.wait(), LOOK_EVERY)
    for each in standing:
        each.close()


async def _is_there(place: tuple[str, int]) -> bool:
    try:
        async with asyncio.timeout(_CONNECTED_WITHIN):
            _, writer = await asyncio.open_connection(*place)
    except OSError:
        return False
    writer.close()
    return True


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


if __name__ == "__main__":
    asyncio.run(_stand_until_told(sys.argv[1:]))
