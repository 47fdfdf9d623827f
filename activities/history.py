"""Read what a service has logged about an order, and what a repeated step logged the first time."""

from __future__ import annotations

from datetime import UTC
from typing import Any, Final
from uuid import UUID

from activities.book import Book, State, Submission
from activities.reconstruction import reconstruct
from activities.steps import StepResult
from models.database import Database
from models.event_log import EVENT_COLUMNS, logged_envelope
from models.messages import Envelope, wire_form
from models.saga import Become, Decision, Illegal, Stale, TooEarly

_NAMES: Final = {Become: "become", Stale: "stale", TooEarly: "too_early", Illegal: "illegal"}


class History:
    """Reads a service's events of an order, and the order's row.

    Events that retention has removed are reconstructed from the row, so that a saga can go on as from its events.
    """

    def __init__(self, database: Database, book: Book[Any]) -> None:
        self._database = database
        self._book = book

    async def events(self, order_id: UUID) -> list[dict[str, Any]]:
        """All events of the order, in wire form, oldest first. Removed ones are reconstructed as far as possible."""
        sql = f"SELECT {EVENT_COLUMNS} FROM event_log e WHERE e.order_id = %s ORDER BY e.seq"
        logged = [logged_envelope(row) for row in await self._database.query(sql, [order_id])]
        types = {event.event_type for event in logged}
        removed = [event for event in await self._recalled(order_id) if event.event_type not in types]
        return [wire_form(event) for event in (*removed, *logged)]

    async def _recalled(self, order_id: UUID) -> list[Envelope]:
        """The events that the row tells, if retention may have removed events of this order; else none."""
        table, key, columns = self._book.table, self._book.key, tuple(self._book.columns)
        sql = (
            f"SELECT {', '.join(columns)}, created_at, updated_at FROM {table}"
            f" WHERE {key} = %s AND created_at <= (SELECT until FROM removed_events)"
        )
        found = await self._database.query(sql, [order_id])
        return [
            event
            for row in found
            for event in reconstruct(
                self._book.load([row[name] for name in columns]),
                created_at=row["created_at"].astimezone(UTC),
                updated_at=row["updated_at"].astimezone(UTC),
            )
        ]

    async def result(self, submission: Submission, decision: Decision[State]) -> StepResult:
        """The result of the step: the events that its message caused, whichever attempt logged them."""
        table, key = self._book.table, self._book.key
        sql = (
            f"SELECT t.status, {EVENT_COLUMNS} FROM {table} t"
            f" LEFT JOIN event_log e ON e.order_id = t.{key} AND e.causation_id = %s WHERE t.{key} = %s ORDER BY e.seq"
        )
        rows = await self._database.query(sql, [submission.event_id, submission.message.order_id])
        events = [wire_form(logged_envelope(row)) for row in rows if row["event_id"] is not None]
        if rows and not events:
            # Either this message caused no event, or retention has removed its events.
            known = await self.events(submission.message.order_id)
            events = [event for event in known if event["causationId"] == str(submission.event_id)]
        return StepResult(
            decision=_NAMES[type(decision)],
            why=None if isinstance(decision, Become) else decision.why,
            status=rows[0]["status"] if rows else None,
            events=events,
        )
