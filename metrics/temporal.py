"""Tell what the Temporal SDK measures of itself, from the buffer in which it leaves each measurement."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import structlog
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from temporalio.runtime import (
    BUFFERED_METRIC_KIND_COUNTER,
    BUFFERED_METRIC_KIND_HISTOGRAM,
    BufferedMetric,
    BufferedMetricUpdate,
    MetricBuffer,
    MetricBufferDurationFormat,
    Runtime,
    TelemetryConfig,
)

from workflows.core_log import FORWARDED

log = structlog.get_logger()

_BUFFER: Final = 100_000  # measurements: what a busy worker leaves in several seconds
_EVERY: Final = 0.5  # seconds
_MOST_SERIES: Final = 300  # of one metric: names of workflows come from whoever starts them
_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0)

_Labels: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Distribution:
    counts: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS) + 1))
    total: float = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(_BOUNDS, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Each bound, and how many values are at most that."""
        so_far, cumulated = 0, []
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self.counts, strict=True):
            so_far += count
            cumulated.append((bound, float(so_far)))
        return cumulated


class _Family:
    """One of the SDK's metrics; its series differ in their labels, and not all have the same ones."""

    def __init__(self, metric: BufferedMetric) -> None:
        in_seconds = metric.unit == "s" and not metric.name.endswith("_seconds")
        self.name = f"{metric.name}_seconds" if in_seconds else metric.name
        self.about = metric.description or f"Of the Temporal SDK: {metric.name}."
        self.kind = metric.kind
        self.values: dict[_Labels, float] = {}
        self.distributions: dict[_Labels, _Distribution] = {}

    def take(self, labels: _Labels, value: float) -> None:
        series: Mapping[_Labels, object] = self.values or self.distributions
        if labels not in series and len(series) >= _MOST_SERIES:
            labels = tuple((name, "other") for name, _ in labels)
        if self.kind == BUFFERED_METRIC_KIND_HISTOGRAM:
            self.distributions.setdefault(labels, _Distribution()).observe(value)
        elif self.kind == BUFFERED_METRIC_KIND_COUNTER:
            self.values[labels] = self.values.get(labels, 0.0) + value
        else:
            self.values[labels] = value

    def metric(self) -> Metric:
        if self.kind == BUFFERED_METRIC_KIND_HISTOGRAM:
            distributions = HistogramMetricFamily(self.name, self.about)
            for labels, each in self.distributions.items():
                for bound, count in each.buckets():
                    distributions.add_sample(f"{self.name}_bucket", {**dict(labels), "le": bound}, count)
                distributions.add_sample(f"{self.name}_count", dict(labels), float(sum(each.counts)))
                distributions.add_sample(f"{self.name}_sum", dict(labels), each.total)
            return distributions
        if self.kind == BUFFERED_METRIC_KIND_COUNTER:
            counter = CounterMetricFamily(self.name, self.about)
            for labels, value in self.values.items():
                counter.add_sample(f"{counter.name}_total", dict(labels), value)
            return counter
        gauge = GaugeMetricFamily(self.name, self.about)
        for labels, value in self.values.items():
            gauge.add_sample(self.name, dict(labels), value)
        return gauge


class TemporalMetrics(Collector):
    """A runtime for clients and workers, and all that it has measured so far."""

    def __init__(self) -> None:
        buffer = MetricBuffer(_BUFFER, MetricBufferDurationFormat.SECONDS)
        telemetry = TelemetryConfig(logging=FORWARDED, metrics=buffer, attach_service_name=False)
        self.runtime = Runtime(telemetry=telemetry)
        self._drain: Callable[[], Sequence[BufferedMetricUpdate]] = buffer.retrieve_updates
        self._families: dict[str, _Family] = {}
        # The SDK uses the same objects again. They are kept, so that no other can have the same id.
        self._family_of: dict[int, tuple[BufferedMetric, _Family]] = {}
        self._labels_of: dict[int, tuple[object, _Labels]] = {}

    async def run(self) -> None:
        """Empty the buffer until cancelled, since the SDK forgets what no longer fits."""
        while True:
            await asyncio.sleep(_EVERY)
            self._take()

    def describe(self) -> Iterator[Metric]:
        return iter(())  # which metrics there are, only the SDK knows

    def collect(self) -> Iterator[Metric]:
        self._take()
        yield from [family.metric() for family in self._families.values()]

    def _take(self) -> None:
        if len(self._labels_of) > 10 * _MOST_SERIES:
            self._labels_of.clear()
        for update in self._drain():
            self._family(update.metric).take(self._labels(update), update.value)

    def _family(self, metric: BufferedMetric) -> _Family:
        known = self._family_of.get(id(metric))
        if known is None:
            family = _Family(metric)
            known = self._family_of[id(metric)] = metric, self._families.setdefault(family.name, family)
        return known[1]

    def _labels(self, update: BufferedMetricUpdate) -> _Labels:
        attributes = update.attributes
        known = self._labels_of.get(id(attributes))
        if known is None:
            labels = tuple(sorted((name, str(value)) for name, value in attributes.items()))
            known = self._labels_of[id(attributes)] = attributes, labels
        return known[1]
