"""Decide by the environment whether a process traces, and end its traces with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import structlog

from stack.addresses import Process
from tracing.tracing import Tracing

log = structlog.get_logger()

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_LAST_SPANS: Final = 2.0  # seconds in which those must leave that are left when the process ends


def traced(environ: Mapping[str, str]) -> bool:
    """Whether this environment asks for traces."""
    return (
        bool(environ.get(ENDPOINT))
        and environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
        and environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "none"
    )


@contextmanager
def tracing_of(process: Process, environ: MutableMapping[str, str]) -> Iterator[Tracing]:
    """The traces of this process; none unless they are asked for. Wrong variables turn them off, and stop nothing."""
    tracing = _exported(process, environ) if traced(environ) else Tracing()
    try:
        yield tracing
    finally:
        tracing.end(within=_LAST_SPANS)


def _exported(process: Process, environ: MutableMapping[str, str]) -> Tracing:
    for name in [name for name, value in environ.items() if name.startswith("OTEL_") and not value]:
        del environ[name]  # empty counts as not set, but the SDK complains
    try:
        _check(environ)
        from tracing.exporting import provider_of  # OpenTelemetry's SDK: no process needs it that doesn't trace

        return Tracing(provider_of(process))
    except Exception as error:  # whatever it is, sagas go on without their traces
        log.error("traces_are_off", error=f"{type(error).__name__}: {error}")  # noqa: TRY400
        return Tracing()


def _check(environ: Mapping[str, str]) -> None:
    """Raises ValueError, which says what is wrong."""
    for name in (ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        given = urlsplit(environ.get(name, ""))
        if environ.get(name) and (given.scheme not in ("http", "https") or not given.hostname):
            raise ValueError(f"{name} must be a URL such as http://collector:4318")
    for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"):
        if environ.get(name, "http/protobuf") not in ("", "http/protobuf"):
            raise ValueError(f"{name} must be http/protobuf, the only protocol spoken here; a collector translates")
