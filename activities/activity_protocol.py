"""What the Temporal activities of both services share: how they take a message, their errors, and heartbeats."""

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
    """The step's message as a submission. Raises a final ApplicationError unless it is of one of these types."""
    event_type = known_type(step.event_type)
    if event_type is None or MESSAGE_TYPES[event_type] not in kinds:
        taken = " or ".join(kind.__name__ for kind in kinds)
        raise for_good(f"{step.event_type} was sent to a step that takes {taken}", "Malformed")
    try:
        envelope = Envelope(
            event_type=event_type,
            event_id=UUID(step.event_id),
            occurred_at=datetime.now(UTC),  # no decision uses it
            correlation_id=step.correlation_id,
            payload=step.payload,
        )
        return Submission(
            message=parse(envelope),
            event_id=envelope.event_id,
            correlation_id=envelope.correlation_id,
            coordinator=Coordinator(step.coordinator),
            attempt=activity.info().attempt if activity.in_activity() else None,
        )
    except (MalformedMessage, ValueError) as error:
        raise for_good(str(error), "Malformed") from error


def accepted(decision: Decision[State]) -> Decision[State]:
    """The decision. Raises a final ApplicationError if the message was illegal."""
    if isinstance(decision, Illegal):
        raise for_good(decision.why, "Illegal")
    return decision


def for_good(why: str, kind: str) -> ApplicationError:
    """An error that Temporal does not retry."""
    return ApplicationError(why, type=kind, non_retryable=True)


@asynccontextmanager
async def heartbeats() -> AsyncIterator[None]:
    """Send heartbeats while the step runs, so that Temporal soon notices a crash of this process."""
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
