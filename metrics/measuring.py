"""Put together what one process measures; nothing of it is shared with another, in the same process or elsewhere."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from temporalio.runtime import Runtime

from activities.measures import LedgerMeasures, ProviderMeasures
from api.telemetry import Telemetry
from choreography.subscription import Settled, tell_nobody
from metrics.exposition import Exposition, Source
from metrics.instruments import Batches, Deliveries, Provider, Requests, Sagas
from metrics.temporal import TemporalMetrics


class Measuring:
    """The instruments of one process, made as they are asked for; none if it is not to measure anything."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._exposition = Exposition() if enabled else None
        self._temporal = TemporalMetrics() if enabled else None
        if self._exposition is not None and self._temporal is not None:
            self._exposition.registry.register(self._temporal)

    def sagas(self) -> LedgerMeasures | None:
        """For the ledger whose commits end sagas."""
        return Sagas(self._exposition.registry) if self._exposition is not None else None

    def batches(self) -> LedgerMeasures | None:
        """For a ledger whose commits end none."""
        return Batches(self._exposition.registry) if self._exposition is not None else None

    def provider(self) -> ProviderMeasures | None:
        return Provider(self._exposition.registry) if self._exposition is not None else None

    def deliveries(self, queue: str) -> Settled:
        return Deliveries(self._exposition.registry, queue).settled if self._exposition is not None else tell_nobody

    def telemetry(self) -> Telemetry | None:
        """For the application: what measures its answers, and what `/metrics` shows."""
        if self._exposition is None:
            return None
        return Telemetry(answered=Requests(self._exposition.registry).answered, render=self._exposition.render)

    @property
    def runtime(self) -> Runtime | None:
        """For clients of Temporal, and so for their workers."""
        return self._temporal.runtime if self._temporal is not None else None

    def read(self, *sources: Source) -> None:
        """Have these gauges read whenever somebody asks."""
        if self._exposition is not None:
            for source in sources:
                self._exposition.add(source)

    @property
    def background(self) -> list[Coroutine[Any, Any, None]]:
        """What must run beside the process."""
        return [self._temporal.run()] if self._temporal is not None else []
