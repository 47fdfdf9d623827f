"""Answer Prometheus: what was counted, and what is read whenever it asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import structlog
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from models.futures import result_within

log = structlog.get_logger()

_PATIENCE: Final = 2.0  # seconds for what is read; Prometheus itself waits for ten
_FRESH: Final = 1.0  # seconds for which what was read is told again: several may ask


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The value of a gauge at this moment."""

    name: str
    about: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


# Reads gauges; what can't be known now is left out, and a gauge without a value is better than one with an old value.
Source: TypeAlias = Callable[[], Awaitable[Iterable[Reading]]]


class Exposition:
    """One process's registry, and the text that Prometheus reads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._sources: list[Source] = []
        self._readings = _Readings()
        self._reading: asyncio.Task[None] | None = None
        self._read_at = float("-inf")
        self.registry.register(self._readings)
        ProcessCollector(registry=self.registry)

    def add(self, source: Source) -> None:
        """Have these gauges read whenever somebody asks."""
        self._sources.append(source)

    async def render(self, accept: str) -> tuple[bytes, str]:
        """The text and its media type, in a format that `accept` takes."""
        if self._reading is None and time.monotonic() - self._read_at > _FRESH:
            self._reading = asyncio.create_task(self._read())
        if self._reading is not None:
            await asyncio.shield(self._reading)  # whoever asked first may leave first
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type

    async def _read(self) -> None:
        try:
            read = await asyncio.gather(*map(_ask, self._sources))
            self._readings.now = [reading for readings in read for reading in readings]
        finally:
            self._read_at, self._reading = time.monotonic(), None


async def _ask(source: Source) -> Sequence[Reading]:
    try:
        return list(await result_within(source(), _PATIENCE))
    except Exception as error:  # whatever it is, the rest can be told
        log.info("gauge_not_read", error=f"{type(error).__name__}: {error}")
        return ()


class _Readings(Collector):
    """What was read last."""

    def __init__(self) -> None:
        self.now: Sequence[Reading] = ()

    def describe(self) -> Iterator[Metric]:
        return iter(())  # which gauges there are, only reading tells

    def collect(self) -> Iterator[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for reading in self.now:
            family = families.setdefault(reading.name, GaugeMetricFamily(reading.name, reading.about))
            family.add_sample(reading.name, dict(reading.labels), reading.value)
        yield from families.values()
