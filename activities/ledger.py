"""Apply messages to a service's rows: lock, decide, save, append to the event log; a batch is one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Generic
from uuid import UUID

import psycopg
import structlog
from psycopg import AsyncCursor

from activities import writes
from activities.batch import Batcher
from activities.book import Applied, Book, Outlet, State, Submission
from activities.crash_points import crash_point
from activities.measures import LedgerMeasures, SagaEnd, Unmeasured
from activities.traces import LedgerTraces
from models.database import TRANSIENT, Connection, Database
from models.messages import Envelope, envelope_of
from models.saga import Become, Illegal, event_id

log = structlog.get_logger()

_LONGEST_PAUSE = 2.0  # seconds between tries while the database is away


class Ledger(Generic[State]):
    """Applies submissions to one service's book, in batches, and retries until each is committed or fails for good."""

    def __init__(
        self,
        database: Database,
        book: Book[State],
        outlet: Outlet,
        *,
        limit: int = 300,
        measures: LedgerMeasures | None = None,
        traces: LedgerTraces | None = None,
    ) -> None:
        self._database = database
        self._book = book
        self._outlet = outlet
        self._measures = measures or Unmeasured()
        self._traces = traces
        self._batcher: Batcher[Submission, Applied[State]] = Batcher(self._handle, limit=limit)

    def submit(self, submission: Submission) -> asyncio.Future[Applied[State]]:
        """Apply the submission; the future is done when the result is committed. It waits while the database is away.

        If this submission fails, its future raises the error. The other submissions of the batch are not affected.
        """
        if self._traces is not None:
            submission = replace(submission, traceparent=self._traces.current())
        return self._batcher.submit(submission)

    async def run(self) -> None:
        """Apply until cancelled."""
        await self._batcher.run()

    async def _handle(self, submissions: Sequence[Submission]) -> Sequence[Applied[State] | Exception]:
        pause = 0.05
        while True:
            try:
                with self._traced(submissions):
                    return await apply(self._database, self._book, self._outlet, submissions, self._measures)
            except psycopg.errors.UniqueViolation as error:
                # Another instance has just inserted the same row, so the next try can lock it.
                log.info("ledger_raced", table=self._book.table, error=str(error).splitlines()[0])
                pause = min(pause * 2, _LONGEST_PAUSE)
            except TRANSIENT as error:
                log.warning("database_unavailable", table=self._book.table, error=str(error), retry_in=pause)
                await self._database.check()
                pause = min(pause * 2, _LONGEST_PAUSE)
            except psycopg.Error as error:
                if len(submissions) == 1:
                    return [error]
                # One of them is at fault. Applied alone, each succeeds or fails by itself.
                return [result for submission in submissions for result in await self._handle([submission])]
            await asyncio.sleep(pause)

    def _traced(self, submissions: Sequence[Submission]) -> AbstractContextManager[None]:
        if self._traces is None:
            return nullcontext()
        return self._traces.batch(self._book.table, [each.traceparent for each in submissions])


async def apply(
    database: Database,
    book: Book[State],
    outlet: Outlet,
    submissions: Sequence[Submission],
    measures: LedgerMeasures | None = None,
) -> list[Applied[State] | Exception]:
    """Apply these messages in order, in one transaction. On return it is committed, and its events are offered.

    A submission whose decision raises has that exception as its result and changes nothing. Raises psycopg.Error if the
    transaction fails; then nothing has changed.
    """
    keys = sorted({submission.message.order_id for submission in submissions})
    async with database.transaction() as connection:
        page = await _LockedRows.lock(connection, book, keys)
        results = [page.decide(submission) for submission in submissions]
        written = await page.save(connection, outlet)
    crash_point("ledger.committed")
    if measures is not None:
        measures.batch_committed(len(submissions))
        for end, seconds in page.ends():
            measures.saga_ended(end, seconds)
    events = await page.logged(written)
    if events:
        outlet.offer(events)
    return results


