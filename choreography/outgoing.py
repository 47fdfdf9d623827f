"""Turn envelopes into messages for their exchange, and publish commands."""

from __future__ import annotations

from choreography.broker import Broker
from choreography.message import Outgoing
from choreography.topology import readers
from models.messages import Envelope, encode


def outgoing(envelope: Envelope, *, mandatory: bool = False) -> Outgoing:
    """The message that carries an envelope to its exchange."""
    if envelope.route is None:
        raise ValueError(f"{envelope.event_type} has no route")
    return Outgoing(
        body=encode(envelope),
        exchange=envelope.route.exchange,
        routing_key=envelope.route.routing_key,
        message_id=str(envelope.event_id),
        correlation_id=envelope.correlation_id,
        # What a service waits for must not count as published if no queue takes it.
        mandatory=mandatory or bool(readers(envelope.route.routing_key)),
    )


class CommandPublisher:
    """Publishes commands for those who own no event log: confirmed, or an error."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def publish(self, envelope: Envelope) -> None:
        """Publish; confirmed and in a queue on return. Raises BrokerUnavailable, at once without a connection."""
        await self._broker.publish(outgoing(envelope, mandatory=True))
