"""What the Temporal activities of both services have in common: the message they take, their errors, heartbeats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.book import State, Submission
from activities.steps import StepInput
from models.message_types import MESSAGE_TYPES, known_type
from models.messages import Envelope, MalformedMessage, parse
from models.saga import Coordinator, Decision, Illegal, Message


def submission_of(step: StepInput, *kinds: type[Message]) -> Submission:
    """The step's message as the ledger takes it. Raises ApplicationError, for good, unless it is of these kinds."""
    event_type = known_type(step.event_type)
    if event_type is None or MESSAGE_TYPES[event_type] not in kinds:
        taken = " or ".join(kind.__name__ for kind in kinds)
        raise for_good(f"{step.event_type} was sent to a step that takes {taken}", "Malformed")
    try:
        envelope = Envelope(
            event_type=event_type,
            event_id=UUID(step.event_id),
            occurred_at=datetime.now(UTC),  # no decision asks for it
            correlation_id=step.correlation_id,
            payload=step.payload,
        )
        return Submission(
            message=parse(envelope),
            event_id=envelope.event_id,
            correlation_id=envelope.correlation_id,
            coordinator=Coordinator(step.coordinator),
        )
    except (MalformedMessage, ValueError) as error:
        raise for_good(str(error), "Malformed") from error


def accepted(decision: Decision[State]) -> Decision[State]:
    """The decision. Raises ApplicationError, for good, when the message was illegal."""
    if isinstance(decision, Illegal):
        raise for_good(decision.why, "Illegal")
    return decision


def for_good(why: str, kind: str) -> ApplicationError:
    """An error that no retry can help."""
    return ApplicationError(why, type=kind, non_retryable=True)


@asynccontextmanager
async def heartbeats() -> AsyncIterator[None]:
    """Tell Temporal that the step is being worked on, so that a crash of this process is noticed soon."""
    timeout = activity.info().heartbeat_timeout
    beating = asyncio.create_task(_beat(timeout.total_seconds() / 3)) if timeout else None
    try:
        yield
    finally:
        if beating is not None:
            beating.cancel()


async def _beat(interval: float) -> None:
    while True:
        await asyncio.sleep(interval)
        activity.heartbeat()
