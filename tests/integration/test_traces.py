"""One saga is one trace, whatever happens to it. `pytest -s` prints the trees; docs/operations/traces.md has them."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import httpx
import psycopg
import pytest
from opentelemetry.sdk.trace import TracerProvider
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Interceptor, Replayer

from choreography.dead_letters import DeadLetters
from tests.support import otlp
from tests.support.messages import USER
from tests.support.otlp import Receiver, orphans, paths, paths_in, tree
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World
from tracing.tracing import Tracing
from workflows.arguments import DATA_CONVERTER
from workflows.naming import ORDER_TASK_QUEUE, workflow_id
from workflows.worker import WORKFLOWS, runner

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "traces.md"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVICES = ("order", "payment", "gateway")


@pytest.fixture
def spans(world: World) -> Iterator[Receiver]:
    """Spans of processes that are started from now on."""
    with otlp.receiver() as receiver:
        world.env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        yield receiver


def expect(spans: Receiver, order_id: str, title: str) -> None:
    """Wait until the order's trace is the tree that the page shows under this title, and no span is an orphan."""
    expected = paths_in(PAGE.read_text(), title)

    def found() -> bool:
        return paths(spans.of_order(order_id)) == expected

    try:
        until(found, within=15, what=title)
    finally:
        print(f"\n{title}\n\n{tree(spans.of_order(order_id))}")
    assert orphans(spans.of_order(order_id)) == []


def cancel(world: World, order_id: str) -> None:
    assert world.request("PATCH", f"/orders/{order_id}/cancel").status_code == 202


def change(world: World, role: str, sql: str) -> None:
    with psycopg.connect(world.dsn(role)) as connection:
        connection.execute(sql)


def test_a_paid_saga(world: World, temporal: TemporalServer, spans: Receiver) -> None:
    world.start(*SERVICES, "worker", temporal_address=temporal.address)
    order_id = world.post()
    expect(spans, order_id, "A paid saga")
    # Its mirror and the batches are traces of their own, linked both ways.
    saga = {(span.trace_id, span.span_id) for span in spans.of_order(order_id)}
    for name in ("commit orders", "commit payments", "tell mirror"):
        others = [span for span in spans.spans if span.name == name]
        assert others
        assert all(span.parent_id == "" and {*span.links} <= saga for span in others)
        known = {(span.trace_id, span.span_id) for span in others}
        assert known <= {link for span in spans.of_order(order_id) for link in span.links}
    charge = next(span for span in spans.spans if span.name == "provider charge")
    assert charge.attributes["saga.idempotency_key"] == str(world.payment(order_id)["id"])

    def complete() -> bool:
        traces = {span.trace_id for span in spans.spans}
        return not any(orphans([span for span in spans.spans if span.trace_id == trace]) for trace in traces)

    until(complete, what="no span of any trace is an orphan")


def test_a_refunded_saga_whose_payment_service_died(world: World, spans: Receiver) -> None:
    world.start("order", "gateway")
    world.start("payment", crash_at="payment.answered:1")
    order_id = world.post()
    world.wait_dead("payment")
    world.start("payment")
    world.wait_status(order_id, "PAID", "APPROVED")
    cancel(world, order_id)
    expect(spans, order_id, "A refunded saga whose payment service died during the charge")


def test_a_redriven_saga(world: World, spans: Receiver) -> None:
    world.start(*SERVICES, retry_delays="0.1")
    change(world, "payments", "ALTER TABLE payments RENAME TO away")
    order_id = world.post()
    until(world.dead_letters, what="order.created is a dead letter")
    change(world, "payments", "ALTER TABLE away RENAME TO payments")
    asyncio.run(DeadLetters(world.amqp_url).redrive(lambda _: True))
    expect(spans, order_id, "A saga whose message was redriven")
    told = [json.loads(line) for line in world.log("payment").splitlines() if "message_dead_lettered" in line]
    (dead,) = told
    (saga,) = {span.trace_id for span in spans.of_order(order_id)}
    assert dead["trace_id"] == saga
    assert dead["correlation_id"]


def test_an_orchestrated_saga(world: World, temporal: TemporalServer, spans: Receiver) -> None:
    world.start(*SERVICES, "worker", temporal_address=temporal.address)
    placed: list[str] = []

    def began_beside() -> bool:
        placed.append(world.post(coordinator="orchestration"))
        return temporal.began_beside(placed[-1])

    until(began_beside, what="the order service starts sagas")  # not all at once: its worker may not be there yet
    order_id = placed[-1]
    expect(spans, order_id, "An orchestrated saga")
    # A cancellation after the end is another run of the workflow, in the same trace.
    cancel(world, order_id)
    world.wait_status(order_id, "CANCELLED", "REFUNDED")
    expect(spans, order_id, "An orchestrated saga that is cancelled after its end")
    for history in asyncio.run(histories(temporal.address, order_id)):
        asyncio.run(replay_history(history, Tracing()))  # as a worker that does not trace any more
        asyncio.run(replay_history(history, Tracing(TracerProvider(shutdown_on_exit=False))))
    contexts = {
        row["traceparent"].split("-")[1]
        for role in ("orders", "payments")
        for row in world.rows(role, "SELECT traceparent FROM event_log WHERE order_id = %s", order_id)
    }
    assert contexts == {span.trace_id for span in spans.of_order(order_id)}


