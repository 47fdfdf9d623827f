"""What the core tells whoever traces it: nothing here knows how that is done, and by default nobody does.

A trace context is written as W3C Trace Context writes a `traceparent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol


class LedgerTraces(Protocol):
    """Hears of the transactions of a ledger."""

    def current(self) -> str | None:
        """The context of what runs here now; None if that is not traced."""

    def batch(self, table: str, contexts: Sequence[str | None]) -> AbstractContextManager[None]:
        """Inside, one transaction changes this table for messages with these contexts."""


class StepTraces(Protocol):
    """Hears of steps that somebody asked for from outside their saga."""

    def current(self) -> str | None:
        """As LedgerTraces."""

    def joining(self, saga: str, name: str) -> AbstractContextManager[None]:
        """Inside, a step of this name belongs to the trace of the context `saga`, whoever asked for it."""
