"""What a step takes and gives when Temporal runs it: plain values that its JSON converter can carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class StepInput:
    """A message for a service's ledger; `payload` is in wire form, `event_id` becomes the cause of what follows."""

    event_type: str
    payload: dict[str, Any]
    event_id: str
    correlation_id: str
    coordinator: str


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What was decided and committed: `decision` is become, stale, too_early or illegal; `status` is the row's now.

    `events` are envelopes in wire form, the ones that this step put into the event log; a step that is repeated gives
    those of its first time.
    """

    decision: str
    why: str | None
    status: str | None
    events: list[dict[str, Any]]
