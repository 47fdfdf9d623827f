"""Print what a run has found as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.figures import shown
from bench.results import Measure, Results, Row

_VERDICTS = {True: Text("met", style="green"), False: Text("not met", style="red"), None: Text("-")}


def echo(results: Results, console: Console) -> None:
    """Everything but the distributions, which want a page."""
    console.print(Group(*_parts(results)))


def _parts(results: Results) -> Iterable[RenderableType]:
    machine = results.machine
    yield Text(
        f"{machine['cores']} cores, load average {machine['load_average_before']} before; {results.orders} orders in"
        f" {results.seconds:.0f} s; medians of {results.settings['repetitions']} (least to greatest)\n"
    )
    for group, measures in groupby(results.measures, key=lambda measure: measure.group):
        yield _table(group, ("", "median", "spread"), ((each.name, *values(each)) for each in measures))
    conditions = list(results.cpu)
    names = list(dict.fromkeys(name for each in results.cpu.values() for name in each))
    yield _table(
        "CPU of a saga, ms",
        ("process", *conditions),
        ((name, *(shown(results.cpu[each].get(name)) for each in conditions)) for name in names),
    )
    yield _targets(results.rows)
    if results.troubles:
        yield Text("\n".join(("Not as it should be:", *results.troubles)), style="red")
    if results.improper:
        yield Text(f"{len(results.improper)} of {results.orders} orders have not ended as they must", style="red")
    else:
        yield Text(f"All {results.orders} accepted orders have ended as they must, to the cent.", style="green")


def values(measure: Measure) -> tuple[str, str]:
    """The median with its unit, and the least and the greatest where there are several."""
    least, greatest = measure.spread
    several = f"{shown(least)} to {shown(greatest)}" if len(measure.values) > 1 else ""
    return f"{shown(measure.median)} {measure.unit}".strip(), several


def measured(row: Row) -> str:
    """What was measured, with its unit."""
    return f"{shown(row.measured)} {row.unit}".strip() if row.measured is not None else "-"


def _targets(found: Sequence[Row]) -> Table:
    made = _empty("Targets", ("", "asked for", "measured", "", ""))
    for row in found:
        made.add_row(Text(row.what), Text(row.asked), Text(measured(row)), _VERDICTS[row.met], Text(row.note))
    return made


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    made = _empty(title, columns)
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def _empty(title: str, columns: Sequence[str]) -> Table:
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        made.add_column(column, justify="right" if place in (1, 2) else "left", overflow="fold")
    return made
