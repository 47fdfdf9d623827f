"""Exchanges, queues, bindings and dead-letter routes, as frozen data; `declare` makes the broker agree with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aio_pika.abc import AbstractChannel

from models.messages import ORDERS_EXCHANGE, PAYMENTS_EXCHANGE

DEAD_LETTER_EXCHANGE: Final = "dlx.exchange"
ORDER_QUEUE: Final = "order-service"
PAYMENT_QUEUE: Final = "payment-service"
MIRROR_QUEUE: Final = "saga-mirror"

# Seconds a message waits after its first, second, … failure; when the last has passed, it is a dead letter.
DEFAULT_RETRY_DELAYS: Final = (0.5, 2.0, 8.0, 30.0, 120.0)


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A quorum queue and what is routed into it: pairs of exchange and routing key."""

    name: str
    bindings: tuple[tuple[str, str], ...] = ()
    arguments: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Everything the services need at the broker."""

    retry_delays: tuple[float, ...] = DEFAULT_RETRY_DELAYS

    @property
    def exchanges(self) -> tuple[str, ...]:
        return ORDERS_EXCHANGE, PAYMENTS_EXCHANGE, DEAD_LETTER_EXCHANGE

    @property
    def queues(self) -> tuple[Queue, ...]:
        return (
            *self._of_service(
                ORDER_QUEUE,
                (ORDERS_EXCHANGE, "order.create.requested"),
                (ORDERS_EXCHANGE, "order.cancel.requested"),
                (PAYMENTS_EXCHANGE, "payment.approved"),
                (PAYMENTS_EXCHANGE, "payment.declined"),
                (PAYMENTS_EXCHANGE, "payment.failed"),
            ),
            *self._of_service(PAYMENT_QUEUE, (ORDERS_EXCHANGE, "order.created"), (ORDERS_EXCHANGE, "order.cancelled")),
            # One feed at a time: an order's events reach its mirror in order, and a closed mirror has one successor.
            # `order.*` covers every event and neither command: those have one word more.
            _inbox(
                MIRROR_QUEUE,
                (ORDERS_EXCHANGE, "order.*"),
                (PAYMENTS_EXCHANGE, "payment.*"),
                **{"x-single-active-consumer": True},
            ),
            _dead_letters(MIRROR_QUEUE),
        )

    def _of_service(self, name: str, *bindings: tuple[str, str]) -> tuple[Queue, ...]:
        retries = (
            Queue(
                name=retry_queue(name, delay),
                arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name, **_AT_LEAST_ONCE},
            )
            for delay in self.retry_delays
        )
        return _inbox(name, *bindings), *retries, _dead_letters(name)


def _inbox(name: str, *bindings: tuple[str, str], **arguments: str | int) -> Queue:
    return Queue(
        name=name,
        bindings=bindings,
        arguments={
            "x-dead-letter-exchange": DEAD_LETTER_EXCHANGE,
            "x-dead-letter-routing-key": name,
            "x-delivery-limit": _UNLIMITED,
            **_AT_LEAST_ONCE,
            **arguments,
        },
    )


def _dead_letters(name: str) -> Queue:
    return Queue(
        name=dead_letter_queue(name),
        bindings=((DEAD_LETTER_EXCHANGE, name),),
        # Looking at dead letters returns them to the queue; no number of looks may lose one.
        arguments={"x-delivery-limit": _UNLIMITED},
    )


# RabbitMQ 4 drops a message after 20 returns unless told otherwise; our own attempt count decides, never the broker's.
_UNLIMITED: Final = 1_000_000_000
# Expired messages leave a queue only when their next queue has confirmed them.
_AT_LEAST_ONCE: Final = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}


def retry_queue(service: str, delay: float) -> str:
    """The queue in which a service's messages wait `delay` seconds before they come back."""
    return f"{service}.retry.{round(delay * 1000)}ms"


def dead_letter_queue(service: str) -> str:
    """The queue that keeps a service's dead letters."""
    return f"{service}.dead-letters"


async def declare(channel: AbstractChannel, topology: Topology) -> None:
    """Declare everything; repeating it changes nothing."""
    for exchange in topology.exchanges:
        await channel.declare_exchange(exchange, "topic", durable=True)
    for queue in topology.queues:
        declared = await channel.declare_queue(
            queue.name, durable=True, arguments={"x-queue-type": "quorum", **queue.arguments}
        )
        for exchange, routing_key in queue.bindings:
            await declared.bind(exchange, routing_key)
