"""Print what a contrast found as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.figures import Figure, shown
from bench.report import Recovery, Report
from models.saga import Coordinator

ONE: Final = Coordinator.CHOREOGRAPHY.value
OTHER: Final = Coordinator.ORCHESTRATION.value


def echo(report: Report, console: Console) -> None:
    """Everything but the distributions, which want a page."""
    console.print(Group(*_parts(report)))


def _parts(report: Report) -> Iterable[RenderableType]:
    machine = report.machine
    yield Text(
        f"{machine['cores']} cores, load average {machine['load_average_before']} before; {report.orders} orders in"
        f" {report.seconds:.0f} s; medians of up to {report.settings['repetitions']} (least to greatest)\n"
    )
    for group, figures in groupby(report.figures, key=lambda figure: figure.group):
        yield _table(group, ("", ONE, OTHER, "ratio"), map(_row, figures))
    names = list(dict.fromkeys(name for each in report.cpu.values() for name in each))
    yield _table(
        "CPU of a saga, at saturation, ms",
        ("process", ONE, OTHER, "at rest, % of a core", "memory, MiB"),
        (
            (name, *(shown(report.cpu.get(each, {}).get(name)) for each in (ONE, OTHER)), *_at_rest(report, name))
            for name in names
        ),
    )
    if report.recoveries:
        columns = ("killed", "coordinator", "back", "all over", "longest stall", "accepted", "refused", "improper")
        yield _table("After kill -9, seconds", columns, map(_recovery, report.recoveries))
    yield _table(
        "Lines of code",
        ("needed by", "modules", "lines"),
        ((who, str(len(modules)), shown(sum(modules.values()))) for who, modules in report.lines.items()),
    )
    views = ((view.question, view.choreography, view.orchestration) for view in report.views)
    yield _table("What you see where", ("", ONE, OTHER), views, right=False)
    yield _verdict(report)


def _row(figure: Figure) -> tuple[str, ...]:
    name = f"{figure.name}, {figure.unit}" if figure.unit else figure.name
    ratio = figure.ratio(OTHER, ONE)
    return name, *(_value(figure, each) for each in (ONE, OTHER)), f"{shown(ratio)}x" if ratio is not None else "-"


def _value(figure: Figure, coordinator: str) -> str:
    median, spread = shown(figure.median(coordinator)), figure.spread(coordinator)
    several = spread is not None and len(figure.values[coordinator]) > 1
    return f"{median} ({shown(spread[0])}-{shown(spread[1])})" if several and spread else median


def _at_rest(report: Report, name: str) -> tuple[str, str]:
    return shown(report.cpu_at_rest.get(name)), shown(report.memory.get(name))


def _recovery(each: Recovery) -> tuple[str, ...]:
    refused = each.refused + each.unanswered
    until = f" (until {shown(each.refused_until)})" if each.refused_until is not None else ""
    return (
        each.killed,
        each.coordinator,
        shown(each.back),
        shown(each.over),
        shown(each.stall),
        str(each.accepted),
        f"{refused}{until}",
        str(each.improper),
    )


def _verdict(report: Report) -> Text:
    if not report.improper:
        return Text(f"All {report.orders} accepted orders have ended as they must, to the cent.", style="green")
    lines = "\n".join(report.improper)
    return Text(f"{len(report.improper)} of {report.orders} orders have not ended as they must:\n{lines}", style="red")


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: bool = True) -> Table:
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        made.add_column(column, justify="right" if right and place else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    return made
