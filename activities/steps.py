"""The input and the result of a step that Temporal runs: plain values that its JSON converter can carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class StepInput:
    """A message for a service's ledger. `payload` is in wire form. `event_id` becomes the cause of its events."""

    event_type: str
    payload: dict[str, Any]
    event_id: str
    correlation_id: str
    coordinator: str


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What was decided and committed. `decision` is become, stale, too_early or illegal; `status` is the row's status.

    `events` are the envelopes, in wire form, that this step added to the event log. A repeated step returns those of
    its first run.
    """

    decision: str
    why: str | None
    status: str | None
    events: list[dict[str, Any]]
