"""What a process counts and reads becomes text for Prometheus, with bounded labels, and nothing stands in its way."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from activities.measures import SagaEnd
from activities.orders import ORDERS
from activities.payments import PAYMENTS
from activities.providers import ProviderUnavailable
from activities.providers.measured import MeasuredProvider
from choreography.headers import REPLAYED
from metrics.exposition import Exposition, Reading
from metrics.instruments import Batches, Deliveries, Requests, Sagas
from metrics.measuring import Measuring
from metrics.temporal import TemporalMetrics
from models.lifecycle import OrderStatus
from models.order import Order
from models.outcome import Charged, Refunded
from models.saga import Coordinator, OrderId, UserId
from workflows.mirror_lag import oldest

pytestmark = pytest.mark.anyio


def samples(text: str) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    """By name, the value of each set of labels."""
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def order(status: OrderStatus) -> Order:
    return Order(
        id=OrderId(UUID(int=1)),
        user_id=UserId(UUID(int=2)),
        total=999,
        currency="USD",
        payment_method=None,
        coordinator=Coordinator.ORCHESTRATION,
        status=status,
    )


@pytest.mark.parametrize("status", list(OrderStatus))
@pytest.mark.parametrize("before", [None, *OrderStatus])
def test_a_saga_ends_once_with_the_first_status_that_is_an_end(before: OrderStatus | None, status: OrderStatus) -> None:
    end = ORDERS.ended(order(before) if before else None, order(status))
    ends = status.over and (before is None or not before.over)
    assert end == (SagaEnd(coordinator=Coordinator.ORCHESTRATION, outcome=status.value) if ends else None)


def test_no_change_of_a_payment_ends_a_saga() -> None:
    anything: Any = object()
    assert PAYMENTS.ended(None, anything) is None


def test_every_outcome_can_be_seen_before_the_first_saga_ends() -> None:
    registry = CollectorRegistry()
    sagas = Sagas(registry)
    for coordinator in ("choreography", "orchestration"):
        for outcome in ("PAID", "CANCELLED", "FAILED"):
            assert value(registry, "saga_ended_total", coordinator=coordinator, outcome=outcome) == 0
    sagas.saga_ended(SagaEnd(coordinator=Coordinator.CHOREOGRAPHY, outcome="PAID"), 0.2)
    assert value(registry, "saga_ended_total", coordinator="choreography", outcome="PAID") == 1
    assert value(registry, "saga_duration_seconds_sum", coordinator="choreography") == pytest.approx(0.2)
    assert value(registry, "saga_duration_seconds_count", coordinator="orchestration") == 0


def test_deliveries_are_counted_by_what_became_of_them() -> None:
    registry = CollectorRegistry()
    deliveries = Deliveries(registry, "order-service")
    deliveries.settled("order-service", "retry")
    counted = {
        each: value(registry, "saga_messages_total", queue="order-service", disposition=each)
        for each in ("ack", "retry", "dead_letter")
    }
    assert counted == {"ack": 0, "retry": 1, "dead_letter": 0}


def test_methods_that_nobody_knows_are_counted_together() -> None:
    registry = CollectorRegistry()
    requests = Requests(registry)
    for n in range(50):
        requests.answered(f"BREW{n}", "none", 405, 0.01)
    assert value(registry, "saga_http_requests_total", method="other", route="none", status="405") == 50


def test_processes_of_one_interpreter_share_nothing() -> None:
    first, second = CollectorRegistry(), CollectorRegistry()
    Batches(first).batch_committed(3)
    Batches(second)
    assert (value(first, "saga_batch_size_count"), value(second, "saga_batch_size_count")) == (1, 0)


# what is read


def reading(number: float) -> Reading:
    return Reading(name="saga_outbox_events", about="Events.", value=number)


async def test_gauges_are_read_when_somebody_asks_and_not_twice_at_once() -> None:
    reads: list[int] = []

    async def source() -> Sequence[Reading]:
        reads.append(1)
        await asyncio.sleep(0)
        return [reading(7)]

    exposition = Exposition()
    exposition.add(source)
    texts = await asyncio.gather(*(exposition.render("") for _ in range(5)))
    assert len(reads) == 1
    for text, media_type in texts:
        assert samples(text.decode())["saga_outbox_events"] == {frozenset(): 7.0}
        assert media_type.startswith("text/plain")


async def test_what_can_not_be_read_is_left_out_and_the_rest_is_told() -> None:
    async def broken() -> Iterable[Reading]:
        raise ConnectionError("the database is away")

    async def whole() -> Iterable[Reading]:
        return [Reading(name="saga_dead_letters", about="Dead letters.", value=2, labels={"queue": "order-service"})]

    exposition = Exposition()
    exposition.add(broken)
    exposition.add(whole)
    found = samples((await exposition.render(""))[0].decode())
    assert "saga_outbox_events" not in found
    assert found["saga_dead_letters"] == {frozenset({("queue", "order-service")}): 2.0}
    assert "process_resident_memory_bytes" in found


async def test_openmetrics_is_spoken_to_whoever_asks_for_it() -> None:
    text, media_type = await Exposition().render("application/openmetrics-text;version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


async def test_whoever_measures_nothing_has_no_metrics() -> None:
    measuring = Measuring(enabled=False)
    given = (measuring.telemetry(), measuring.sagas(), measuring.batches(), measuring.provider(), measuring.runtime)
    assert given == (None,) * 5
    assert measuring.background == []


# the Temporal SDK


@pytest.fixture(scope="module")
def temporal() -> Iterator[TemporalMetrics]:
    yield TemporalMetrics()


def test_what_the_sdk_measures_is_told_with_its_own_names_and_times_in_seconds(temporal: TemporalMetrics) -> None:
    registry = CollectorRegistry(auto_describe=True)
    registry.register(temporal)
    meter = temporal.runtime.metric_meter
    meter.create_counter("temporal_request", "Calls", "1").add(2, {"operation": "Start"})
    meter.create_counter("temporal_request", "Calls", "1").add(3, {"operation": "Start"})
    meter.create_gauge("temporal_num_pollers").set(5, {"poller_type": "workflow"})
    meter.create_histogram_timedelta("temporal_latency", "Time", "duration").record(timedelta(milliseconds=40))
    assert value(registry, "temporal_request_total", operation="Start") == 5
    assert value(registry, "temporal_num_pollers", poller_type="workflow") == 5
    assert value(registry, "temporal_latency_seconds_count") == 1
    assert value(registry, "temporal_latency_seconds_sum") == pytest.approx(0.04)
    assert value(registry, "temporal_latency_seconds_bucket", le="0.025") == 0
    assert value(registry, "temporal_latency_seconds_bucket", le="0.05") == 1
    assert value(registry, "temporal_latency_seconds_bucket", le="+Inf") == 1


def test_names_that_strangers_choose_make_a_bounded_number_of_series(temporal: TemporalMetrics) -> None:
    counter = temporal.runtime.metric_meter.create_counter("temporal_started")
    for n in range(2_000):
        counter.add(1, {"workflow_type": f"Stranger{n}"})
    (family,) = (each for each in temporal.collect() if each.name == "temporal_started")
    assert len(family.samples) <= 301
    assert sum(sample.value for sample in family.samples) == 2_000


# the provider


class _Provider:
    async def charge(self, _payment: Any, *, correlation_id: str) -> Charged:
        return Charged(order_id=OrderId(UUID(int=1)), transaction_id="t")

    async def void(self, _payment: Any, *, correlation_id: str) -> Any:
        raise ProviderUnavailable("away")

    async def refund(self, _payment: Any, *, correlation_id: str) -> Refunded:
        return Refunded(order_id=OrderId(UUID(int=1)))

    async def look_up(self, _payment: Any, *, correlation_id: str) -> None:
        return None


async def test_calls_of_the_provider_are_measured_by_operation_and_outcome() -> None:
    heard: list[tuple[str, str]] = []
    payment: Any = object()

    def answered(operation: str, outcome: str, seconds: float, about: object) -> None:
        assert about is payment
        assert 0 <= seconds < math.inf
        heard.append((operation, outcome))

    provider = MeasuredProvider(_Provider(), SimpleNamespace(provider_answered=answered))
    assert isinstance(await provider.charge(payment, correlation_id="c"), Charged)
    with pytest.raises(ProviderUnavailable):
        await provider.void(payment, correlation_id="c")
    await provider.refund(payment, correlation_id="c")
    assert await provider.look_up(payment, correlation_id="c") is None
    assert heard == [
        ("charge", "charged"),
        ("void", "provider_unavailable"),
        ("refund", "refunded"),
        ("look_up", "unknown"),
    ]


# how far the mirrors are behind


def waiting(occurred_at: object, **headers: object) -> Any:
    return SimpleNamespace(event={"occurredAt": occurred_at}, headers=headers)


def test_the_lag_is_that_of_the_oldest_event_but_never_of_one_that_was_replayed() -> None:
    told = [
        waiting("2026-02-15T01:42:19.000Z"),
        waiting("2026-02-15T01:42:18"),
        waiting("2020-01-01T00:00:00Z", **{REPLAYED: True}),
        waiting("soon"),
        waiting(None),
    ]
    assert oldest(told) == datetime(2026, 2, 15, 1, 42, 18, tzinfo=UTC)
    assert oldest(told[2:]) is None
