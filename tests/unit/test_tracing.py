"""What is traced, and how its spans hang together: with the SDK's own exporter in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from aiormq.abc import DeliveredMessage
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode, TraceFlags
from pamqp import commands
from pamqp.header import ContentHeader
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.book import Submission
from activities.saga_trace import SagaTrace
from choreography.headers import TRACEPARENT
from choreography.outgoing_message import NotStored, OutgoingMessage
from models.lifecycle import PaymentStatus
from models.messages import envelope_of
from models.payment import Payment
from models.saga import Coordinator, OrderCancelRequested, OrderId, OrderPaid, PaymentId
from tracing.context import linked
from tracing.log_ids import identify
from tracing.temporal import WorkflowTraces
from tracing.tracing import Tracing

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONTEXT = f"00-{TRACE}-{SPAN}-01"
ELSEWHERE = "00-11111111111111111111111111111111-2222222222222222-01"
ORDER = OrderId(UUID(int=7))
CARRIER = PayloadConverter.default.to_payload({"traceparent": CONTEXT})


class Traced:
    """A process that traces into memory."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False, **options)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider)
        self.tracer = provider.get_tracer("test")
        assert self.tracing.messages and self.tracing.steps and self.tracing.mirrors and self.tracing.provider
        self.messages, self.steps = self.tracing.messages, self.tracing.steps
        self.mirrors, self.provider = self.tracing.mirrors, self.tracing.provider

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """Those that have ended, by name."""
        return {span.name: span for span in self._exporter.get_finished_spans()}

    def only(self) -> ReadableSpan:
        (span,) = self._exporter.get_finished_spans()
        return span


@pytest.fixture
def traced() -> Traced:
    return Traced()


def hexes(span: ReadableSpan) -> tuple[str, str]:
    """The ids of a span: of its trace, and its own."""
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def place(context: str | None) -> tuple[str, ...]:
    """The same of a context."""
    return tuple((context or "").split("-")[1:3])


def parent_of(span: ReadableSpan) -> str | None:
    return f"{span.parent.span_id:016x}" if span.parent else None


def links_of(span: ReadableSpan) -> set[tuple[str, str]]:
    return {(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in span.links}


def outgoing(headers: dict[str, Any] | None = None) -> OutgoingMessage:
    return OutgoingMessage(
        body=b"{}",
        exchange="orders.exchange",
        routing_key="order.paid",
        message_id="m",
        correlation_id="c",
        headers=headers or {},
    )


def delivered(
    *, exchange: str = "orders.exchange", routing_key: str = "order.paid", **headers: Any
) -> DeliveredMessage:
    content = ContentHeader(properties=commands.Basic.Properties(headers=headers, message_id="m"))
    deliver = commands.Basic.Deliver(exchange=exchange, routing_key=routing_key)
    return DeliveredMessage(delivery=deliver, header=content, body=b"{}", channel=None)  # type: ignore[arg-type]


def test_a_message_continues_the_context_that_was_logged_with_its_event(traced: Traced) -> None:
    with traced.messages.sending([outgoing({TRACEPARENT: CONTEXT, "x-saga-replayed": True})]) as sending:
        sending.errors = [None]
    span = traced.only()
    assert (span.name, span.kind) == ("send orders.exchange:order.paid", SpanKind.PRODUCER)
    assert (hexes(span)[0], parent_of(span)) == (TRACE, SPAN)
    (message,) = sending.messages
    assert message.headers == {TRACEPARENT: "00-{}-{}-01".format(*hexes(span)), "x-saga-replayed": True}
    assert span.attributes == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "orders.exchange:order.paid",
        "messaging.rabbitmq.destination.routing_key": "order.paid",
        "messaging.message.id": "m",
        "messaging.message.body.size": 2,
        "messaging.message.conversation_id": "c",
    }


