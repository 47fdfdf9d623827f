"""Protect an internal port by the internal token. Only health checks are open."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access import Access
from api.edge import Edge, host_of
from api.health import Readiness, health_routes
from api.problems import install, unauthorized
from api.telemetry import HttpTraces, Telemetry, fastapi_config, metrics_route
from api.tokens import DIGEST

_OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})


class InternalToken:
    """Lets through only requests with the internal token; none if the token is empty.

    Health checks need no token, but a host name that `access` allows. `token` may be the token's digest, `sha256:` and
    64 hex digits: a service then recognises the token without having it.
    """

    def __init__(self, app: ASGIApp, *, token: str, access: Access) -> None:
        self._app = app
        self._token = token.encode()
        self._is_digest = token.startswith(DIGEST)
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._authorized(scope):
            if scope["path"] not in _OPEN_PATHS:
                raise unauthorized()
            self._access.check_host(host_of(scope))
        await self._app(scope, receive, send)

    def _authorized(self, scope: Scope) -> bool:
        for name, value in scope["headers"]:
            if name == b"authorization":
                return bool(self._token) and hmac.compare_digest(self._compared(_token_in(value)), self._token)
        return False

    def _compared(self, shown: bytes) -> bytes:
        return DIGEST.encode() + sha256(shown).hexdigest().encode() if self._is_digest else shown


def _token_in(credentials: bytes) -> bytes:
    """The token that an `Authorization` field shows: a bearer token, or the password of Basic (RFC 7617) of any user.

    An original gateway knows a service by its URL alone, so that the token can only be that URL's password.
    """
    scheme, _, shown = credentials.partition(b" ")
    match scheme.lower():
        case b"bearer":
            return shown.strip()
        case b"basic":
            try:
                return b64decode(shown.strip(), validate=True).partition(b":")[2]
            except binascii.Error:
                return b""
        case _:
            return b""


def create_health_app(
    *,
    name: str,
    token: str,
    readiness: Readiness,
    access: Access | None = None,
    telemetry: Telemetry | None = None,
    traces: HttpTraces | None = None,
    routes: Iterable[APIRouter] = (),
) -> FastAPI:
    """The application of a process that answers health checks, what it measures, and these routes."""
    app = FastAPI(
        title=name,
        openapi_url=None,
        redirect_slashes=False,
        telemetry=fastapi_config(traces),
        middleware=[
            Middleware(Edge, telemetry=telemetry),
            Middleware(InternalToken, token=token, access=access or Access()),
        ],
    )
    install(app)
    for each in (health_routes(readiness), *routes):
        app.include_router(each)
    if telemetry is not None:
        app.include_router(metrics_route(telemetry))
    return app
