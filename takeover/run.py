"""Take one service's rows over, bring them back, or compare them: checked before, and compared afterwards."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import psycopg
from psycopg import sql

from embedded.errors import StackError
from models.migrations import migrate
from takeover.connections import Ends, connected, first_line
from takeover.exporting import bring_back, look_back
from takeover.importing import NOTHING_TO_DO, look, take_over
from takeover.original_tables import Kind, OriginalTable, other_sessions
from takeover.our_tables import RUNNING, TOTALS, has_table
from takeover.report import Report, totals_of


class Direction(StrEnum):
    """Which way rows are to go."""

    IMPORT = "import"  # from an original service to ours
    EXPORT = "export"  # back
    COMPARE = "compare"


_SERVICES: Final[dict[Kind, str]] = {"orders": "order service", "payments": "payment service"}


def run(kind: Kind, direction: Direction, ends: Ends, *, dry_run: bool) -> Report:
    """What came of it; with `dry_run` what would come of it. A refusal leaves both databases as they are.

    Raises StackError: a database does not answer, or the service that is to be replaced still runs.
    """
    try:
        if direction is Direction.IMPORT and not dry_run:
            migrate(kind, ends.ours)
        with connected(ends.theirs, "theirs") as theirs, connected(ends.ours, "ours") as ours:
            _check_stopped(kind, theirs, ours, dry_run=dry_run or direction is Direction.COMPARE)
            with theirs.transaction():
                table = OriginalTable.find(theirs, kind)
            report = _done(kind, direction, table, theirs, ours, dry_run=dry_run)
            report.theirs = totals_of(theirs.execute(_their_totals(table)).fetchall())
            if has_table(kind, ours):
                report.ours = totals_of(ours.execute(TOTALS[kind]).fetchall())
            return report
    except psycopg.errors.UndefinedTable as error:
        made = f"`saga migrate import {kind}` makes the tables of our {_SERVICES[kind]}"
        raise StackError(f"A table is missing ({first_line(error)}): {made}") from None
    except psycopg.Error as error:
        raise StackError(f"PostgreSQL refused: {first_line(error)}") from None


def _done(
    kind: Kind,
    direction: Direction,
    table: OriginalTable,
    theirs: psycopg.Connection,
    ours: psycopg.Connection,
    *,
    dry_run: bool,
) -> Report:
    if direction is Direction.COMPARE:
        return Report()
    with theirs.transaction():
        found = (look if direction is Direction.IMPORT else look_back)(kind, table, theirs, ours)
    if dry_run or found.refusals:
        return found
    if direction is Direction.EXPORT:
        return bring_back(kind, table, theirs, ours)
    if {*found.done} <= NOTHING_TO_DO:
        return found
    with theirs.transaction():
        return take_over(kind, table, theirs, ours)


def _check_stopped(kind: Kind, theirs: psycopg.Connection, ours: psycopg.Connection, *, dry_run: bool) -> None:
    """Raise StackError while a service is connected: what it changes meanwhile would be missed."""
    if dry_run:
        return
    service = _SERVICES[kind]
    row = ours.execute(RUNNING, [f"{kind} service"]).fetchone()
    if row and row[0]:
        raise StackError(f"Our {service} is connected to its database; stop it first")
    if others := other_sessions(theirs):
        raise StackError(
            f"{others} others are connected to the original database; stop the original {service}, and whoever else is"
        )


def _their_totals(table: OriginalTable) -> sql.Composed:
    money, status = table.columns[2], table.columns[3]
    return sql.SQL("SELECT {}::text, count(*), sum({}::numeric) FROM {} GROUP BY 1").format(status, money, table.name)