async def histories(address: str, order_id: str) -> list[WorkflowHistory]:
    """The histories of all runs of the order's workflow."""
    client = await Client.connect(address)
    runs = [run async for run in client.list_workflows(f"WorkflowId = '{workflow_id(order_id)}'")]
    assert len(runs) == 2
    return [await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history() for run in runs]


async def replay_history(history: WorkflowHistory, tracing: Tracing) -> None:
    replayer = Replayer(
        workflows=WORKFLOWS[ORDER_TASK_QUEUE],
        workflow_runner=runner(),
        data_converter=DATA_CONVERTER,
        interceptors=cast("Sequence[Interceptor]", tracing.interceptors),
    )
    await replayer.replay_workflow(history)


def test_a_mirrors_timer_cancels_in_the_sagas_trace(world: World, temporal: TemporalServer, spans: Receiver) -> None:
    world.has_run("payment")  # and is away
    world.start("order", "gateway", "worker", temporal_address=temporal.address, payment_timeout=1)
    order_id = world.post()
    world.wait_status(order_id, "CANCELLED")
    expect(spans, order_id, "A saga that its mirror cancels")


def test_relayed_and_replayed_events_stay_in_their_saga(world: World, spans: Receiver) -> None:
    world.start("order", "gateway")  # nobody reads order.created yet: it stays in the outbox
    order_id = world.post(headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    until(lambda: world.rows("orders", "SELECT FROM outbox"), what="order.created waits")
    world.start("payment")
    world.wait_status(order_id, "PAID", "APPROVED")

    def sent() -> int:
        return sum(span.name == "send orders.exchange:order.created" for span in spans.of_order(order_id))

    until(sent, what="it was relayed")
    before = sent()
    replay(world, "order")
    until(lambda: sent() > before, what="it was replayed")
    assert {span.trace_id for span in spans.of_order(order_id)} == {TRACE}

    def complete() -> bool:  # but for the client's own span
        return {span.parent_id for span in orphans(spans.of_order(order_id))} == {SPAN}

    until(complete, what="no span is an orphan")


def replay(world: World, process: str) -> None:
    url = f"http://127.0.0.1:{world.ports[process]}/events/replay"
    token = {"Authorization": f"Bearer {world.env['SAGA_INTERNAL_TOKEN']}"}

    def replayed() -> bool:
        return httpx.post(url, json={"since": "2020-01-01T00:00:00Z"}, headers=token).status_code == 200

    until(replayed, what="the service has replayed its events")  # refused until it knows that their reader has a queue


def test_rows_and_messages_without_a_context_and_strangers_contexts_are_fine(world: World, spans: Receiver) -> None:
    world.start(*SERVICES)
    old = world.post()
    world.wait_status(old, "PAID", "APPROVED")
    for role in ("orders", "payments"):
        change(world, role, "UPDATE event_log SET traceparent = NULL")
    replay(world, "order")
    cancel(world, old)
    world.wait_status(old, "CANCELLED", "REFUNDED")
    strange = world.post(headers={"traceparent": "00-nonsense", "baggage": "who=stranger"})
    command = {
        "eventType": "CreateOrderRequested",
        "eventId": "0198f7a2-0000-7000-8000-000000000001",
        "occurredAt": "2026-02-15T01:42:19Z",
        "correlationId": "c",
        "payload": {"userId": USER, "total": 5, "paymentMethod": "pm_card_visa"},
    }
    world.publish(("orders.exchange", "order.create.requested", command))
    world.wait_at_rest([strange])
    until(lambda: len(world.rows("orders", "SELECT FROM orders WHERE status = 'PAID'")) == 2, what="both are paid")
    until(lambda: not orphans(spans.of_order(strange)), what="no span is an orphan")
    world.prove_invariants()


def test_the_versions_before_and_processes_that_trace_work_together(world: World, spans: Receiver) -> None:
    world.start("gateway", "payment")
    del world.env["OTEL_EXPORTER_OTLP_ENDPOINT"]
    world.start("order")
    order_id = world.post()
    world.wait_status(order_id, "PAID", "APPROVED")
    assert world.rows("orders", "SELECT FROM event_log WHERE traceparent IS NOT NULL") == []
    assert world.rows("payments", "SELECT FROM event_log WHERE traceparent IS NULL") == []


@pytest.mark.parametrize("trouble", ["away", "refuses", "does not answer"])
def test_55_an_endpoint_in_trouble_harms_no_saga_and_fills_no_log(world: World, spans: Receiver, trouble: str) -> None:
    world.env |= {"OTEL_EXPORTER_OTLP_TIMEOUT": "0.5", "OTEL_BSP_MAX_QUEUE_SIZE": "20"}
    world.env |= {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10"}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        match trouble:
            case "away":
                world.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
            case "refuses":
                spans.answer = 503
            case _:
                world.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        world.start(*SERVICES)
        orders = [world.post() for _ in range(20)]
        world.wait_at_rest(orders)
        until(lambda: all("traces_not_exported" in world.log(name) for name in SERVICES), what="each log says so")
        tried = len(spans.requests)
        world.wait_at_rest([world.post() for _ in range(20)])  # their spans can't leave either: a flood would show
        if trouble == "refuses":
            until(lambda: len(spans.requests) >= tried + len(SERVICES), what="the services have tried again")
        began = time.monotonic()
        world.terminate(*SERVICES)
        assert time.monotonic() - began < 3 * 4  # seconds: each waits two for its last spans
    for name in SERVICES:
        events = [str(json.loads(line)["event"]) for line in world.log(name).splitlines()]
        assert len([event for event in events if "export" in event or "span" in event.lower()]) == 1, events
        assert "Traceback" not in world.log(name)
    world.prove_invariants()


def test_an_endpoint_that_comes_back_gets_what_follows(world: World, spans: Receiver) -> None:
    world.env["OTEL_EXPORTER_OTLP_TIMEOUT"] = "0.5"
    spans.answer = 503
    world.start(*SERVICES)
    world.wait_at_rest([world.post()])
    until(lambda: "traces_not_exported" in world.log("gateway"), what="the log says that it fails")
    spans.answer = 200
    order_id = world.post()
    world.wait_at_rest([order_id])
    until(lambda: "traces_exported_again" in world.log("gateway"), what="the log says that it works again")
    until(lambda: [span for span in spans.spans if span.service == "saga-payment"], what="spans arrive")


@pytest.mark.parametrize(
    "wrong",
    [{"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}],
    ids=["address", "protocol"],
)
def test_variables_that_cannot_be_used_turn_traces_off_and_stop_nothing(
    world: World, spans: Receiver, wrong: dict[str, str]
) -> None:
    world.env |= wrong
    world.start(*SERVICES)
    world.wait_at_rest([world.post()])
    assert all(world.log(name).count("traces_are_off") == 1 for name in SERVICES)
    assert spans.spans == []


def test_the_standard_variables_are_heeded_and_proxies_are_not(world: World, spans: Receiver) -> None:
    world.env |= {
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=7",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
    }
    # The payment service keeps the environment's proxies with this provider, for calls to it alone.
    world.start("order", "gateway")
    world.start("payment", provider="stripe", stripe_api_key="sk_test_x")
    world.post()
    until(lambda: len({span.name for span in spans.spans}) > 3, what="spans of several kinds arrive")
    assert {span.service for span in spans.spans} == {"shop"}
    assert {fields.get("x-tenant") for fields in spans.requests} == {"7"}
    until(lambda: any("payment-service" in span.name for span in spans.spans), what="the payment service exports")


def test_requests_are_named_after_their_routes_and_probes_have_no_span(world: World, spans: Receiver) -> None:
    world.start("order", "gateway")
    order_id = world.post(headers={"Idempotency-Key": "k"})
    for path in (f"/orders/{order_id}", f"/orders?userId={USER}"):
        assert world.request("GET", path).status_code == 200
    assert httpx.get(f"http://127.0.0.1:{world.ports['gateway']}/metrics").status_code == 200
    expected = {
        ("saga-gateway", "POST /api/orders"),
        ("saga-gateway", "GET /api/orders/{orderId}"),  # which FastAPI does not route
        ("saga-gateway", "GET /api/orders"),
        ("saga-order", "PUT /idempotency-keys"),
        ("saga-order", "GET /orders/{orderId}"),
        ("saga-order", "GET /orders"),
    }

    def requests() -> set[tuple[str, str]]:
        return {(span.service, span.name) for span in spans.spans if span.kind == "server"}

    until(lambda: requests() == expected, what=f"{expected} and no others")
    for span in spans.spans:
        if span.kind == "server" and span.service == "saga-order":
            assert span.parent_id in {each.span_id for each in spans.spans if each.service == "saga-gateway"}


def test_a_sampler_that_takes_nothing_leaves_no_span(world: World, spans: Receiver) -> None:
    world.env["OTEL_TRACES_SAMPLER"] = "always_off"
    world.start(*SERVICES)
    order_id = world.post()
    world.wait_at_rest([order_id])
    world.terminate(*SERVICES)
    assert spans.spans == []
