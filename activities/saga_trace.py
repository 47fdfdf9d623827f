"""Bring a step that was asked for from outside its saga back into the saga's trace."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from activities.book import Submission
from activities.traces import StepTraces
from models.database import TRANSIENT, Database
from models.saga import OrderCancelled, OrderCancelRequested, OrderFailed

_LAST_CONTEXT: Final = """
    SELECT traceparent FROM event_log WHERE order_id = %s AND traceparent IS NOT NULL ORDER BY seq DESC LIMIT 1
"""


# Who asks for one of these may stand outside: a client's second request, a mirror, a workflow after the saga's end.
_ASKED_FOR: Final = (OrderCancelRequested, OrderCancelled, OrderFailed)


class SagaTrace:
    """Finds a saga's trace in the event log of one service. All steps but these few carry the saga's context."""

    def __init__(self, database: Database, traces: StepTraces) -> None:
        self._database = database
        self._traces = traces

    async def step(self, submission: Submission) -> AbstractContextManager[None]:
        """The context in which to apply the submission. While the database is away, it is the one at hand."""
        if self._traces.current() is not None and not isinstance(submission.message, _ASKED_FOR):
            return nullcontext()
        try:
            found = await self._database.query(_LAST_CONTEXT, [submission.message.order_id])
        except TRANSIENT:
            return nullcontext()
        name = type(submission.message).__name__
        return self._traces.joining(found[0]["traceparent"], name) if found else nullcontext()
