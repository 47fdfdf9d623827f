"""Read requests from a connection within limits: on bytes, fields and connections, and on the time to send them."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httptools
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from api import refusals
from api.crowd import ALWAYS_TOLD, Crowd
from api.declined_upgrade import parser_of_body
from api.edge import MAX_BODY, too_large
from api.problems import CORRELATION_ID, Problem
from api.request_cycle import RequestCycle
from api.request_target import target_of

log = structlog.get_logger()

# Bytes of a body with its chunk sizes. In chunks of one byte each, the largest body takes six times its size.
_MAX_CODED: Final = 8 * MAX_BODY
_MOST_WAITING: Final = 32  # requests on one connection that were sent before the answer to an earlier one
_MOST_DROPPED: Final = 8 * 1024 * 1024  # bytes that a refused client may still send
_LINGER: Final = 1.0  # seconds in which a client that may still be sending can read why it was refused


class HttpConnection(HttpToolsProtocol):
    """One client's connection.

    Bytes are counted before the parser gets them, because the parser copies an unfinished field again with each piece.
    The caller of `sweep` checks times, so that no request needs timers of its own.
    """

    cycle: RequestCycle

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        crowd: Crowd,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._crowd = crowd
        self._is_counted = False  # else there was no room for this connection, and it may only ask how we are
        self.url = b""
        self._room = refusals.MAX_HEAD  # bytes that may still come before the head, or the body, is complete
        self._fields = 0
        self._in_body = False  # whether the head of `cycle` is complete and its body is not
        self._begun: float | None = None  # when the request that is being received began
        self._idle_since = self.loop.time()
        self._running: RequestResponseCycle | None = None
        self._refusal: Problem | None = None
        self._ended: float | None = None  # when we stopped listening …
        self._dropped = 0  # … and how many bytes have come since

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._is_counted = self._crowd.enter(self._address)

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    # what a client sends

    def data_received(self, data: bytes) -> None:
        if self._ended is not None:
            self._dropped += len(data)
            if self._dropped > _MOST_DROPPED:
                self.flow.pause_reading()
        while data and self._ended is None:
            piece, data = (data, b"") if len(data) <= self._room else (data[: self._room], data[self._room :])
            self._room -= len(piece)
            self._parse(piece)
            if self._room <= 0 and self._ended is None:
                self._refuse(too_large(MAX_BODY) if self._in_body else refusals.head_too_large(self.url, self._fields))

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            # We speak no other protocol: answer the request as it is, and read nothing after it.
            self.cycle.keep_alive = False
            self._read_body(data[offer.args[0] :])
        except httptools.HttpParserError as error:
            if self._ended is None:
                self._refuse(self._refusal or refusals.not_http(error))

    def _read_body(self, received: bytes) -> None:
        """Read the body of a request that the parser takes for one without."""
        self.cycle.more_body = True
        self.cycle.message_event.clear()
        self._in_body, self._room, self._begun = True, _MAX_CODED, self.loop.time()
        parser = parser_of_body(self.headers, self.on_body, self._end_after_body)
        if parser is None:
            self._end_after_body()
        else:
            self.parser = parser
            self._parse(received)

    def _end_after_body(self) -> None:
        self.on_message_complete()
        self._ended = self.loop.time()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begun = self.loop.time()
        self._fields = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > refusals.MAX_FIELDS:
            self._refusal = refusals.too_many_fields()
            raise ValueError
        if not self._in_body:  # a trailer field comes too late and is ignored
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= _MOST_WAITING:
            self._take_no_more()
            raise ValueError
        self._read_target()
        self._in_body, self._room = True, _MAX_CODED
        version = self.parser.get_http_version()
        if version != "1.1":
            self.scope["http_version"] = version
        self.cycle = RequestCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and version != "1.0",
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if self._answering():
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        else:
            self._start_asgi_task(self.cycle, self.app)

    def on_message_complete(self) -> None:
        self._in_body, self._room, self._begun = False, refusals.MAX_HEAD, None
        super().on_message_complete()

    def _read_target(self) -> None:
        self.scope["method"] = self.parser.get_method().decode("ascii")
        try:
            target = target_of(self.url)
        except ValueError:
            self._refusal = refusals.no_target()
            raise
        self.scope.update({"path": target.path, "raw_path": target.raw_path, "query_string": target.query})
        if not self._is_counted and target.path not in ALWAYS_TOLD:
            self._refusal = refusals.no_room()
            raise ValueError
        if target.host is not None:
            self.headers[:] = [(name, target.host if name == b"host" else value) for name, value in self.headers]

    # what is answered

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _answering(self) -> bool:
        running = self._running
        return running is not None and not (running.response_complete or running.disconnected)

    def on_response_complete(self) -> None:
        if self.transport.is_closing():
            return
        self._idle_since = self.loop.time()
        if self.pipeline:  # read on when all are answered
            self._start_asgi_task(*self.pipeline.pop())
            return
        self.flow.resume_reading()
        if self._in_body and self.cycle.cut_short:
            self._stop_listening()

    def _refuse(self, problem: Problem) -> None:
        """Refuse the request that is being received, unless its answer has begun, and end the connection."""
        receiving = self.cycle if self._in_body else None
        asked: dict[str, Any] = dict(receiving.scope) if receiving is not None else {}
        correlation_id: str | None = asked.get(CORRELATION_ID)
        if self._is_counted:  # the crowd logs those that there was no room for, once for many
            known = {"correlation_id": correlation_id} if correlation_id is not None else {}
            log.info("request_refused", status=problem.status, why=problem.detail, client=self.client, **known)
        if self._running is not None and self._running is not receiving and self._answering():
            # An earlier request of this client is still being answered. Finish that, then end the connection.
            self._running.keep_alive = False
            self.pipeline.clear()
            self._ended = self.loop.time()
            return
        if receiving is not None:
            receiving.disconnected = True
            receiving.message_event.set()
        if receiving is None or not receiving.response_started:
            self.transport.write(refusals.bytes_of(problem, asked.get("path") or "/", correlation_id))
        self._stop_listening()

    def _take_no_more(self) -> None:
        """Answer what was taken, and end the connection then. The client sends the others again (RFC 9112, 9.3.2)."""
        log.info("pipeline_cut", client=self.client, most=_MOST_WAITING)
        latest, _ = self.pipeline[0]
        latest.keep_alive = False
        self._ended = self.loop.time()

    def _stop_listening(self) -> None:
        """End our side of the connection, and drop what still arrives.

        Closing at once would reset the connection, and the client might never read the answer.
        """
        self._ended = self.loop.time()
        if not self.transport.is_closing():
            self.transport.write_eof()

    # what takes its time

    def sweep(self, now: float, *, sending: float, idle: float) -> None:
        """Refuse a request that has taken more than `sending` seconds to arrive. Close a connection after `idle` s."""
        if self._ended is not None:
            if not self._answering() and now - self._ended > _LINGER:
                self.transport.abort()
        elif self._begun is not None:
            if self.flow.read_paused or (self._answering() and not self._in_body):
                self._begun = now  # the client is not the one that is slow
            elif now - self._begun > sending:
                self._refuse(refusals.too_slow(sending))
        elif not self._answering() and now - self._idle_since > (idle if self._is_counted else _LINGER):
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._running is not None:  # it isn't `cycle` if another request has arrived after it
            self._running.disconnected = True
            self._running.message_event.set()
        if self._is_counted:
            self._crowd.leave(self._address)
        super().connection_lost(exc)
