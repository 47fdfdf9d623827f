"""The order service's local transactions, and its book."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from activities.book import Applied, Book, Submission
from activities.ledger import Ledger
from activities.measures import SagaEnd
from activities.saga_trace import SagaTrace
from activities.waits import Waits
from models.database import Database
from models.message_types import EventType
from models.order import Order, decide
from models.tables import OrderRow


def _tally(order: Order) -> tuple[tuple[str, ...], int]:
    return (order.status,), order.total


def _ended(before: Order | None, after: Order) -> SagaEnd | None:
    """How the saga ended with this change. A paid order that is cancelled later ends no second time."""
    if not after.status.over or (before is not None and before.status.over):
        return None
    return SagaEnd(coordinator=after.coordinator, outcome=after.status)


ORDERS: Final = Book[Order](
    state=Order,
    rows=OrderRow,
    key="id",
    mutable=("status", "cancel_reason"),
    decide=decide,
    totals="order_totals",
    totals_by=("status",),
    tally=_tally,
    ended=_ended,
)


_REQUEUE: Final = """
    INSERT INTO outbox (seq, order_id, deferred)
    SELECT seq, order_id, true FROM event_log WHERE order_id = %s AND event_type = %s
    ON CONFLICT (seq) DO UPDATE SET deferred = true
    RETURNING seq
"""


class Orders:
    """The order service's local transactions, the same for both coordinators."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger[Order],
        waits: Waits | None = None,
        saga_trace: SagaTrace | None = None,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._waits = waits or Waits()
        self._saga_trace = saga_trace

    async def apply(self, submission: Submission) -> Applied[Order]:
        """Apply a message, in one batch with others that arrive at the same time. It is committed on return."""
        self._waits.note(submission)
        if self._saga_trace is None:
            return await self._ledger.submit(submission)
        with await self._saga_trace.step(submission):
            return await self._ledger.submit(submission)

    async def republish_cancellation(self, order_id: UUID) -> bool:
        """Have the relay publish the order's order.cancelled again. Returns False if none was ever logged."""
        async with self._database.transaction() as connection:
            # Retention takes the same lock before it removes events. So what the outbox numbers stays in the log.
            await connection.execute("SELECT FROM orders WHERE id = %s FOR UPDATE", [order_id])
            cursor = await connection.execute(_REQUEUE, [order_id, EventType.ORDER_CANCELLED.value])
            await connection.execute("SELECT pg_notify('outbox', '')")
            return bool(await cursor.fetchall())
