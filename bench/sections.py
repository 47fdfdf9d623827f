"""Lay out what was found as tables, once for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from bench.figures import MEASURED, Figure, percentiles, shown
from bench.report import Recovery, Report, Verdict
from bench.waits import SHOWN_UP_TO, histogram
from models.saga import Coordinator

ONE: Final = Coordinator.CHOREOGRAPHY.value
OTHER: Final = Coordinator.ORCHESTRATION.value
MET: Final = {True: "met", False: "not met", None: "-"}

Kind = Literal["targets", "figures", "waits", "cpu", "recoveries", "lines"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One table with its title; what follows a bar in a cell is told smaller, or in brackets."""

    kind: Kind
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1  # columns from the left that hold words, not numbers


def sections(report: Report) -> Iterator[Section]:
    """Those that the run has something to tell in."""
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    if report.targets:
        rows = [_target(each) for each in report.targets]
        yield Section(kind="targets", title="Targets", columns=("", "asked for", "measured", ""), rows=rows)
    for group, figures in groupby(report.figures, key=lambda figure: figure.group):
        columns = ("", ONE, OTHER, "ratio") if report.kind == "contrast" else ("", MEASURED)
        rows = [_compared(each) if report.kind == "contrast" else _measured(each) for each in figures]
        yield Section(kind="figures", title=group, columns=columns, rows=rows)
    if report.waits:
        columns = ("", "tasks", "p50", "p95", *(f"≤ {limit}" for limit in SHOWN_UP_TO), "more")
        rows = [_waited(f"{task}, {name}", waits[task]) for name, waits in report.waits.items() for task in waits]
        yield Section(kind="waits", title="Tasks, from scheduled to started, ms", columns=columns, rows=rows)
    if report.cpu:
        yield _cpu(report)
    if report.recoveries:
        columns = ("killed", "coordinator", "back", "all over", "longest stall", "accepted", "refused", "improper")
        rows = [_recovery(each) for each in report.recoveries]
        yield Section(kind="recoveries", title="After kill -9, seconds", columns=columns, rows=rows, words=2)
    if report.lines:
        rows = [(who, str(len(modules)), shown(sum(modules.values()))) for who, modules in report.lines.items()]
        yield Section(kind="lines", title="Lines of code", columns=("needed by", "modules", "lines"), rows=rows)


def verdict(report: Report) -> str:
    """Whether every accepted order has ended as it must."""
    if report.improper:
        return f"{len(report.improper)} of {report.orders} orders have not ended as they must"
    return f"All {report.orders} accepted orders have ended as they must, to the cent."


def _target(each: Verdict) -> tuple[str, ...]:
    measured = f"{shown(each.measured)} {each.unit}".strip()
    return f"{each.what}|{each.note}" if each.note else each.what, each.asked, measured, MET[each.met]


def _compared(figure: Figure) -> tuple[str, ...]:
    name, ratio = f"{figure.name}, {figure.unit}" if figure.unit else figure.name, figure.ratio(OTHER, ONE)
    times = f"{shown(ratio)}×" if ratio is not None else "-"  # noqa: RUF001 - the sign
    return name, *(_value(figure, each) for each in (ONE, OTHER)), times


def _measured(figure: Figure) -> tuple[str, ...]:
    return figure.name, _value(figure, MEASURED, figure.unit)


def _waited(name: str, values: Sequence[float]) -> tuple[str, ...]:
    told = percentiles(values)
    numbers = (str(number or "") for number in histogram(values))
    return name, str(len(values)), shown(told.get("p50")), shown(told.get("p95")), *numbers


def _value(figure: Figure, column: str, unit: str = "") -> str:
    median, spread = f"{shown(figure.median(column))} {unit}".strip(), figure.spread(column)
    return f"{median}|{shown(spread[0])} to {shown(spread[1])}" if spread else median


def _cpu(report: Report) -> Section:
    names = list(dict.fromkeys(name for each in report.cpu.values() for name in each))
    columns, rows = ["process", *report.cpu], [[name] for name in names]
    for row in rows:
        row += [shown(report.cpu[each].get(row[0])) for each in report.cpu]
    for column, values in (("at rest, % of a core", report.cpu_at_rest), ("memory, MiB", report.memory)):
        if values:
            columns.append(column)
            for row in rows:
                row.append(shown(values.get(row[0])))
    return Section(kind="cpu", title="CPU of a saga, ms", columns=columns, rows=rows)


def _recovery(each: Recovery) -> tuple[str, ...]:
    refused = str(each.refused + each.unanswered)
    if each.refused_until is not None:
        refused += f"|until {shown(each.refused_until)} s"
    times = (shown(each.back), shown(each.over), shown(each.stall))
    return each.killed, each.coordinator, *times, str(each.accepted), refused, str(each.improper)