def test_a_command_continues_the_request_in_which_it_is_sent(traced: Traced) -> None:
    with traced.tracer.start_as_current_span("POST"), traced.messages.sending([outgoing()]) as sending:
        sending.errors = [None]
    assert parent_of(traced.spans["send orders.exchange:order.paid"]) == hexes(traced.spans["POST"])[1]


def test_an_event_that_is_published_again_for_somebody_stays_in_its_trace_and_names_who_asked(traced: Traced) -> None:
    continued = outgoing({TRACEPARENT: CONTEXT})
    with traced.tracer.start_as_current_span("replay"), traced.messages.sending([continued]) as sending:
        sending.errors = [None]
    span = traced.spans["send orders.exchange:order.paid"]
    assert (hexes(span)[0], links_of(span)) == (TRACE, {hexes(traced.spans["replay"])})


def test_a_message_that_was_not_confirmed_has_failed_and_its_neighbour_has_not(traced: Traced) -> None:
    other = replace(outgoing(), routing_key="order.failed")
    with traced.messages.sending([outgoing(), other]) as sending:
        sending.errors = [NotStored("there is no connection"), None]
    failed, sent = traced.spans["send orders.exchange:order.paid"], traced.spans["send orders.exchange:order.failed"]
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "there is no connection")
    assert failed.attributes and failed.attributes["error.type"] == "NotStored"
    assert sent.status.status_code is StatusCode.UNSET


def test_messages_that_nobody_waited_for_have_ended_all_the_same(traced: Traced) -> None:
    with pytest.raises(asyncio.CancelledError), traced.messages.sending([outgoing()]):
        raise asyncio.CancelledError
    assert traced.only().status.status_code is StatusCode.ERROR


def test_a_handled_message_continues_the_context_in_its_header(traced: Traced) -> None:
    event = envelope_of(
        OrderPaid(order_id=ORDER),
        event_id=UUID(int=4),
        occurred_at=datetime(2026, 2, 15, tzinfo=UTC),
        correlation_id="c",
    )
    with traced.messages.handling("saga-mirror", delivered(traceparent=CONTEXT)) as context:
        assert traced.steps.current() == context
        traced.messages.handled(event, attempt=1, disposition="Ack", error=None)
    span = traced.only()
    assert (span.name, span.kind) == ("process orders.exchange:order.paid:saga-mirror", SpanKind.CONSUMER)
    assert (hexes(span)[0], parent_of(span)) == (TRACE, SPAN)
    assert place(context) == hexes(span)
    assert span.attributes
    assert span.attributes["messaging.message.conversation_id"] == "c"
    assert span.attributes["saga.order_id"] == str(ORDER)
    assert span.status.status_code is StatusCode.UNSET


def test_a_retried_message_is_named_after_where_it_was_first_published(traced: Traced) -> None:
    again = delivered(
        exchange="",
        routing_key="order-service",
        **{"x-saga-exchange": "payments.exchange", "x-saga-routing-key": "payment.approved"},
    )
    with traced.messages.handling("order-service", again):
        traced.messages.handled(None, attempt=2, disposition="RetryAfter", error="not yet")
    span = traced.only()
    assert span.name == "process payments.exchange:payment.approved:order-service"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "not yet")
    assert span.attributes and span.attributes["saga.attempt"] == 2


STRANGE = [
    None, 7, b"00", {"a": 1}, "", "x" * 600, CONTEXT + "-more", CONTEXT.upper(),
    f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE[1:]}-{SPAN}-01",
]  # fmt: skip


@pytest.mark.parametrize("strange", STRANGE)
def test_a_message_with_no_context_or_a_strangers_malformed_one_begins_a_trace(traced: Traced, strange: object) -> None:
    with traced.messages.handling("order-service", delivered(traceparent=strange)):
        pass
    span = traced.only()
    assert (parent_of(span), links_of(span)) == (None, set())
    assert linked(strange) is None


