"""What a measurement has found, as values: noted as they come in, and then printed, drawn and kept as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec

from bench.figures import MEASURED, Figure

Tell: TypeAlias = Callable[[str], None]  # told what is measured next


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One target: what is asked for, what was measured, and whether that meets it; None: not measured in this run."""

    what: str
    asked: str
    measured: float | None
    unit: str
    met: bool | None
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """What a kill did to the sagas of one coordinator that were accepted before it and until the part was back.

    Times are in seconds and count from the kill, but for `stall`: the longest that one saga took, counted from the
    kill or from its POST, whichever came later.
    """

    killed: str
    coordinator: str
    back: float  # until the killed part was ready again
    over: float | None  # until the last of the sagas was over; None: some never were while it was waited for
    stall: float | None
    accepted: int
    refused: int  # POSTs answered with an error
    unanswered: int
    refused_until: float | None
    improper: int  # accepted orders that have not ended as they must


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything that one run has found. A contrast has a column for each coordinator, the others have one."""

    kind: Literal["bench", "scale", "contrast"]
    began: str  # ISO 8601
    commit: str
    seconds: float
    machine: Mapping[str, str | int | float]
    settings: Mapping[str, str | int | float | bool]
    figures: Sequence[Figure]
    latencies: Mapping[str, Mapping[str, Sequence[float]]]  # ms of single sagas, by profile, by coordinator
    cpu: Mapping[str, Mapping[str, float]]  # ms a saga, by coordinator or condition, by process
    orders: int  # accepted in all
    improper: Sequence[str]  # those of them that have not ended as they must, and how they stand
    troubles: Sequence[str] = ()  # what could not be measured, and why
    targets: Sequence[Verdict] = ()
    waits: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)  # ms, by condition, by task
    cpu_at_rest: Mapping[str, float] = field(default_factory=dict)  # percent of a core, by process
    memory: Mapping[str, float] = field(default_factory=dict)  # MiB after the load, by process
    recoveries: Sequence[Recovery] = ()
    lines: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # of code, by who needs them, by module

    def as_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    @classmethod
    def from_json(cls, text: bytes) -> Report:
        """Raises msgspec.ValidationError for what `as_json` did not write."""
        return msgspec.json.decode(text, type=cls)

    @property
    def medians(self) -> dict[str, float]:
        """Of what was measured once a repetition, by key."""
        return {each.key: median for each in self.figures if (median := each.median()) is not None}


@dataclass(kw_only=True, slots=True)
class Notes:
    """Values as they come in, repetition by repetition, in the order in which their figures were first noted."""

    _figures: dict[str, Figure] = field(default_factory=dict)
    latencies: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    waits: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    cpu: dict[str, list[Mapping[str, float]]] = field(default_factory=dict)
    cpu_at_rest: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)
    orders: int = 0
    improper: list[str] = field(default_factory=list)

    def note(self, key: str, value: float | None, *, group: str, name: str, unit: str, column: str = MEASURED) -> None:
        """One more repetition of a figure; None: it could not be measured this time."""
        if value is None:
            return
        known = self._figures.get(key)
        values = dict(known.values) if known else {}
        values[column] = [*values.get(column, ()), round(value, 4)]
        self._figures[key] = Figure(key=key, group=group, name=name, unit=unit, values=values)

    def note_latencies(self, profile: str, series: str, values: Sequence[float]) -> None:
        """Milliseconds of single sagas, to be drawn as a distribution."""
        self.latencies.setdefault(profile, {}).setdefault(series, []).extend(round(value, 2) for value in values)

    def note_waits(self, condition: str, found: Mapping[str, Sequence[float]]) -> None:
        """Milliseconds that tasks stood between scheduled and started, by what they were."""
        for task, values in found.items():
            self.waits.setdefault(condition, {}).setdefault(task, []).extend(round(value, 2) for value in values)

    @property
    def figures(self) -> list[Figure]:
        """In groups, which are in the order of their first figures."""
        groups = list(dict.fromkeys(figure.group for figure in self._figures.values()))
        return sorted(self._figures.values(), key=lambda figure: groups.index(figure.group))

    def median(self, key: str, column: str = MEASURED) -> float | None:
        known = self._figures.get(key)
        return known.median(column) if known else None

    def cpu_medians(self) -> dict[str, dict[str, float]]:
        """Milliseconds a saga, by coordinator or condition, by process: medians of the repetitions."""
        return {
            condition: {name: round(statistics.median(each[name] for each in all_of), 4) for name in all_of[0]}
            for condition, all_of in self.cpu.items()
        }
