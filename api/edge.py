"""Guard every request at the edge: its correlation id, its Host and origin, and the size of its body."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl
from uuid import uuid4

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from api.access import SAFE_METHODS, Access, Fields, name_of
from api.problems import CORRELATION_ID, Problem, ProblemType, Violation, invalid, respond, unexpected
from api.telemetry import CLIENT_LEFT, Telemetry, route_of

log = structlog.get_logger()

MAX_BODY: Final = 64 * 1024  # bytes

# What a browser is told with every answer: guess no type, frame nothing, run nothing, tell nobody where a link was.
_POLICY: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
SAFEGUARDS: Final[Fields] = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_LONGEST_NAME: Final = 200
_LONGEST_LENGTH: Final = 18  # digits: more are too large in any case
_CORRELATION_ID: Final = re.compile(rb"[!-~](?:[ -~]{0,126}[!-~])?")


class Edge:
    """The outermost layer. It gives each request a correlation id, checks it, and turns an unexpected error into a 500.

    A usable `X-Correlation-Id` (1 … 128 printable ASCII characters, no space at either end) is kept. Any other one is
    replaced, because a bad correlation id is no reason to refuse a request. HEAD is a GET without a body.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access | None = None,
        max_body: int = MAX_BODY,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._app = app
        self._answered = telemetry.answered if telemetry is not None else None
        self._access = access  # None: every client shows a token, and no web page has one
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = _read_headers(scope)
        correlation_id = asked.correlation_id or str(uuid4())
        scope[CORRELATION_ID] = correlation_id
        inner, began = scope, time.monotonic()
        answer = _Response(scope, send, [(b"x-correlation-id", correlation_id.encode("ascii"))], self._access, asked)
        tokens = bind_contextvars(correlation_id=correlation_id)
        try:
            self._check(scope, asked)
            # With a Content-Length, the server stops reading there. Only a chunked body can go on without end.
            bounded = _bounded(receive, self._max_body) if asked.length is None else receive
            inner = {**scope, "method": "GET"} if answer.is_head else scope
            await self._app(inner, bounded, answer.send)
        except Problem as problem:
            if not answer.started:
                await respond(problem, scope)(scope, receive, answer.send)
        except ClientDisconnect:
            log.info("client_left", method=scope["method"], path=scope["path"])
        except Exception as error:
            response = unexpected(error, scope)
            if not answer.started:
                await response(scope, receive, answer.send)
        finally:
            reset_contextvars(**tokens)
            if self._answered is not None:
                self._answered(
                    scope["method"], route_of(inner), answer.status, (answer.begun or time.monotonic()) - began
                )

    def _check(self, scope: Scope, asked: _RequestFields) -> None:
        if asked.hosts != 1 and (asked.hosts or scope["http_version"] != "1.0"):
            raise no_single_host()
        if self._access is None:
            name_of(asked.host)
        else:
            self._access.check_host(asked.host)
            if scope["method"] not in SAFE_METHODS:
                self._access.check_page(asked.origin, asked.site, asked.host)
        if asked.length is not None and asked.length > self._max_body:
            raise too_large(self._max_body)
        if b"&" in scope["query_string"]:
            _refuse_repetitions(scope["query_string"])


class _Response:
    """Sends the answer, with the fields that every answer has, and without a body for HEAD."""

    def __init__(self, scope: Scope, send: Send, fields: Fields, access: Access | None, asked: _RequestFields) -> None:
        self._send = send
        self._fields = fields
        self._access = access
        self._origin = asked.origin
        self._is_options = scope["method"] == "OPTIONS"
        self.is_head = scope["method"] == "HEAD"
        self.status = CLIENT_LEFT
        self.begun: float | None = None

    @property
    def started(self) -> bool:
        return self.begun is not None

    async def send(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            if not self.is_head:
                await self._send(message)
            return
        self.begun, self.status = time.monotonic(), message["status"]
        given = message["headers"]
        policy = [] if any(name == _POLICY[0] for name, _ in given) else [_POLICY]  # pages have one of their own
        message["headers"] = [*given, *self._fields, *SAFEGUARDS, *policy]
        if self._access is not None:
            message["headers"] += self._access.fields_for(self._origin)
            if self._is_options:
                allowed = next((value for name, value in message["headers"] if name == b"allow"), b"")
                message["headers"] += self._access.preflight_fields_for(self._origin, allowed)
        await self._send(message)
        if self.is_head:  # this ends a stream, which nobody reads
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


@dataclass(slots=True)
class _RequestFields:
    correlation_id: str | None = None
    length: int | None = None
    hosts: int = 0
    host: bytes = b"localhost"  # a request of HTTP/1.0 need not have a Host
    origin: bytes | None = None
    site: bytes | None = None


def correlation_id_of(scope: Scope) -> str:
    """The correlation id of this request."""
    correlation_id: str = scope[CORRELATION_ID]
    return correlation_id


def host_of(scope: Scope) -> bytes:
    """The Host of this request."""
    return _read_headers(scope).host


def _read_headers(scope: Scope) -> _RequestFields:
    asked = _RequestFields()
    for name, value in scope["headers"]:
        if name == b"host":
            asked.hosts += 1
            asked.host = value
        elif name == b"content-length":
            asked.length = int(value[:_LONGEST_LENGTH]) if value.isdigit() else None
        elif name == b"x-correlation-id":
            if asked.correlation_id is None and _CORRELATION_ID.fullmatch(value):
                asked.correlation_id = value.decode("ascii")
        elif name == b"origin":
            asked.origin = value if asked.origin is None else b"null"
        elif name == b"sec-fetch-site":
            asked.site = value
    return asked


def _refuse_repetitions(query: bytes) -> None:
    seen: set[str] = set()
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in seen:
            raise repeated(name)
        seen.add(name)


def repeated(name: str) -> Problem:
    message = "must be given only once"
    return invalid(Violation(part="query", field=name[:_LONGEST_NAME], rule="repeated", message=message))


def _bounded(receive: Receive, limit: int) -> Callable[[], Awaitable[Message]]:
    read = 0

    async def receive_bounded() -> Message:
        nonlocal read
        message = await receive()
        if message["type"] == "http.request":
            read += len(message.get("body", b""))
            if read > limit:
                raise too_large(limit)
        return message

    return receive_bounded


def no_single_host() -> Problem:
    return Problem(ProblemType.REFUSED, "A request has one Host field (RFC 9112, 3.2), this one has another number")


def too_large(limit: int) -> Problem:
    return Problem(ProblemType.TOO_LARGE, f"The body is larger than {limit} bytes; send less")