def test_a_batch_is_a_trace_of_its_own_that_is_linked_with_its_messages_both_ways(traced: Traced) -> None:
    with (
        traced.messages.handling("order-service", delivered(traceparent=CONTEXT)) as context,
        traced.steps.batch("orders", [traced.steps.current(), ELSEWHERE, None]),
    ):
        pass
    batch, message = traced.spans["commit orders"], traced.spans["process orders.exchange:order.paid:order-service"]
    assert parent_of(batch) is None
    assert hexes(batch)[0] not in (TRACE, ELSEWHERE.split("-")[1])
    assert links_of(batch) == {hexes(message), ("1" * 32, "2" * 16)}
    assert place(context) == hexes(message)
    assert links_of(message) == {hexes(batch)}
    assert batch.attributes and batch.attributes["messaging.batch.message_count"] == 3


def test_a_batch_of_nothing_that_is_traced_has_no_span(traced: Traced) -> None:
    with traced.steps.batch("orders", [None, f"00-{TRACE}-{SPAN}-00"]):
        pass
    assert traced.spans == {}


def test_a_batch_that_fails_has_failed(traced: Traced) -> None:
    with pytest.raises(OSError, match="away"), traced.steps.batch("orders", [CONTEXT]):
        raise OSError("the database is away")
    assert traced.only().status.status_code is StatusCode.ERROR


def test_what_is_not_sampled_leaves_no_span_and_hands_its_context_on() -> None:
    traced = Traced(sampler=ParentBased(ALWAYS_OFF))
    with (
        traced.messages.handling("order-service", delivered()) as context,
        traced.messages.sending([outgoing({TRACEPARENT: context})]) as sending,
    ):
        sending.errors = [None]
    (message,) = sending.messages
    assert message.headers[TRACEPARENT].split("-")[1] == context.split("-")[1]
    assert not int(message.headers[TRACEPARENT][-2:], 16) & TraceFlags.SAMPLED
    assert traced.spans == {}


def test_a_mirror_has_a_trace_of_its_own_that_is_linked_with_its_sagas(traced: Traced) -> None:
    messages = [delivered(traceparent=CONTEXT), delivered(routing_key="order.created", traceparent=CONTEXT)]
    with traced.mirrors.telling(str(ORDER), "saga-mirror", messages):
        inside = traced.steps.current()
    told = traced.spans["tell mirror"]
    heard = [span for name, span in traced.spans.items() if name.startswith("process")]
    assert [hexes(span)[0] for span in heard] == [TRACE, TRACE]
    assert (parent_of(told), links_of(told)) == (None, {hexes(span) for span in heard})
    assert all(links_of(span) == {hexes(told)} for span in heard)
    assert place(inside) == hexes(told)


@pytest.mark.parametrize(
    ("outcome", "failed"), [("charged", False), ("declined", False), ("provider_unavailable", True)]
)
def test_a_call_of_the_provider_names_its_idempotency_key(traced: Traced, outcome: str, failed: bool) -> None:
    payment = Payment(
        id=PaymentId(UUID(int=9)),
        order_id=ORDER,
        amount=999,
        currency="USD",
        payment_method=None,
        coordinator=Coordinator.CHOREOGRAPHY,
        status=PaymentStatus.PROCESSING,
    )
    with traced.messages.handling("payment-service", delivered()):
        traced.provider.provider_answered("charge", outcome, 1.5, payment)
    call, message = traced.spans["provider charge"], traced.spans["process orders.exchange:order.paid:payment-service"]
    assert (call.kind, parent_of(call)) == (SpanKind.CLIENT, hexes(message)[1])
    assert call.attributes and call.attributes["saga.idempotency_key"] == str(payment.id)
    assert call.end_time and call.start_time
    assert call.end_time - call.start_time == 1_500_000_000
    assert (call.status.status_code is StatusCode.ERROR) is failed


class Log:
    """An event log that knows this context of any order, or is away."""

    def __init__(self, *contexts: str, away: bool = False) -> None:
        self._contexts = contexts
        self._away = away

    async def query(self, _sql: str, _params: Sequence[object]) -> list[dict[str, str]]:
        if self._away:
            raise OSError("the database is away")
        return [{"traceparent": context} for context in self._contexts]


