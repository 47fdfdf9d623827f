"""Turn the trials of both coordinators into figures with a column for each coordinator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bench.costs import LOAD_GENERATOR, cpu_of_a_saga
from bench.figures import percentiles, quantile
from bench.meters import Reading
from bench.report import Notes
from bench.trials import Trial
from models.saga import Coordinator

_THROUGHPUT: Final = "Throughput"
_COST: Final = "Cost of a saga, at saturation"
_MIB: Final = 2**20


class Compared:
    """Notes of a contrast; `rest` is what the system uses when nothing is asked of it."""

    def __init__(self, rest: Reading) -> None:
        self.notes = Notes()
        self._rest = rest
        self.notes.cpu_at_rest = {name: round(100 * used / rest.at, 2) for name, used in rest.cpu.items()}

    @property
    def half_load(self) -> float:
        """Half of what the slower coordinator keeps up with, in sagas a second."""
        rates = [self.notes.median("saturation", each.value) for each in Coordinator]
        return min(rate for rate in rates if rate is not None) / 2

    def note_memory(self, used: Mapping[str, int]) -> None:
        self.notes.memory = {name: round(size / _MIB, 1) for name, size in used.items()}

    def note_latency(self, profile: str, trial: Trial) -> None:
        values, key, group = trial.latencies, f"latency.{profile}", f"Latency {profile}"
        self.notes.note_latencies(profile, trial.coordinator.value, values)
        for name, value in percentiles(values).items():
            self._note(trial, f"{key}.{name}", value, group, name, "ms")
        if answers := trial.answers:
            self._note(trial, f"{key}.answered", quantile(answers, 0.5), group, "POST answered, p50", "ms")
        if trial.used.wal_flushes:
            # PostgreSQL takes the time of a commit just before it flushes it.
            flush = trial.used.wal_flush_ms / trial.used.wal_flushes
            self._note(trial, f"{key}.flush", flush, group, "one flush of a commit, on average", "ms")

    def note_saturated(self, trial: Trial) -> None:
        self._note(trial, "saturation", trial.whole_rate, _THROUGHPUT, "sagas at saturation", "a second")
        refused = 100 * trial.refused / len(trial.placed)
        self._note(trial, "refused", refused, _THROUGHPUT, "POSTs refused at saturation", "%")
        what = "until Temporal knew of all of a block's ends, after the last"
        self._note(trial, "caught_up", trial.caught_up, _THROUGHPUT, what, "s")
        cpu = cpu_of_a_saga(trial.used, self._rest, trial.sagas)
        self.notes.cpu.setdefault(trial.coordinator.value, []).append({**cpu, LOAD_GENERATOR: trial.own_cpu_ms})
        self._cost(trial, "cpu", sum(cpu.values()), "CPU, all processes", "ms")
        log = trial.used.wal_bytes / trial.sagas / 1024
        self._cost(trial, "wal", log, "write-ahead log, both databases", "KiB")
        written = trial.used.writing_transactions / trial.sagas
        self._cost(trial, "transactions", written, "transactions that wrote, both databases")

    def note_counts(self, trial: Trial, used: Reading) -> None:
        """`used` is what the servers counted from before the trial until its counts had settled."""
        sagas = trial.sagas
        for name, number in used.rows.items():
            self._cost(trial, f"rows.{name}", number / sagas, f"rows inserted, updated or deleted in {name}")
        self._cost(trial, "messages.published", used.published / sagas, "messages published")
        self._cost(trial, "messages.delivered", used.delivered / sagas, "messages delivered")

    def note_history(self, trial: Trial, events: float) -> None:
        self._cost(trial, "history", events, "events in Temporal's histories")

    def _cost(self, trial: Trial, key: str, value: float, name: str, unit: str = "") -> None:
        self._note(trial, key, value, _COST, name, unit)

    def _note(self, trial: Trial, key: str, value: float | None, group: str, name: str, unit: str) -> None:
        self.notes.note(key, value, group=group, name=name, unit=unit, column=trial.coordinator.value)
