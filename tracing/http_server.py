"""Trace HTTP requests: FastAPI does so itself, and is told which ones, and the names of those it doesn't route."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

from opentelemetry.propagate import set_global_textmap
from opentelemetry.trace import TracerProvider, get_current_span

from api.telemetry import HttpTraces
from tracing.context import W3C
from tracing.steps import Steps

_API: Final = "/api/"
_TRACEPARENT: Final = b"traceparent"


def of_gateway(provider: TracerProvider, steps: Steps) -> HttpTraces:
    """Requests of clients begin a trace, or continue theirs; probes, pages and `/metrics` are left out."""
    return _traces(provider, steps, exclude=lambda scope: not str(scope["path"]).startswith(_API))


def of_service(provider: TracerProvider, steps: Steps) -> HttpTraces:
    """Requests that the gateway makes for a client continue the client's trace; probes and `/metrics` have none."""
    return _traces(provider, steps, exclude=lambda scope: all(name != _TRACEPARENT for name, _ in scope["headers"]))


def _traces(provider: TracerProvider, steps: Steps, *, exclude: Any) -> HttpTraces:
    # What a client puts into `baggage` would travel on, to Temporal for example: nobody here has a use for it.
    set_global_textmap(W3C)
    return HttpTraces(
        fastapi={
            "tracer_provider": provider,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
            "exclude": exclude,
        },
        routed=_routed,
        current=steps.current,
        joining=steps.joining,
    )


def _routed(scope: MutableMapping[str, Any], template: str) -> None:
    span = get_current_span()
    span.update_name(f"{scope['method']} {template}")
    span.set_attribute("http.route", template)
