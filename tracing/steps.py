"""Trace transactions, and the steps that are asked for from outside their saga (`LedgerTraces`, `StepTraces`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from weakref import WeakValueDictionary

from opentelemetry.trace import Span, SpanKind, Tracer, use_span

from tracing.context import NOWHERE, current, linked, links, parent, written


class Steps:
    """The steps of one service."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._under_way: WeakValueDictionary[str, Span] = WeakValueDictionary()  # by their contexts

    def current(self) -> str | None:
        span = current()
        if span is None:
            return None
        context = written(span)
        self._under_way[context] = span
        return context

    @contextmanager
    def batch(self, table: str, contexts: Sequence[str | None]) -> Iterator[None]:
        """A batch has messages of many sagas, so it is a trace of its own. It and its messages are linked."""
        messages = [context for context in map(linked, contexts) if context is not None and context.trace_flags.sampled]
        if not messages:
            yield
            return
        attributes: dict[str, str | int] = {
            "db.system.name": "postgresql",
            "db.collection.name": table,
            "messaging.batch.message_count": len(contexts),
        }
        with self._tracer.start_as_current_span(
            f"commit {table}", context=NOWHERE, links=links(*messages), attributes=attributes
        ) as span:
            for each in contexts:
                if each is not None and (message := self._under_way.get(each)) is not None:
                    message.add_link(span.get_span_context())
            yield

    def joining(self, saga: str, name: str) -> AbstractContextManager[None]:
        asking, known = current(), linked(saga)
        if known is None or (asking is not None and asking.get_span_context().trace_id == known.trace_id):
            return nullcontext()
        return self._joined(saga, name, asking)

    @contextmanager
    def _joined(self, saga: str, name: str, asking: Span | None) -> Iterator[None]:
        because = links(asking.get_span_context() if asking is not None else None)
        span = self._tracer.start_span(f"step {name}", context=parent(saga), kind=SpanKind.INTERNAL, links=because)
        if asking is not None:
            asking.add_link(span.get_span_context())
        with use_span(span, end_on_exit=True):
            yield