def step_in(traced: Traced, log: Log, message: Any) -> AbstractContextManager[None]:
    submission = Submission(message=message, event_id=UUID(int=1), correlation_id="c")
    return asyncio.run(SagaTrace(log, traced.steps).step(submission))  # type: ignore[arg-type]


CANCEL = OrderCancelRequested(order_id=ORDER)


def test_a_cancellation_joins_the_trace_of_its_saga_and_is_linked_with_who_asked(traced: Traced) -> None:
    with (
        traced.messages.handling("order-service", delivered(traceparent=ELSEWHERE)),
        step_in(traced, Log(CONTEXT), CANCEL),
    ):
        pass
    step, message = (
        traced.spans["step OrderCancelRequested"],
        traced.spans["process orders.exchange:order.paid:order-service"],
    )
    assert (hexes(step)[0], parent_of(step)) == (TRACE, SPAN)
    assert (links_of(step), links_of(message)) == ({hexes(message)}, {hexes(step)})


@pytest.mark.parametrize(
    "log", [Log(), Log(away=True), Log("malformed"), Log(CONTEXT)], ids=["none", "away", "bad", "same"]
)
def test_a_cancellation_stays_where_it_is_if_that_is_its_sagas_trace_or_none_is_known(traced: Traced, log: Log) -> None:
    with (
        traced.messages.handling("order-service", delivered(traceparent=CONTEXT)) as context,
        step_in(traced, log, CANCEL),
    ):
        assert traced.steps.current() == context
    assert len(traced.spans) == 1


def test_another_message_needs_no_look_into_the_log(traced: Traced) -> None:
    with (
        traced.messages.handling("order-service", delivered(traceparent=ELSEWHERE)) as context,
        step_in(traced, Log(CONTEXT), OrderPaid(order_id=ORDER)),
    ):
        assert traced.steps.current() == context


def test_a_step_that_nobody_traces_joins_its_saga(traced: Traced) -> None:
    with step_in(traced, Log(CONTEXT), OrderPaid(order_id=ORDER)):
        pass
    assert hexes(traced.only())[0] == TRACE


@pytest.mark.parametrize(("headers", "expected"), [({}, []), ({"_tracer-data": CARRIER}, ["RunActivity:charge"])])
def test_an_activity_is_traced_if_the_workflow_that_asks_for_it_is(
    traced: Traced, headers: dict[str, Payload], expected: list[str]
) -> None:
    (interceptor,) = traced.tracing.interceptors
    assert isinstance(interceptor, WorkflowTraces)
    running = interceptor.intercept_activity(Inner())
    asked = ExecuteActivityInput(fn=int, args=[], executor=None, headers=headers)
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, activity_type="charge")
    assert asyncio.run(environment.run(running.execute_activity, asked)) == "done"
    assert list(traced.spans) == expected
    assert all(hexes(span)[0] == TRACE for span in traced.spans.values())


class Inner(ActivityInboundInterceptor):
    """Where the activity itself would run."""

    def __init__(self) -> None:
        pass

    async def execute_activity(self, input: ExecuteActivityInput) -> str:
        return "done"


def test_the_log_names_the_trace(traced: Traced) -> None:
    assert identify(None, "info", {"event": "e"}) == {"event": "e"}
    with traced.messages.handling("order-service", delivered(traceparent=CONTEXT)):
        line = identify(None, "info", {"event": "e"})
        known = identify(None, "info", {"event": "e", "trace_id": "another"})
    assert line == {"event": "e", "trace_id": TRACE, "span_id": hexes(traced.only())[1]}
    assert known == {"event": "e", "trace_id": "another"}


def test_without_a_provider_there_is_nothing_to_tell() -> None:
    off = Tracing()
    assert [off.messages, off.steps, off.mirrors, off.provider, off.gateway, off.service] == [None] * 6
    assert off.interceptors == ()
