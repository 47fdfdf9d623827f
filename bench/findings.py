"""Gather what blocks of load have shown, until it becomes a report."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Final

from bench.blocks import Block
from bench.figures import Better, Figure, quantile
from bench.meters import Reading

_LATENCIES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_THROUGHPUT: Final = ("Throughput", "sagas at saturation", "a second")
_COST: Final = "Cost of a saga, at saturation"
_MIB: Final = 2**20


class Findings:
    """Values of figures, one for each repetition, in the order in which the figures were first noted."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, str], dict[str, list[float]]] = {}
        self._better: dict[tuple[str, str, str], Better] = {}
        self._cpu: dict[str, list[Mapping[str, float]]] = {}
        self._rest: Reading | None = None
        self.latencies: dict[str, dict[str, list[float]]] = {}  # ms, by profile, by coordinator
        self.memory: dict[str, float] = {}  # MiB, by process

    def figures(self) -> list[Figure]:
        return [
            Figure(group=group, name=name, unit=unit, better=self._better[group, name, unit], values=values)
            for (group, name, unit), values in self._values.items()
        ]

    @property
    def half_load(self) -> float:
        """Half of what the slower coordinator keeps up with, in sagas a second."""
        rates = self._values[_THROUGHPUT]
        return min(median(values) for values in rates.values()) / 2

    @property
    def cpu(self) -> dict[str, dict[str, float]]:
        """Milliseconds a saga, by coordinator, by process: medians of the repetitions."""
        return {
            coordinator: {name: round(median(each[name] for each in all_of), 3) for name in all_of[0]}
            for coordinator, all_of in self._cpu.items()
        }

    @property
    def cpu_at_rest(self) -> dict[str, float]:
        """Percent of a core, by process."""
        rest = self._rest
        return {name: round(100 * used / rest.at, 2) for name, used in rest.cpu.items()} if rest else {}

    def note_rest(self, used: Reading) -> None:
        """What the system uses when nothing is asked of it: taken off what sagas have used."""
        self._rest = used

    def note_memory(self, used: Mapping[str, int]) -> None:
        self.memory = {name: round(size / _MIB, 1) for name, size in used.items()}

    def note_latency(self, profile: str, block: Block) -> None:
        values = block.latencies
        pooled = self.latencies.setdefault(profile, {}).setdefault(block.coordinator.value, [])
        pooled.extend(round(value, 2) for value in values)
        for name, share in _LATENCIES.items() if values else ():
            self._note((f"Latency {profile}", name, "ms"), "less", block, quantile(values, share))
        if answers := block.answers:
            self._note((f"Latency {profile}", "POST answered, p50", "ms"), "less", block, quantile(answers, 0.5))
        if block.used.wal_flushes:
            # PostgreSQL takes the time of a commit just before it flushes it.
            flush = block.used.wal_flush_ms / block.used.wal_flushes
            self._note((f"Latency {profile}", "one flush of a commit, on average", "ms"), "less", block, flush)

    def note_saturated(self, block: Block) -> None:
        self._note(_THROUGHPUT, "more", block, block.rate)
        self._note(("Throughput", "POSTs refused at saturation", "%"), "less", block, block.refused)
        if block.caught_up is not None:
            what = ("Throughput", "until Temporal knew of all of a block's ends, after the last", "s")
            self._note(what, "less", block, block.caught_up)
        cpu = {name: self._net(name, block) / block.sagas for name in block.used.cpu}
        self._cpu.setdefault(block.coordinator.value, []).append({**cpu, "load generator": block.own_cpu_ms})
        self._note((_COST, "CPU, all processes", "ms"), "less", block, sum(cpu.values()))
        per_saga = block.used.wal_bytes / block.sagas / 1024
        self._note((_COST, "write-ahead log, both databases", "KiB"), "less", block, per_saga)
        writing = block.used.writing_transactions / block.sagas
        self._note((_COST, "transactions that wrote, both databases", ""), "less", block, writing)

    def note_counts(self, block: Block, used: Reading) -> None:
        """`used` is what the servers counted from before the block until its counts had settled."""
        rest = self._rest
        idle = {name: each / rest.at * used.at for name, each in rest.transactions.items()} if rest else {}
        for name, number in used.transactions.items():
            mine = (number - idle.get(name, 0.0)) / block.sagas
            self._note((_COST, f"transactions in {name}, reads included", ""), "less", block, mine)
        for name, number in used.rows.items():
            what = (_COST, f"rows inserted, updated or deleted in {name}", "")
            self._note(what, "less", block, number / block.sagas)
        self._note((_COST, "messages published", ""), "less", block, used.published / block.sagas)
        self._note((_COST, "messages delivered", ""), "less", block, used.delivered / block.sagas)

    def note_history(self, block: Block, events: float) -> None:
        self._note((_COST, "events in Temporal's histories", ""), "less", block, events)

    def _net(self, name: str, block: Block) -> float:
        """Milliseconds of CPU that the block has used beyond what the process uses at rest."""
        rest = self._rest.cpu.get(name, 0.0) / self._rest.at if self._rest else 0.0
        return max(0.0, 1000 * (block.used.cpu[name] - rest * block.used.at))

    def _note(self, what: tuple[str, str, str], better: Better, block: Block, value: float) -> None:
        self._better[what] = better
        self._values.setdefault(what, {}).setdefault(block.coordinator.value, []).append(round(value, 3))
