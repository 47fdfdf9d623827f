"""Guard the edge: correlation id, body size, and the token that the gateway shows to the services."""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from api.problems import CORRELATION_ID, Kind, Problem, respond, unexpected

MAX_BODY: Final = 64 * 1024  # bytes
OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})

_LONGEST_LENGTH: Final = 18  # digits: more are too large in any case
_CORRELATION_ID: Final = re.compile(rb"[!-~](?:[ -~]{0,126}[!-~])?")


class Edge:
    """The outermost layer: names the request, bounds its body, and turns what nobody expected into a bare 500.

    A usable `X-Correlation-Id` (1 … 128 printable ASCII characters, no space at either end) is taken over; anything
    else is replaced, since no request is worth refusing for how it wants to be traced.
    """

    def __init__(self, app: ASGIApp, *, max_body: int = MAX_BODY) -> None:
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given, length = _read_headers(scope)
        correlation_id = given or str(uuid4())
        scope[CORRELATION_ID] = correlation_id
        header = (b"x-correlation-id", correlation_id.encode("ascii"))
        started = False

        async def send_named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], header]
            await send(message)

        tokens = bind_contextvars(correlation_id=correlation_id)
        try:
            if length is not None and length > self._max_body:
                await respond(_too_large(self._max_body), scope)(scope, receive, send_named)
                return
            # With a Content-Length the server itself stops reading there; only chunks can go on and on.
            bounded = _bounded(receive, self._max_body) if length is None else receive
            await self._app(scope, bounded, send_named)
        except Exception as error:
            response = unexpected(error, scope)
            if not started:
                await response(scope, receive, send_named)
        finally:
            reset_contextvars(**tokens)


class InternalToken:
    """Lets through nobody but who shows the internal token, nobody at all if it is empty; health checks are open."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS and not self._authorized(scope):
            problem = Problem(
                Kind.UNAUTHORIZED,
                "This port answers the gateway alone: send `Authorization: Bearer <internal token>`",
                headers={"WWW-Authenticate": "Bearer"},
            )
            await respond(problem, scope)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _authorized(self, scope: Scope) -> bool:
        for name, value in scope["headers"]:
            if name == b"authorization":
                scheme, _, token = value.partition(b" ")
                shown = scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)
                return shown and bool(self._token)
        return False


def correlation_id_of(scope: Scope) -> str:
    """The id under which this request is traced."""
    correlation_id: str = scope[CORRELATION_ID]
    return correlation_id


def _read_headers(scope: Scope) -> tuple[str | None, int | None]:
    given: str | None = None
    length: int | None = None
    for name, value in scope["headers"]:
        if name == b"x-correlation-id":
            if given is None and _CORRELATION_ID.fullmatch(value):
                given = value.decode("ascii")
        elif name == b"content-length":
            length = int(value[:_LONGEST_LENGTH]) if value.isdigit() else None
    return given, length


def _bounded(receive: Receive, limit: int) -> Callable[[], Awaitable[Message]]:
    read = 0

    async def receive_bounded() -> Message:
        nonlocal read
        message = await receive()
        if message["type"] == "http.request":
            read += len(message.get("body", b""))
            if read > limit:
                raise _too_large(limit)
        return message

    return receive_bounded


def _too_large(limit: int) -> Problem:
    return Problem(Kind.TOO_LARGE, f"The body is larger than {limit} bytes; send less")
