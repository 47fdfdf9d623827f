"""Add the trace to the lines of the log."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from tracing.context import current


def identify(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the ids of the span that is current to an event of the log (a processor of structlog)."""
    if (span := current()) is not None and "trace_id" not in event:
        context = span.get_span_context()
        event["trace_id"], event["span_id"] = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return event
