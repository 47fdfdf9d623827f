"""A lean HTTP/1.1 client for load: keep-alive connections, one request at a time on each, next to no CPU."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, cast
from urllib.parse import urlsplit

import httptools

_TIMEOUT: Final = 10.0  # seconds for one answer
_IDLE: Final = 2.0  # seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back; status 0 means that nothing did, in time."""

    status: int
    body: bytes


NO_ANSWER: Final = Answer(status=0, body=b"")


class HttpClient:
    """Any number of requests at once to one server; a connection is opened when none is free, and kept."""

    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None, timeout: float = _TIMEOUT) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"{url} must be an http:// address with a host")
        self._host, self._port = parts.hostname, parts.port or 80
        fields = {"Host": parts.netloc, "Content-Type": "application/json", **(headers or {})}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._timeout = timeout
        self._free: list[_Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._free:
            connection.close()

    async def request(self, method: str, path: str, body: bytes = b"", *, key: str | None = None) -> Answer:
        """The answer, or NO_ANSWER if the server can't be reached, hangs up or takes too long. Never repeats."""
        more = f"Idempotency-Key: {key}\r\n" if key else ""
        raw = f"{method} {path} HTTP/1.1\r\n{self._head}{more}Content-Length: {len(body)}\r\n\r\n".encode() + body
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._connection()
                answer = await connection.exchange(raw)
        except (OSError, TimeoutError, httptools.HttpParserError):
            if connection is not None:
                connection.close()
            return NO_ANSWER
        connection.used = time.monotonic()
        self._free.append(connection)
        return answer

    async def _connection(self) -> _Connection:
        while self._free:
            connection = self._free.pop()  # the one used last
            # A server closes those that have long been idle: a request must not meet one that is just being closed.
            if connection.usable and time.monotonic() - connection.used < _IDLE:
                return connection
            connection.close()
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(_Connection, self._host, self._port)
        return protocol


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""
        self.usable = True
        self.used = 0.0  # when its last answer had come

    async def exchange(self, raw: bytes) -> Answer:
        """Raises OSError when the connection breaks first."""
        if self._transport is None or not self.usable:
            raise ConnectionResetError("The connection is closed")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(raw)
        return await self._waiting

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionResetError("The server hung up"))

    def _fail(self, error: Exception) -> None:
        self.usable = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    # what the parser calls

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.usable = self.usable and self._parser.should_keep_alive()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(Answer(status=self._parser.get_status_code(), body=self._body))
