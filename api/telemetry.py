"""Have each answer measured and traced, and show what a process measures at `/metrics`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, TypeAlias

from fastapi import APIRouter
from fastapi.telemetry import TelemetryConfig
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

# Told of each request: its method, the route's template, the status (499 if the client left), and the seconds until the
# answer began.
Answered: TypeAlias = Callable[[str, str, int, float], None]
# The text for Prometheus and its media type, given what the Accept field takes.
Render: TypeAlias = Callable[[str], Awaitable[tuple[bytes, str]]]

METRICS_PATH: Final = "/metrics"
CLIENT_LEFT: Final = 499  # no status of HTTP, but what proxies write for it

ROUTE: Final = "saga.route"  # where the template is kept in an ASGI scope if no route of the framework was used
_NO_ROUTE: Final = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Telemetry:
    """How a process is measured."""

    answered: Answered
    render: Render


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpTraces:
    """How the requests of a process are traced."""

    fastapi: TelemetryConfig
    routed: Callable[[Scope, str], None]  # told of the template of a request that FastAPI does not route itself
    current: Callable[[], str | None]  # the trace context of what runs now, as a `traceparent`
    # Inside, a step of this name belongs to the trace of this context: a saga's, whoever asks for the step.
    joining: Callable[[str, str], AbstractContextManager[None]]


_UNTRACED: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def fastapi_config(traces: HttpTraces | None) -> TelemetryConfig:
    """What FastAPI is to tell of requests: their spans, and nothing unless they are traced."""
    return _UNTRACED if traces is None else traces.fastapi


def metrics_route(telemetry: Telemetry) -> APIRouter:
    """`/metrics`, for Prometheus; it is no part of what clients use, so no OpenAPI document has it."""
    router = APIRouter()

    @router.get(METRICS_PATH, include_in_schema=False)
    async def get_metrics(request: Request) -> Response:
        text, media_type = await telemetry.render(request.headers.get("accept", ""))
        return Response(text, media_type=media_type, headers={"Cache-Control": "no-store"})

    return router


def route_of(scope: Scope) -> str:
    """The template of the route that was found, never the path: there are as many paths as orders."""
    if (template := scope.get(ROUTE)) is not None:
        return str(template)
    inner: str | None = getattr(scope.get("route"), "path", None)
    if inner is None:
        return _NO_ROUTE
    # A route knows its template without the prefixes of its routers, which are the rest of the path, and fixed.
    path = str(scope["path"])
    if ":path}" in inner:  # what stands there may have slashes
        return path.partition(inner.partition("{")[0])[0] + inner.replace(":path}", "}")
    return (path.rsplit("/", inner.count("/"))[0] if inner else path) + inner
