"""Write trace contexts as W3C `traceparent`s, and read them with care, because a stranger may have written them."""

from __future__ import annotations

from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanContext, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

W3C: Final = TraceContextTextMapPropagator()
_NAME: Final = "traceparent"
NOWHERE: Final = Context()  # for spans that begin a trace, whatever is current


def written(span: Span) -> str:
    """The context of this span."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def current() -> Span | None:
    """The span of what runs here now; None if that is not traced."""
    span = get_current_span()
    return None if span is INVALID_SPAN else span


def parent(traceparent: object) -> Context | None:
    """The context in which to continue; None if this is not one."""
    if not isinstance(traceparent, str):
        return None
    found = W3C.extract({_NAME: traceparent}, Context())
    return found if get_current_span(found) is not INVALID_SPAN else None


def linked(traceparent: object) -> SpanContext | None:
    """The context as links take it; None if this is not one."""
    found = parent(traceparent)
    return None if found is None else get_current_span(found).get_span_context()


def links(*contexts: SpanContext | None) -> list[Link]:
    """Links to these contexts, without those that are none."""
    return [Link(context) for context in contexts if context is not None and context.is_valid]
