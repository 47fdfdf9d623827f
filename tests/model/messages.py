"""Number the messages of one saga, and know which queues take them, by production's envelopes and bindings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final
from uuid import UUID

from activities.book import Submission
from activities.steps import StepInput
from choreography.outgoing_message import as_message
from choreography.topology import BINDINGS, MIRROR_QUEUE, ORDER_QUEUE, PAYMENT_QUEUE
from models.message_types import UnknownType, known_type
from models.messages import Envelope, decode, envelope_of, parse
from models.saga import (
    CancelReason,
    Command,
    Coordinator,
    CreateOrderRequested,
    Message,
    OrderCancelRequested,
    OrderId,
    UserId,
    derived_id,
)

ORDER: Final = OrderId(UUID("01900000-0000-7000-8000-000000000001"))
USER: Final = UserId(UUID("01900000-0000-7000-8000-000000000002"))
TOTAL: Final = 999
CORRELATION: Final = "model"
QUEUES: Final = (ORDER_QUEUE, PAYMENT_QUEUE, MIRROR_QUEUE)

NOW: Final = datetime(2030, 1, 1, 12, tzinfo=UTC)
# The payment service's clock is an hour behind, so that comparing clocks gives no order of events.
CLOCKS: Final = {"order": NOW, "payment": NOW - timedelta(hours=1)}


class Messages:
    """Every message that was sent so far, by number. Messages with the same id and content have one number."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._envelopes: list[Envelope] = []
        self._messages: list[Message] = []

    def number(self, envelope: Envelope) -> int:
        """The number of a message that travels as this envelope."""
        body = as_message(envelope).body
        if body not in self._numbers:
            # Receivers decide on what they read, not on what was written.
            received = decode(body)
            self._numbers[body] = len(self._envelopes)
            self._envelopes.append(received)
            self._messages.append(parse(received))
        return self._numbers[body]

    def number_of_step(self, step: StepInput) -> int:
        """The number of a message that an orchestrator gives to a step, and that is never published."""
        envelope = Envelope(
            event_type=known_type(step.event_type) or UnknownType(step.event_type),
            event_id=UUID(step.event_id),
            occurred_at=NOW,  # no decision asks for it
            correlation_id=step.correlation_id,
            payload=step.payload,
            coordinator=Coordinator(step.coordinator),
        )
        return self.number(envelope)

    def envelope(self, number: int) -> Envelope:
        return self._envelopes[number]

    def message(self, number: int) -> Message:
        return self._messages[number]

    def name(self, number: int) -> str:
        return self._envelopes[number].event_type

    def is_event(self, number: int) -> bool:
        return not isinstance(self._messages[number], Command)

    def causes(self, log: tuple[int, ...]) -> tuple[str, ...]:
        """The comparable part of an event log: the types of the events and of their causes."""
        types = {each.event_id: each.event_type for each in self._envelopes}
        events = [self._envelopes[number] for number in log]
        return tuple(f"{each.event_type} because of {types.get(each.causation_id or each.event_id)}" for each in events)

    def entry(self, number: int) -> Submission:
        """The message as `Consumer._react` gives it to a ledger."""
        envelope = self._envelopes[number]
        return Submission(
            message=self._messages[number],
            event_id=envelope.event_id,
            correlation_id=envelope.correlation_id,
            coordinator=envelope.coordinator,
        )

    def queues(self, number: int) -> tuple[str, ...]:
        """The queues that get a copy when the message is published."""
        route = self._envelopes[number].route
        return bound_queues(route.exchange, route.routing_key) if route else ()

    def create(self, coordinator: Coordinator) -> int:
        """The command that creates the order, as the gateway sends it."""
        return self._command(CreateOrderRequested(order_id=ORDER, user_id=USER, total=TOTAL), coordinator)

    def cancel(self, reason: CancelReason = CancelReason.USER_REQUESTED) -> int:
        """The command that cancels the order, as the gateway (or a mirror's timer) sends it."""
        return self._command(OrderCancelRequested(order_id=ORDER, reason=reason), Coordinator.CHOREOGRAPHY, reason)

    def _command(self, command: Message, coordinator: Coordinator, *names: str) -> int:
        envelope = envelope_of(
            command,
            event_id=derived_id(ORDER, type(command).__name__, *names),
            occurred_at=NOW,
            correlation_id=CORRELATION,
            coordinator=coordinator,
        )
        return self.number(envelope)


@cache
def bound_queues(exchange: str, routing_key: str) -> tuple[str, ...]:
    """The inboxes whose bindings fit."""
    return tuple(
        inbox
        for inbox, bindings in BINDINGS.items()
        if inbox in QUEUES and any(at == exchange and _fits(key, routing_key) for at, key in bindings)
    )


def _fits(pattern: str, routing_key: str) -> bool:
    """Compare as a topic exchange does. Our bindings use no wildcard but `*`."""
    wanted, words = pattern.split("."), routing_key.split(".")
    return len(wanted) == len(words) and all(want in ("*", word) for want, word in zip(wanted, words, strict=True))
