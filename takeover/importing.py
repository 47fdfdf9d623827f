"""Take an original service's rows over into the database of ours: a page a transaction, as often as wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice, repeat
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg

from activities.reconstruction import reconstruct
from activities.writes import Write, logged, tallied
from models.arrays import array_places, arrays
from models.columns import columns_of
from models.lifecycle import Due, PaymentStatus
from models.order import Order
from models.payment import Payment
from models.tables import ProviderChargeRow
from takeover.original_tables import Kind, OriginalTable, Row, Unfit
from takeover.our_tables import (
    BOOKS,
    CURRENCY,
    NO_EVENTS,
    Act,
    Known,
    act_on,
    followed,
    has_table,
    key_of,
    known,
    known_among,
    latest,
    owing,
    owing_at_stripe,
    taken_over,
)
from takeover.report import Report

_PAGE: Final = 1000  # rows
_OUTCOMES: Final = {
    PaymentStatus.APPROVED: "Charged",
    PaymentStatus.REFUNDED: "Charged",
    PaymentStatus.DECLINED: "Declined",
    PaymentStatus.FAILED: "Refused",
    PaymentStatus.CANCELLED: "Voided",
}
_LINE: Final = columns_of(ProviderChargeRow, but=("updated_at",))  # of the simulated provider's books
_BOOKS: Final = (
    f"INSERT INTO provider_charges ({', '.join(_LINE)}) SELECT u.* FROM unnest({array_places(_LINE.values())}) u"
    f" ON CONFLICT (payment_id) DO UPDATE SET ({', '.join(_LINE)}, updated_at)"
    f" = ROW({', '.join(f'excluded.{name}' for name in _LINE)}, now())"
)
_THEIR_MONEY: Final = (Act.NEW, Act.OWED)  # which our books do not have yet
_GIVEN_BACK: Final = "UPDATE provider_charges SET refunded = captured, updated_at = now() WHERE payment_id = ANY(%s)"
_TIMES: Final = {"created_at": "timestamptz", "updated_at": "timestamptz"}


class _Step(NamedTuple):
    """What is done about a row; `after` is what we have then, None if nothing changes."""

    row: Row
    act: Act
    before: Known | None
    after: Order | Payment | None


NOTHING_TO_DO: Final = frozenset(act.value for act in (Act.THERE, Act.AHEAD))


def look(kind: Kind, table: OriginalTable, theirs: psycopg.Connection, ours: psycopg.Connection) -> Report:
    """What would be done, and what is in the way of it; nothing is changed, and our tables need not be there yet."""
    report, known_here = Report(), has_table(kind, ours)
    for page in _pages(table.rows(theirs)):
        fit = [row for row in page if isinstance(row, Row)]
        for unfit in page:
            if isinstance(unfit, Unfit):
                report.refuse(str(unfit))
        for row, found in _beside_ours(kind, fit, ours) if known_here else zip(fit, repeat(None), strict=False):
            try:
                report.count(act_on(row, found and found.state).value)
            except Unfit as why:
                report.refuse(f"{kind} {row.id}: {why}")
    return report


def take_over(kind: Kind, table: OriginalTable, theirs: psycopg.Connection, ours: psycopg.Connection) -> Report:
    """Take all rows over, of which `look` has said that none is in the way.

    What was taken over before is left as it is, so that an import which was interrupted goes on, and one that is
    repeated takes over what has changed since.
    """
    report = Report()
    for page in _pages(table.rows(theirs)):
        rows = [row for row in page if isinstance(row, Row)]
        with ours.transaction():
            steps = [_step(kind, row, found) for row, found in _beside_ours(kind, rows, ours)]
            if changes := [step for step in steps if step.after is not None]:
                ours.execute(NO_EVENTS, [latest(rows, datetime.now(UTC))])
                _save(kind, ours, changes)
        for act, number in Counter(step.act for step in steps).items():
            report.count(act.value, number)
    return report


def _pages(rows: Iterator[Row | Unfit]) -> Iterator[list[Row | Unfit]]:
    while page := list(islice(rows, _PAGE)):
        yield page


def _beside_ours(kind: Kind, rows: Sequence[Row], ours: psycopg.Connection) -> list[tuple[Row, Known | None]]:
    keys = [key_of(kind, row) for row in rows]
    found: dict[UUID, Known] = {}
    for columns in ours.execute(known_among(kind), [keys]).fetchall():
        each = known(kind, columns)
        found[each.state.id if isinstance(each.state, Order) else each.state.order_id] = each
    return [(row, found.get(key)) for row, key in zip(rows, keys, strict=True)]


def _step(kind: Kind, row: Row, found: Known | None) -> _Step:
    act = act_on(row, found and found.state)
    match act, found:
        case ((Act.THERE | Act.AHEAD), _):
            return _Step(row, act, found, None)
        case Act.NEW, _:
            return _Step(row, act, None, taken_over(kind, row))
        case Act.CHANGED, Known(state=state):
            return _Step(row, act, found, followed(row, state))
        case Act.OWED, Known(state=Payment() as tombstone):
            return _Step(row, act, found, owing(row, tombstone))
        case Act.OWED_AT_STRIPE, Known(state=Payment() as payment):
            return _Step(row, act, found, owing_at_stripe(payment))
    raise AssertionError(f"{act} of a row that we do not have")


def _save(kind: Kind, ours: psycopg.Connection, steps: Sequence[_Step]) -> None:
    _insert(kind, ours, [step for step in steps if step.before is None])
    for step in steps:
        if step.before is not None:
            _rewrite(kind, ours, step)
    _enter_books(ours, [step.after for step in steps if isinstance(step.after, Payment) and step.act in _THEIR_MONEY])
    if given_back := [step.after.id for step in steps if isinstance(step.after, Payment) and step.act is Act.CHANGED]:
        ours.execute(_GIVEN_BACK, [given_back])
    changes = [(step.before and step.before.state, step.after) for step in steps]
    _write(ours, tallied(BOOKS[kind], changes))


def _insert(kind: Kind, ours: psycopg.Connection, steps: Sequence[_Step]) -> None:
    if not steps:
        return
    book = BOOKS[kind]
    columns = {**book.columns, **_TIMES}
    ours.execute(
        f"INSERT INTO {book.table} ({', '.join(columns)}) SELECT u.* FROM unnest({array_places(columns.values())}) u",
        arrays((*book.dump(step.after), step.row.created_at, step.row.updated_at) for step in steps),
    )


def _rewrite(kind: Kind, ours: psycopg.Connection, step: _Step) -> None:
    """Write all columns of a row anew. An event tells of the step, if the row has events; it is not published again."""
    book, state = BOOKS[kind], step.after
    assignments = ", ".join(f"{name} = %s" for name in book.columns)
    at = step.row.updated_at if step.act is Act.CHANGED else None
    ours.execute(
        f"UPDATE {book.table} SET {assignments}, updated_at = coalesce(%s, updated_at), changes = changes + 1"
        f" WHERE {book.key} = %s",
        [*book.dump(state), at, key_of(kind, step.row)],
    )
    if step.act is Act.CHANGED and step.before is not None and step.before.logged and state is not None:
        events = reconstruct(state, created_at=step.row.created_at, updated_at=step.row.updated_at)
        _write(ours, logged(events[-1:], [key_of(kind, step.row)], [None]))


def _enter_books(ours: psycopg.Connection, payments: Sequence[Payment]) -> None:
    """Enter what the original service charged and gave back, so that the simulated provider can give back the rest."""
    if payments:
        ours.execute(_BOOKS, arrays(map(_line, payments)))


def _line(payment: Payment) -> Sequence[Any]:
    charged = payment.transaction_id is not None
    line = {
        "payment_id": payment.id,
        "amount": payment.amount,
        "currency": CURRENCY,
        "outcome": "Charged" if payment.due is Due.REFUND else _OUTCOMES[payment.status],
        "transaction_id": payment.transaction_id,
        "reason": None,
        "captured": payment.amount if charged else 0,
        "refunded": payment.amount if payment.status is PaymentStatus.REFUNDED else 0,
    }
    return [line[name] for name in _LINE]


def _write(ours: psycopg.Connection, write: Write | None) -> None:
    if write is not None:
        ours.execute(write.sql, write.params)
