"""The counters and histograms, each in the hands of whoever knows the fact that it counts."""

from __future__ import annotations

from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from activities.measures import SagaEnd
from choreography.subscription import Settlement
from models.lifecycle import OrderStatus
from models.payment import Payment
from models.saga import Coordinator

# Seconds. A saga takes tens of milliseconds when its provider does, and as long as its time-out at most.
_SAGA: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_PROVIDER: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)
_ANSWER: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCH: Final = (1, 2, 5, 10, 25, 50, 100, 200, 300, 1000)
_SETTLEMENTS: Final[tuple[Settlement, ...]] = ("ack", "retry", "dead_letter")
# What a client may send as a method is without bound.
_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


class Batches:
    """What a ledger commits (`LedgerMeasures`), where no saga ends with it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._size = Histogram(
            "saga_batch_size", "Messages applied in one transaction.", registry=registry, buckets=_BATCH
        )

    def batch_committed(self, size: int) -> None:
        self._size.observe(size)

    def saga_ended(self, end: SagaEnd, seconds: float) -> None:
        raise AssertionError(f"a saga ended as {end.outcome} in a book whose changes end none")


class Sagas(Batches):
    """What the ledger of orders commits: sagas end there."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        ended = Counter(
            "saga_ended_total",
            "Sagas that have ended, by the status of the order.",
            ("coordinator", "outcome"),
            registry=registry,
        )
        seconds = Histogram(
            "saga_duration_seconds",
            "Time from the storing of an order until its saga has ended.",
            ("coordinator",),
            registry=registry,
            buckets=_SAGA,
        )
        outcomes = [status for status in OrderStatus if status.over]
        self._ended = {
            (each, outcome.value): ended.labels(each, outcome) for each in Coordinator for outcome in outcomes
        }
        self._seconds = {each: seconds.labels(each) for each in Coordinator}

    def saga_ended(self, end: SagaEnd, seconds: float) -> None:
        self._ended[end.coordinator, end.outcome].inc()
        self._seconds[end.coordinator].observe(seconds)


class Deliveries:
    """What becomes of the messages of one queue."""

    def __init__(self, registry: CollectorRegistry, queue: str) -> None:
        messages = Counter(
            "saga_messages_total",
            "Messages done with, by what became of them: ack, retry or dead_letter.",
            ("queue", "disposition"),
            registry=registry,
        )
        self._settled = {settlement: messages.labels(queue, settlement) for settlement in _SETTLEMENTS}

    def settled(self, _queue: str, settlement: Settlement) -> None:
        self._settled[settlement].inc()


class Provider:
    """Calls of the payment provider (`ProviderMeasures`)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        seconds = Histogram(
            "saga_provider_seconds",
            "Time that a call of the payment provider took.",
            ("operation", "outcome"),
            registry=registry,
            buckets=_PROVIDER,
        )
        self._seconds = cache(seconds.labels)

    def provider_answered(self, operation: str, outcome: str, seconds: float, _payment: Payment) -> None:
        self._seconds(operation, outcome).observe(seconds)


class Requests:
    """What is asked of a process by HTTP, and how soon its answers begin."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "route")
        answers = Counter(
            "saga_http_requests_total",
            "Requests answered; status 499 is a client that left before.",
            (*labels, "status"),
            registry=registry,
        )
        seconds = Histogram(
            "saga_http_request_seconds",
            "Time until the answer began, or the client left.",
            labels,
            registry=registry,
            buckets=_ANSWER,
        )
        # To look a series up by its labels takes the library longer than to count.
        self._answers, self._seconds = cache(answers.labels), cache(seconds.labels)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        named = method if method in _METHODS else "other"
        self._answers(named, route, status).inc()
        self._seconds(named, route).observe(seconds)