class _LockedRows(Generic[State]):
    """The locked rows of one batch, before and after its decisions."""

    def __init__(self, book: Book[State], now: datetime) -> None:
        self._book = book
        self._now = now
        self._before: dict[UUID, State] = {}
        self._since: dict[UUID, datetime] = {}  # when each was stored
        self._after: dict[UUID, State] = {}
        self._unpublished: dict[UUID, list[int]] = {}
        self._events: list[Envelope] = []
        self._event_orders: list[UUID] = []
        self._attempts: list[int | None] = []

    @classmethod
    async def lock(cls, connection: Connection, book: Book[State], keys: Sequence[UUID]) -> _LockedRows[State]:
        columns = ", ".join(book.columns)
        rows = await connection.execute(
            f"SELECT {columns}, created_at FROM {book.table} WHERE {book.key} = ANY(%s) ORDER BY {book.key} FOR UPDATE",
            [keys],
        )
        # A statement of its own: it must see what others committed while the first statement waited for the locks.
        waiting = await connection.execute(
            "SELECT clock_timestamp(), order_id, seq FROM (SELECT) once LEFT JOIN outbox ON order_id = ANY(%s)"
            " ORDER BY seq",
            [keys],
        )
        (now, *_), *_ = unpublished = await waiting.fetchall()
        page = cls(book, now.astimezone(UTC))
        place = list(book.columns).index(book.key)
        for *row, since in await rows.fetchall():
            page._before[row[place]], page._since[row[place]] = book.load(row), since
        page._after = dict(page._before)
        for _, order_id, seq in unpublished:
            if order_id is not None:
                page._unpublished.setdefault(order_id, []).append(seq)
        return page

    def decide(self, submission: Submission) -> Applied[State] | Exception:
        order_id = submission.message.order_id
        try:
            decision = self._book.decide(self._after.get(order_id), submission.message, submission.coordinator)
        except Exception as error:
            log.exception("decision_failed", **_about(submission), message=type(submission.message).__name__)
            return error
        if not isinstance(decision, Become):
            if isinstance(decision, Illegal):
                log.warning("message_illegal", **_about(submission), why=decision.why)
            else:
                log.info("message_ignored", **_about(submission), kind=type(decision).__name__, why=decision.why)
            return Applied(decision=decision)
        self._after[order_id] = decision.state
        return Applied(decision=decision, event=self._record(submission, decision))

    def _record(self, submission: Submission, decision: Become[State]) -> Envelope | None:
        if decision.emit is None:
            return None
        order_id = decision.emit.order_id
        event = envelope_of(
            decision.emit,
            event_id=event_id(order_id, type(decision.emit), submission.event_id),
            occurred_at=self._now,
            correlation_id=submission.correlation_id,
            causation_id=submission.event_id,
            coordinator=submission.coordinator,
            traceparent=submission.traceparent,
        )
        self._events.append(event)
        self._event_orders.append(order_id)
        self._attempts.append(submission.attempt)
        return event

    async def save(self, connection: Connection, outlet: Outlet) -> AsyncCursor[tuple[Any, ...]] | None:
        """Queue the writes without waiting for them. If events are logged, the cursor has their places in the log."""
        book, now, before = self._book, self._now, self._before
        changed = {key: state for key, state in sorted(self._after.items()) if state != before.get(key)}
        deferred = self._deferred(outlet)
        if deferred:
            await connection.execute("SELECT pg_notify('outbox', '')")
        cursor = await writes.together(
            connection,
            # Writers may wait for each other at the totals. What is given first is written last (see `together`).
            writes.tallied(book, [(before.get(key), state) for key, state in changed.items()]),
            writes.updated(book, [state for key, state in changed.items() if key in before], now),
            writes.inserted(book, [state for key, state in changed.items() if key not in before], now),
            writes.logged(self._events, self._event_orders, self._attempts),
            writes.outboxed(self._events, deferred),
        )
        return cursor if self._events else None

    def ends(self) -> Iterator[tuple[SagaEnd, float]]:
        """The sagas that end with this batch, and the seconds since each was stored."""
        for key, state in self._after.items():
            before = self._before.get(key)
            if state is not before and (end := self._book.ended(before, state)) is not None:
                yield end, max(0.0, (self._now - self._since.get(key, self._now)).total_seconds())

    def _deferred(self, outlet: Outlet) -> list[UUID]:
        """The orders that have unpublished events outside this outlet. The relay publishes their events, in order."""
        return [
            order_id
            for order_id in {*self._event_orders}
            if not all(map(outlet.carries, self._unpublished.get(order_id, ())))
        ]

    async def logged(self, cursor: AsyncCursor[tuple[Any, ...]] | None) -> list[tuple[int, Envelope]]:
        """The events that may leave by the fast path, each with its place in the log."""
        if cursor is None:
            return []
        rows = sorted(await cursor.fetchall())
        return [(seq, event) for (seq, deferred), event in zip(rows, self._events, strict=True) if not deferred]


def _about(submission: Submission) -> dict[str, str]:
    known = {"order_id": str(submission.message.order_id), "correlation_id": submission.correlation_id}
    if submission.traceparent is not None:  # what is current here is the batch, not the message
        known["trace_id"] = submission.traceparent.split("-")[1]
    return known
