"""How an operator sees and does things with each coordinator: facts of this system, not figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.report import View

VIEWS: Final[Sequence[View]] = (
    View(
        question="Where is the sequence of steps written down?",
        choreography="In choreography/reactions.py, a table for each service; the whole is the sum of both.",
        orchestration="In workflows/order_saga.py, one workflow, and workflows/saga_steps.py, each step beside its"
        " compensation.",
    ),
    View(
        question="Where is one saga's story?",
        choreography="On the mirror's page in the Temporal UI (order-<id>), as soon as the mirror has heard of it;"
        " in both event logs at once.",
        orchestration="On the workflow's page in the Temporal UI (order-<id>); in both event logs at once.",
    ),
    View(
        question="Where does a saga that is stuck show?",
        choreography="As a message: in a service's queue, retry queue or dead letters in the RabbitMQ UI, or as a row"
        " of an outbox. The mirror's page says what it waits for, until when, and what happens then.",
        orchestration="On the workflow's page: the pending activity, its attempts, its last error, its next attempt.",
    ),
    View(
        question="What about a step that fails again and again?",
        choreography="After the last of SAGA_RETRY_DELAYS the message is a dead letter: `saga dead-letters list`,"
        " `show`, `redrive`, `discard`.",
        orchestration="It is retried for as long as it takes, at growing intervals. A step that is refused for good"
        " fails the workflow, which the Temporal UI lists as failed.",
    ),
    View(
        question="How is an order cancelled?",
        choreography="PATCH …/cancel or `saga order cancel`: a message to the order service.",
        orchestration="The same PATCH: a signal to the workflow, or a run of its own once the saga has ended.",
    ),
    View(
        question="Who cancels an order whose payment takes too long?",
        choreography="A timer in the mirror, or the reconciler where there is none; both need Temporal and the worker.",
        orchestration="The workflow itself: the charge ends at the payment's deadline.",
    ),
    View(
        question="How is what happened sent again?",
        choreography="`saga events replay`, by order, type or time: what already happened does not happen twice.",
        orchestration="The same command publishes its events for those who listen. The steps themselves are never"
        " replayed by it: Temporal resumes them.",
    ),
    View(
        question="What must be up for an order to be accepted?",
        choreography="The gateway and RabbitMQ.",
        orchestration="The gateway and Temporal.",
    ),
    View(
        question="And for it to get to its end?",
        choreography="RabbitMQ, both services, both databases, the provider. Neither Temporal nor the worker.",
        orchestration="Temporal, both services, both databases, the provider. Neither the worker nor RabbitMQ: events"
        " wait in the outbox.",
    ),
    View(
        question="How are many sagas searched?",
        choreography="By status, customer, total or reason in the Temporal UI, or `saga order list`.",
        orchestration="The same.",
    ),
    View(
        question="What if the sequence changes while sagas are under way?",
        choreography="A message that is under way meets the new table: the old types must be accepted until none is"
        " left.",
        orchestration="A workflow that is under way replays its history through the new code: patch or version it.",
    ),
)
