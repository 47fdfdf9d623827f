"""What a run of the measurement has found: medians of repetitions, verdicts on targets, and how it was measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """One thing that was measured, a value for each repetition; `key` names it in targets and in the history."""

    key: str
    group: str
    name: str
    unit: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the greatest of the repetitions."""
        return min(self.values), max(self.values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One target: what is asked for, what was measured, and whether that meets it; None: not measured in this run."""

    what: str
    asked: str
    measured: float | None
    unit: str
    met: bool | None
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """Everything that one run has found; `cpu` is in milliseconds a saga, by condition, by process."""

    kind: str  # "bench" or "scale"
    began: str  # ISO 8601
    commit: str
    seconds: float
    machine: Mapping[str, str | int | float]
    settings: Mapping[str, str | int | float | bool]
    measures: Sequence[Measure]
    rows: Sequence[Row]
    latencies: Mapping[str, Sequence[float]]  # ms of single sagas, by profile
    cpu: Mapping[str, Mapping[str, float]]
    orders: int  # accepted in all
    improper: Sequence[str]  # those of them that have not ended as they must
    troubles: Sequence[str]  # what could not be measured, and why

    def as_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    @classmethod
    def from_json(cls, text: bytes) -> Results:
        """Raises msgspec.ValidationError for what `as_json` did not write."""
        return msgspec.json.decode(text, type=cls)

    @property
    def medians(self) -> dict[str, float]:
        return {measure.key: measure.median for measure in self.measures}


@dataclass(kw_only=True, slots=True)
class Notes:
    """Values as they come in, repetition by repetition, in the order in which their measures were first noted."""

    _measures: dict[str, Measure] = field(default_factory=dict)
    latencies: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[Mapping[str, float]]] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    orders: int = 0
    improper: list[str] = field(default_factory=list)

    def note(self, key: str, value: float | None, *, group: str, name: str, unit: str) -> None:
        """One more repetition of a measure; None: it could not be measured this time."""
        if value is None:
            return
        known = self._measures.get(key)
        values = [*(known.values if known else ()), round(value, 4)]
        self._measures[key] = Measure(key=key, group=group, name=name, unit=unit, values=values)

    @property
    def measures(self) -> list[Measure]:
        """In groups, which are in the order of their first measures."""
        groups = list(dict.fromkeys(measure.group for measure in self._measures.values()))
        return sorted(self._measures.values(), key=lambda measure: groups.index(measure.group))

    def median(self, key: str) -> float | None:
        known = self._measures.get(key)
        return known.median if known else None

    def cpu_medians(self) -> dict[str, dict[str, float]]:
        """Milliseconds a saga, by condition, by process: medians of the repetitions."""
        return {
            condition: {name: round(statistics.median(each[name] for each in all_of), 4) for name in all_of[0]}
            for condition, all_of in self.cpu.items()
        }
