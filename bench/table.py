"""Print the figures of a measurement as tables."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.report import Report
from bench.sections import MET, Section, sections, verdict

_STYLES = {MET[True]: "green", MET[False]: "red"}


def echo(report: Report, console: Console) -> None:
    """Print everything but the distributions, which need a page."""
    console.print(Group(*_parts(report)))


def _parts(report: Report) -> Iterable[RenderableType]:
    machine = report.machine
    yield Text(
        f"{machine['cores']} cores, load average {machine['load_average_before']} before; {report.orders} orders in"
        f" {report.seconds:.0f} s; medians of up to {report.settings['repetitions']} (least to greatest)\n"
    )
    for section in sections(report):
        yield _table(section)
    if report.troubles:
        yield Text("\n".join(("Not as it should be:", *report.troubles)), style="red")
    yield Text("\n".join((verdict(report), *report.improper)), style="red" if report.improper else "green")


def _table(section: Section) -> Table:
    made = Table(title=section.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(section.columns):
        made.add_column(column, justify="left" if place < section.words else "right", overflow="fold")
    for row in section.rows:
        made.add_row(*map(_cell, row))
    return made


def _cell(cell: str) -> Text:
    value, _, small = cell.partition("|")
    return Text(f"{value} ({small})" if small else value, style=_STYLES.get(value, ""))
