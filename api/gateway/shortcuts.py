"""Answer reads of one thing by its id without FastAPI, whose routing costs three times as much as the answer."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.schemas import NoQuery
from api.telemetry import ROUTE, HttpTraces

Endpoint: TypeAlias = Callable[[Request, UUID, NoQuery], Awaitable[Response]]

_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_QUERY: Final = NoQuery()


class Shortcuts:
    """The endpoints that may be reached without FastAPI, each with its route's template.

    FastAPI routes to the same endpoints, and describes them. What must be checked before one of them answers belongs
    into the endpoint or into a layer further out: dependencies of the route are not looked at here.
    """

    def __init__(self) -> None:
        self._endpoints: dict[str, tuple[Endpoint, str]] = {}  # by the path in front of the id

    def to(self, template: str) -> Callable[[Endpoint], Endpoint]:
        """Decorate the endpoint that answers `GET` of this template, which ends with the id."""

        def note(endpoint: Endpoint) -> Endpoint:
            self._endpoints[template.rpartition("/")[0]] = endpoint, template
            return endpoint

        return note

    def find(self, scope: Scope) -> tuple[Endpoint, UUID] | None:
        """The endpoint, and the id it is asked for; None for whatever is not written in the usual way."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
            return None
        path, _, written = scope["path"].rpartition("/")
        known = self._endpoints.get(path)
        if known is None or not _ID.fullmatch(written):
            return None
        endpoint, scope[ROUTE] = known
        return endpoint, UUID(written)


class ByShortcut:
    """The layer that takes the shortcuts, inside the one that turns problems into answers; the rest is the app's."""

    def __init__(self, app: ASGIApp, *, shortcuts: Shortcuts, traces: HttpTraces | None = None) -> None:
        self._app = app
        self._traces = traces
        self._shortcuts = shortcuts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._shortcuts.find(scope)
        if found is None:
            await self._app(scope, receive, send)
            return
        if self._traces is not None:
            self._traces.routed(scope, scope[ROUTE])
        endpoint, identifier = found
        answer = await endpoint(Request(scope, receive, send), identifier, _NO_QUERY)
        await answer(scope, receive, send)
