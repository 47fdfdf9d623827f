"""Export spans by OTLP over HTTP, as the OTEL_… variables say; trouble there is told, and harms nothing else."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final
from uuid import uuid4

import requests
import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_BSP_SCHEDULE_DELAY, OTEL_SPAN_LINK_COUNT_LIMIT
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

log = structlog.get_logger()

_AT_LATEST: Final = 1_000.0  # milliseconds until a span leaves: a process that is killed loses those that are left
_LINKS: Final = 1_000  # of a batch, which has a link for each message


class Exporter(SpanExporter):
    """Exports by another exporter, and says once when that begins to fail, and once when it works again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = 0  # spans since it began to fail

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._lost:
                log.info("traces_exported_again", spans_lost=self._lost)
            self._lost = 0
            return result
        if not self._lost:
            log.warning("traces_not_exported: look at OTEL_EXPORTER_OTLP_ENDPOINT, and at what listens there")
        self._lost += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def provider_of(process: str) -> TracerProvider:
    """What makes and exports the spans of this process. Spans that can't leave are dropped, the oldest first.

    Raises ValueError if an OTEL_… variable can't be used.
    """
    # No proxy, netrc or certificate of the environment: those are for the payment provider. A collector is one of ours.
    session = requests.Session()
    session.trust_env = False
    provider = TracerProvider(
        resource=_resource(process),
        shutdown_on_exit=False,  # `Tracing.end` does so, in bounded time
        span_limits=SpanLimits(max_links=None if os.environ.get(OTEL_SPAN_LINK_COUNT_LIMIT) else _LINKS),
    )
    delay = None if os.environ.get(OTEL_BSP_SCHEDULE_DELAY) else _AT_LATEST
    exporter = Exporter(OTLPSpanExporter(session=session))
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=delay))
    # From now on the libraries would tell each failure, several times a second. `Exporter` says the same once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return provider


def _resource(process: str) -> Resource:
    ours = {
        "service.name": f"saga-{process}",
        "service.namespace": "payment-saga",
        "service.version": version("payment-saga"),
        "service.instance.id": str(uuid4()),
    }
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})
