"""Trace the feed of the mirrors (`MirrorTraces`): a mirror has a trace of its own, linked with its saga's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from aiormq.abc import DeliveredMessage
from opentelemetry.trace import Tracer, use_span

from tracing.context import NOWHERE, links
from tracing.messages import handled_span


class Mirrors:
    """The mirrors that one worker tells."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def telling(self, order_id: str, queue: str, messages: Sequence[DeliveredMessage]) -> Iterator[None]:
        heard = [handled_span(self._tracer, queue, message) for message in messages]
        span = self._tracer.start_span(
            "tell mirror",
            context=NOWHERE,
            links=links(*(each.get_span_context() for each in heard)),
            attributes={"saga.order_id": order_id, "messaging.batch.message_count": len(messages)},
        )
        for each in heard:
            each.set_attribute("saga.order_id", order_id)
            each.add_link(span.get_span_context())
        try:
            with use_span(span, end_on_exit=True):
                yield
        finally:
            for each in heard:
                each.end()
