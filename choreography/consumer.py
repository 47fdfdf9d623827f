"""Consume a service's queue: decode, react, then acknowledge. A message that fails is set aside and blocks no other."""

from __future__ import annotations

from typing import Any, assert_never

import structlog
from aiormq.abc import DeliveredMessage

from activities.book import Submission
from activities.crash_points import crash_point
from choreography.broker import Broker
from choreography.disposition import Ack, DeadLetter, Disposition, RetryAfter, dispose
from choreography.headers import ATTEMPT, DELIVERY_COUNT, count_in
from choreography.reactions import Reactions
from choreography.subscription import Delivery, Settled, Subscription, tell_nobody
from choreography.suspects import MOST_DEATHS, SUSPECTED_AFTER, Suspects
from choreography.traces import HandlingTraces
from models.message_types import CommandType
from models.messages import Envelope, MalformedMessage, decode, parse
from models.saga import Coordinator

log = structlog.get_logger()


class Consumer:
    """Handles at most `prefetch` messages of one queue at once, and acknowledges each after its effect is committed."""

    def __init__(
        self,
        broker: Broker,
        queue: str,
        reactions: Reactions,
        *,
        suspects: Suspects,
        prefetch: int,
        settled: Settled = tell_nobody,
        traces: HandlingTraces | None = None,
    ) -> None:
        self._queue = queue
        self._reactions = reactions
        self._suspects = suspects
        self._traces = traces
        self._delays = broker.topology.retry_delays
        self._subscription = Subscription(broker, queue, self._on_delivery, prefetch=prefetch, settled=settled)

    @property
    def standing(self) -> str:
        """`ok` if messages are consumed; else the reason why not, as a sentence for an operator."""
        return self._subscription.standing

    async def drain(self, timeout: float) -> None:
        """Take no new message, and finish the begun ones within `timeout` seconds. RabbitMQ redelivers the others."""
        await self._subscription.end(within=timeout)

    async def _on_delivery(self, delivery: Delivery) -> None:
        if self._traces is None:
            await self._handle(delivery)
        else:
            with self._traces.handling(self._queue, delivery.message) as delivery.traceparent:
                await self._handle(delivery)
        crash_point("consumer.settled")
        delivery.acknowledge()

    async def _handle(self, delivery: Delivery) -> None:
        if count_in(delivery.headers, DELIVERY_COUNT, 0) <= SUSPECTED_AFTER:
            await self._settle(delivery, deaths=0)
            return
        async with self._suspects.handling(_place_and_body(delivery.message)) as deaths:
            if not delivery.is_ours:
                raise ConnectionError("the channel was closed before the message's turn came")
            await self._settle(delivery, deaths=deaths)

    async def _settle(self, delivery: Delivery, *, deaths: int) -> None:
        """React to the message, or set it aside. `deaths` is the number of processes that it has ended.

        On return the message may be acknowledged.
        """
        attempt = count_in(delivery.headers, ATTEMPT, 1)
        envelope: Envelope | None = None
        try:
            if deaths >= MOST_DEATHS:
                why = f"{deaths} processes in a row ended while they handled this message"
                disposition: Disposition = DeadLetter(reason="REDELIVERED", error=why)
            else:
                delivery.check_decoded()
                envelope = decode(delivery.body, correlation_id=delivery.correlation_id)
                disposition = dispose(await self._react(envelope, attempt), attempt, self._delays)
        except Exception as error:
            disposition = dispose(error, attempt, self._delays)
        if self._traces is not None:
            cause = None if isinstance(disposition, Ack) else disposition.error
            self._traces.handled(envelope, attempt=attempt, disposition=type(disposition).__name__, error=cause)
        if not isinstance(disposition, Ack):
            await self._set_aside(delivery, envelope, attempt, disposition)

    async def _react(self, envelope: Envelope, attempt: int) -> Any:
        if envelope.coordinator is Coordinator.ORCHESTRATION:
            if isinstance(envelope.event_type, CommandType):
                raise MalformedMessage("an orchestrated saga takes no command from the broker")
            return None  # the orchestrator sequences this saga; its events are published for listeners only
        message = parse(envelope)
        step = self._reactions.get(type(message))
        if step is None:
            raise MalformedMessage(f"{envelope.event_type} has no reaction in {self._queue}; it was misrouted")
        submission = Submission(
            message=message,
            event_id=envelope.event_id,
            correlation_id=envelope.correlation_id,
            coordinator=envelope.coordinator,
            attempt=attempt,
        )
        return await step(submission, attempt > len(self._delays))

    async def _set_aside(
        self, delivery: Delivery, envelope: Envelope | None, attempt: int, disposition: RetryAfter | DeadLetter
    ) -> None:
        log.warning(
            "message_retried" if isinstance(disposition, RetryAfter) else "message_dead_lettered",
            queue=self._queue,
            event_type=envelope and envelope.event_type,
            order_id=envelope and envelope.order_id,
            correlation_id=envelope and envelope.correlation_id,
            attempt=attempt,
            error=disposition.error,
        )
        match disposition:
            case RetryAfter(delay=delay, error=error):
                await delivery.retry(attempt=attempt, delay=delay, error=error)
            case DeadLetter(reason=reason, error=error):
                await delivery.dead_letter(reason=reason, error=error, attempt=attempt)
            case _ as never:
                assert_never(never)


def _place_and_body(delivery: DeliveredMessage) -> bytes:
    """The bytes that are the same in all deliveries of one message."""
    return b"\0".join(((delivery.exchange or "").encode(), (delivery.routing_key or "").encode(), delivery.body))
