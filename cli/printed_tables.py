"""Print tables: in full without a terminal, and with fewer or shorter columns in a narrow one."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from cli import terminal

if TYPE_CHECKING:
    from rich.table import Table

Rows: TypeAlias = Sequence[Sequence[str]]

_GAP: Final = 2  # columns between two columns
_LEAST_PROSE: Final = 24  # columns that a sentence needs to be readable


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column. If there is little room, the columns with the highest rank are left out first."""

    title: str
    rank: int = 0
    short: Callable[[str], str] | None = None  # gives the short form of a value, for little room
    prose: bool = False  # its values are sentences, which may be wrapped between words


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """The shown part of a table, and the titles of the columns that are left out."""

    columns: Sequence[Column]
    rows: Rows
    widths: Sequence[int]
    left_out: Sequence[str]  # titles

    @property
    def width(self) -> int:
        """The number of the terminal's columns that the table takes."""
        return sum(self.widths) + _GAP * (len(self.widths) - 1)


def text(value: object) -> str:
    """A value on one line. Control characters are escaped, because others' text must not steer the terminal."""
    if value is None or value == "":
        return "-"
    return "".join(char if char.isprintable() else _escaped(char) for char in str(value))


def short_time(time: str) -> str:
    """Day and time of an ISO 8601 time in UTC: 02-15 01:42:19Z."""
    return re.sub(r"^\d{4}-(\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z$", r"\1 \2Z", time)


def echo_table(columns: Sequence[Column | str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table. Columns for which a terminal has no room are named on standard error."""
    known = [Column(title=each) if isinstance(each, str) else each for each in columns]
    cells = [[text(cell) for cell in row] for row in rows]
    width = terminal.columns()
    if width is None:
        _echo_lines(known, cells)
        return
    fitted = fit(known, cells, width)
    terminal.console(width=max(width, fitted.width)).print(framed(fitted))
    tell_left_out(fitted)


def fit(columns: Sequence[Column], rows: Rows, width: int) -> Fitted:
    """Fit a table into a terminal of this width: first with short forms, then with fewer columns, but at least one."""
    shown = list(range(len(columns)))
    values = [[row[number] for row in rows] for number in shown]
    if _needed(columns, values, shown) > width:
        values = [
            [short(value) for value in each] if (short := column.short) else each
            for column, each in zip(columns, values, strict=True)
        ]
    while _needed(columns, values, shown) > width and len(shown) > 1:
        shown.remove(max(shown, key=lambda number: (columns[number].rank, number)))
    widths = [_least(columns[number], values[number]) for number in shown]
    for place, number in enumerate(shown):
        if columns[number].prose:
            room = width - sum(widths) - _GAP * (len(widths) - 1)
            widths[place] = min(widths[place] + max(room, 0), _natural(columns[number], values[number]))
    return Fitted(
        columns=[columns[number] for number in shown],
        rows=list(zip(*(values[number] for number in shown), strict=True)),
        widths=widths,
        left_out=[column.title for number, column in enumerate(columns) if number not in shown],
    )


def framed(fitted: Fitted) -> Table:
    """The table for a terminal. A word that is too long for its column ends in an ellipsis."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", padding=0)
    for place, (column, width) in enumerate(zip(fitted.columns, fitted.widths, strict=True)):
        overflow, last = ("ellipsis" if column.prose else "ignore"), place == len(fitted.columns) - 1
        gap = 0 if last else _GAP - 1  # the frame itself is one column wide
        made.add_column(column.title, no_wrap=not column.prose, overflow=overflow, width=width + gap)  # type: ignore[arg-type]
    for row in fitted.rows:
        made.add_row(*map(Text, row))
    return made


def tell_left_out(fitted: Fitted) -> None:
    """Say on standard error which columns there was no room for."""
    if fitted.left_out:
        hint = f"Left out for want of room: {', '.join(fitted.left_out)}; a wider terminal or --json has them"
        print(terminal.wrapped(hint), file=sys.stderr)


def _echo_lines(columns: Sequence[Column], rows: Rows) -> None:
    cells = [[column.title for column in columns], *rows]
    widths = [max(len(row[number]) for row in cells) for number in range(len(columns))]
    for row in cells:
        print((" " * _GAP).join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _needed(columns: Sequence[Column], values: Rows, shown: Sequence[int]) -> int:
    return sum(_least(columns[number], values[number]) for number in shown) + _GAP * (len(shown) - 1)


def _least(column: Column, values: Sequence[str]) -> int:
    natural = _natural(column, values)
    return min(natural, max(_LEAST_PROSE, len(column.title))) if column.prose else natural


def _natural(column: Column, values: Sequence[str]) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, (column.title, *values)))


def _escaped(char: str) -> str:
    return " " if char in "\n\r\t" else char.encode("unicode_escape").decode("ascii")
