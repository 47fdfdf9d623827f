"""Publish commands for the parts that own no event log."""

from __future__ import annotations

from choreography.broker import Broker
from choreography.outgoing_message import as_message
from models.messages import Envelope


class CommandPublisher:
    """Publishes a command and has it confirmed, or fails."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def publish(self, envelope: Envelope) -> None:
        """Publish; on return the command is confirmed and in a queue.

        Raises BrokerUnavailable: at once if there is no connection.
        """
        await self._broker.publish(as_message(envelope, mandatory=True))
