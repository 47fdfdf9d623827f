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

Endpoint: TypeAlias = Callable[[Request, UUID, NoQuery], Awaitable[Response]]

_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_QUERY: Final = NoQuery()


class Shortcuts:
    """The endpoints that may be reached without FastAPI, by the path in front of the id.

    FastAPI routes to the same endpoints, and describes them. What must be checked before one of them answers belongs
    into the endpoint or into a layer further out: dependencies of the route are not looked at here.
    """

    def __init__(self) -> None:
        self._endpoints: dict[str, Endpoint] = {}

    def to(self, path: str) -> Callable[[Endpoint], Endpoint]:
        """Decorate the endpoint that answers `GET path/{id}`."""

        def note(endpoint: Endpoint) -> Endpoint:
            self._endpoints[path] = endpoint
            return endpoint

        return note

    def find(self, scope: Scope) -> tuple[Endpoint, UUID] | None:
        """The endpoint, and the id it is asked for; None for whatever is not written in the usual way."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
            return None
        path, _, written = scope["path"].rpartition("/")
        endpoint = self._endpoints.get(path)
        if endpoint is None or not _ID.fullmatch(written):
            return None
        return endpoint, UUID(written)


class ByShortcut:
    """The layer that takes the shortcuts, inside the one that turns problems into answers; the rest is the app's."""

    def __init__(self, app: ASGIApp, *, shortcuts: Shortcuts) -> None:
        self._app = app
        self._shortcuts = shortcuts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._shortcuts.find(scope)
        if found is None:
            await self._app(scope, receive, send)
            return
        endpoint, identifier = found
        answer = await endpoint(Request(scope, receive, send), identifier, _NO_QUERY)
        await answer(scope, receive, send)
