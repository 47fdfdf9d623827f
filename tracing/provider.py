"""Trace the calls of the payment provider (`ProviderMeasures`)."""

from __future__ import annotations

import time

from opentelemetry.trace import SpanKind, StatusCode, Tracer

from models.payment import Payment

_NO_ANSWER = frozenset({"provider_unavailable", "refund_refused", "foreign_answer", "error"})


class ProviderCalls:
    """The calls that one process makes. Each belongs to the message or the activity for which it is made."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def provider_answered(self, operation: str, outcome: str, seconds: float, payment: Payment) -> None:
        ended = time.time_ns()
        span = self._tracer.start_span(
            f"provider {operation}",
            kind=SpanKind.CLIENT,
            start_time=ended - int(seconds * 1e9),
            attributes={
                "saga.provider.operation": operation,
                "saga.provider.outcome": outcome,
                "saga.idempotency_key": str(payment.id),
                "saga.order_id": str(payment.order_id),
            },
        )
        if outcome in _NO_ANSWER:
            span.set_attribute("error.type", outcome)
            span.set_status(StatusCode.ERROR)
        span.end(ended)
