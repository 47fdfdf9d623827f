"""What is told to whoever traces messages: those that are sent, and those that are handled."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from aiormq.abc import DeliveredMessage

from choreography.outgoing_message import BrokerUnavailable, OutgoingMessage
from models.messages import Envelope


@dataclass(kw_only=True)
class Sending:
    """Messages, each with the trace context of its own sending, and afterwards the error of each."""

    messages: Sequence[OutgoingMessage]
    errors: Sequence[BrokerUnavailable | None] = ()


class SendingTraces(Protocol):
    """Hears of messages that are published."""

    def sending(self, messages: Sequence[OutgoingMessage]) -> AbstractContextManager[Sending]:
        """Inside, these messages are published. Each continues the context in its header, or the one at hand."""


class HandlingTraces(Protocol):
    """Hears of messages that are handled."""

    def handling(self, queue: str, message: DeliveredMessage) -> AbstractContextManager[str]:
        """Inside, a message of this queue is handled. The value is the context that a copy of it is to carry."""

    def handled(self, envelope: Envelope | None, *, attempt: int, disposition: str, error: str | None) -> None:
        """What becomes of the message that is handled now, and why. Without envelope it was not decoded."""


class MirrorTraces(Protocol):
    """Hears of mirrors that are told. A mirror has a trace of its own, which is linked with its saga's."""

    def telling(self, order_id: str, queue: str, messages: Sequence[DeliveredMessage]) -> AbstractContextManager[None]:
        """Inside, the order's mirror is told of these messages of the queue."""
