"""Trace messages as OpenTelemetry's conventions for messaging and RabbitMQ say: one span each.

https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from aiormq.abc import DeliveredMessage
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, get_current_span, use_span
from opentelemetry.util.types import AttributeValue

from choreography.headers import FIRST_EXCHANGE, FIRST_ROUTING_KEY, TRACEPARENT, text_in
from choreography.outgoing_message import OutgoingMessage
from choreography.traces import Sending
from models.messages import Envelope
from tracing.context import NOWHERE, current, parent, written

_LONGEST_ERROR: Final = 500  # characters


class Messages:
    """The messages that one process sends and handles (`SendingTraces`, `HandlingTraces`)."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def sending(self, messages: Sequence[OutgoingMessage]) -> Iterator[Sending]:
        spans = [self._sent(message) for message in messages]
        told = [
            replace(message, headers={**message.headers, TRACEPARENT: written(span)})
            for message, span in zip(messages, spans, strict=True)
        ]
        sending = Sending(messages=told)
        try:
            yield sending
            for span, error in zip(spans, sending.errors, strict=True):
                if error is not None:
                    _fail(span, type(error).__name__, str(error))
        except BaseException as error:  # whoever published may have waited long enough
            for span in spans:
                _fail(span, type(error).__name__, str(error))
            raise
        finally:
            for span in spans:
                span.end()

    def _sent(self, message: OutgoingMessage) -> Span:
        begun, asking = parent(message.headers.get(TRACEPARENT)), current()
        to = f"{message.exchange}:{message.routing_key}"
        attributes = _facts("send", to, message.routing_key, message.message_id, len(message.body))
        if message.correlation_id is not None:
            attributes["messaging.message.conversation_id"] = message.correlation_id
        span = self._tracer.start_span(f"send {to}", context=begun, kind=SpanKind.PRODUCER, attributes=attributes)
        # An operator, for example, has an event published again that belongs to the trace of its saga.
        if asking is not None and asking.get_span_context().trace_id != span.get_span_context().trace_id:
            span.add_link(asking.get_span_context())
        return span

    @contextmanager
    def handling(self, queue: str, message: DeliveredMessage) -> Iterator[str]:
        span = handled_span(self._tracer, queue, message)
        with use_span(span, end_on_exit=True):
            yield written(span)

    def handled(self, envelope: Envelope | None, *, attempt: int, disposition: str, error: str | None) -> None:
        span = get_current_span()
        span.set_attributes({"saga.attempt": attempt, "saga.disposition": disposition})
        if envelope is not None:
            span.set_attributes(
                {
                    "messaging.message.conversation_id": envelope.correlation_id,
                    "saga.event_type": str(envelope.event_type),
                    "saga.event_id": str(envelope.event_id),
                    "saga.order_id": envelope.order_id or "",
                    "saga.coordinator": str(envelope.coordinator),
                }
            )
        if error is not None:
            _fail(span, disposition, error)


def handled_span(tracer: Tracer, queue: str, message: DeliveredMessage) -> Span:
    """A span that has begun, for a message of this queue. It continues the context in the message's header, if any."""
    properties = message.header.properties
    told = properties.headers or {}
    exchange = text_in(told, FIRST_EXCHANGE, message.exchange or "")
    routing_key = text_in(told, FIRST_ROUTING_KEY, message.routing_key or "")
    at = f"{exchange}:{routing_key}:{queue}"
    return tracer.start_span(
        f"process {at}",
        context=parent(told.get(TRACEPARENT)) or NOWHERE,
        kind=SpanKind.CONSUMER,
        attributes=_facts("process", at, routing_key, properties.message_id or "", len(message.body)),
    )


def _facts(operation: str, destination: str, routing_key: str, message_id: str, size: int) -> dict[str, AttributeValue]:
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": destination,
        "messaging.rabbitmq.destination.routing_key": routing_key,
        "messaging.message.id": message_id,
        "messaging.message.body.size": size,
    }


def _fail(span: Span, kind: str, error: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR, error[:_LONGEST_ERROR])
