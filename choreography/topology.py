"""Define exchanges, queues, bindings and dead-letter routes as frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, assert_never

from models.message_types import (
    ORDERS_EXCHANGE,
    PAYMENTS_EXCHANGE,
    ROUTES,
    CommandType,
    EventType,
    MessageType,
    Route,
)

DEAD_LETTER_EXCHANGE: Final = "dlx.exchange"
ORDER_QUEUE: Final = "order-service"
PAYMENT_QUEUE: Final = "payment-service"
MIRROR_QUEUE: Final = "saga-mirror"
FEED_QUEUES: Final = "gateway-feed"  # each gateway names its own after that

# Seconds for which a message waits after its first, second, … failure. If it fails once more, it is a dead letter.
DEFAULT_RETRY_DELAYS: Final = (0.5, 2.0, 8.0, 30.0, 120.0)
# A delay is longer or shorter by up to this share, so that messages that failed together don't return together.
JITTER: Final = 0.2


def _queues_of_reader(message: MessageType) -> tuple[str, ...]:
    """The queues of our service and of the original service that react to this message; none if no service reacts.

    The mirrors' queue does not count. It takes every event, so RabbitMQ routes an event there that reaches no service.
    """
    match message:
        case CommandType.CREATE_ORDER_REQUESTED | CommandType.ORDER_CANCEL_REQUESTED:
            return (ORDER_QUEUE,)
        case EventType.PAYMENT_APPROVED | EventType.PAYMENT_DECLINED | EventType.PAYMENT_FAILED:
            return ORDER_QUEUE, "order.payment-result.queue"
        case EventType.ORDER_CREATED:
            return PAYMENT_QUEUE, "payment.order-created.queue"
        case EventType.ORDER_CANCELLED:
            return PAYMENT_QUEUE, "payment.order-cancelled.queue"
        case EventType.ORDER_PAID | EventType.ORDER_FAILED | EventType.PAYMENT_CANCELLED | EventType.PAYMENT_REFUNDED:
            return ()
        case _ as never:
            assert_never(never)


def _routes_into(queue: str) -> tuple[Route, ...]:
    return tuple(route for message, route in ROUTES.items() if queue in _queues_of_reader(message))


# `order.*` matches every event of an order and no command, because a command's routing key has one word more.
EVERY_EVENT: Final = (Route(ORDERS_EXCHANGE, "order.*"), Route(PAYMENTS_EXCHANGE, "payment.*"))
# With SAGA_MIRROR_AFTER, an event that a mirror needs has one of these routes beside its own.
LATE_ORDER: Final = Route(ORDERS_EXCHANGE, "late.order")
LATE_EVENTS: Final = (LATE_ORDER, Route(PAYMENTS_EXCHANGE, "late.payment"))
# The routes into each inbox.
BINDINGS: Final[Mapping[str, tuple[Route, ...]]] = {
    ORDER_QUEUE: _routes_into(ORDER_QUEUE),
    PAYMENT_QUEUE: _routes_into(PAYMENT_QUEUE),
    MIRROR_QUEUE: EVERY_EVENT,
}
INBOXES: Final = tuple(BINDINGS)
SHARED_EXCHANGES: Final = (ORDERS_EXCHANGE, PAYMENTS_EXCHANGE, DEAD_LETTER_EXCHANGE)
# Where whoever reads an inbox publishes its events.
_EVENTS_OF: Final = {ORDER_QUEUE: ORDERS_EXCHANGE, PAYMENT_QUEUE: PAYMENTS_EXCHANGE}
_READERS: Final = {ROUTES[event].routing_key: _queues_of_reader(event) for event in EventType}


def readers(routing_key: str) -> tuple[str, ...]:
    """The queues that read this event: one of them must exist. None if no service waits for the event."""
    return _READERS.get(routing_key, ())


def own_exchange(inbox: str) -> str:
    """The exchange that leads to an inbox's retry queues, and back into it; it belongs to whoever reads the inbox.

    Not RabbitMQ's default exchange: whoever may publish to that may publish into every queue.
    """
    return f"{inbox}.exchange"


def queues_taking(exchange: str, routing_key: str) -> tuple[str, ...]:
    """The queues of ours that take what is published there; there may be others."""
    if exchange in {"", *map(own_exchange, INBOXES)}:
        return (routing_key,)
    if exchange == DEAD_LETTER_EXCHANGE:
        return (dead_letter_queue(routing_key),)
    if (exchange, routing_key) in LATE_EVENTS:
        return (MIRROR_QUEUE,)
    return tuple(
        queue
        for queue, routes in BINDINGS.items()
        if any(route.exchange == exchange and _matches(route.routing_key, routing_key) for route in routes)
    )


def _matches(pattern: str, routing_key: str) -> bool:
    """Whether a topic exchange would say so, of patterns whose `*` stands for one word."""
    wanted, words = pattern.split("."), routing_key.split(".")
    return len(wanted) == len(words) and all(want in ("*", word) for want, word in zip(wanted, words, strict=True))


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A durable exchange."""

    name: str
    kind: Literal["topic", "direct"] = "topic"


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A quorum queue and the routes into it. One with `earlier` arguments, from a version before, is taken as it is.

    The `unwanted` routes are those that other settings would bind.
    """

    name: str
    bindings: tuple[Route, ...] = ()
    unwanted: tuple[Route, ...] = ()
    arguments: Mapping[str, str | int] = field(default_factory=dict)
    earlier: Mapping[str, str | int] | None = None


@dataclass(frozen=True, kw_only=True)
class Topology:
    """What one process declares at the broker: its own exchanges, and the queues that it `reads` itself.

    `reads` are inboxes, by default all of them. An inbox comes with its bindings, its own exchange, retry queues and
    dead letters. The exchanges of other processes are declared if they are missing. With `only_late`, the mirrors'
    queue gets only the events that are published as late.
    """

    reads: tuple[str, ...] = INBOXES
    retry_delays: tuple[float, ...] = DEFAULT_RETRY_DELAYS
    original_queues: tuple[tuple[str, str], ...] = ()  # as (routing key, queue): others that count as its reader's
    only_late: bool = False

    def readers(self, routing_key: str) -> tuple[str, ...]:
        """As the function of that name, with the queues of original services that have names of their own."""
        known = readers(routing_key)
        return (*known, *(queue for key, queue in self.original_queues if key == routing_key)) if known else ()

    @property
    def own_exchanges(self) -> tuple[Exchange, ...]:
        """Those that nobody else declares, and those that this process publishes its events to."""
        events = tuple(Exchange(name=_EVENTS_OF[inbox]) for inbox in self.reads if inbox in _EVENTS_OF)
        return *events, *(Exchange(name=own_exchange(inbox), kind="direct") for inbox in self.reads)

    @property
    def shared_exchanges(self) -> tuple[Exchange, ...]:
        """Those that this process needs, and others own."""
        own = {exchange.name for exchange in self.own_exchanges}
        return tuple(Exchange(name=name) for name in SHARED_EXCHANGES if name not in own)

    @property
    def queues(self) -> tuple[Queue, ...]:
        return tuple(queue for inbox in self.reads for queue in self._of(inbox))

    def _of(self, inbox: str) -> tuple[Queue, ...]:
        if inbox == MIRROR_QUEUE:
            # With one feed at a time, an order's events reach its mirror in order, and a mirror has one successor.
            single = {"x-single-active-consumer": True}
            # What is left of the late routes after a change of the setting does no harm, and not every installation's
            # rights allow to unbind it.
            bindings, unwanted = (LATE_EVENTS, EVERY_EVENT) if self.only_late else (EVERY_EVENT, ())
            return replace(_inbox(inbox, *bindings, **single), unwanted=unwanted), _dead_letters(inbox)
        return self._of_service(inbox, *BINDINGS[inbox])

    def _of_service(self, name: str, *bindings: Route) -> tuple[Queue, ...]:
        retries = (
            Queue(
                name=retry_queue(name, delay),
                bindings=(Route(own_exchange(name), retry_queue(name, delay)),),
                arguments={
                    "x-dead-letter-exchange": own_exchange(name),
                    "x-dead-letter-routing-key": name,
                    # RabbitMQ expires only the head of a queue. A message without an expiration, which anybody can
                    # publish here, would hold back all later messages for ever.
                    "x-message-ttl": round(1000 * delay * (1 + JITTER)),
                    **_AT_LEAST_ONCE,
                },
            )
            for delay in self.retry_delays
        )
        return _inbox(name, *bindings), *retries, _dead_letters(name)


def _inbox(name: str, *bindings: Route, **arguments: str | int) -> Queue:
    """An inbox has no dead-letter exchange: its reader sets messages aside itself.

    RabbitMQ reads the header `x-death` of what it sends on by itself. A forged one, in a message with an expiration,
    ends that part of RabbitMQ for all queues of the node (3.10).
    """
    own = {"x-delivery-limit": _UNLIMITED, **arguments}
    return Queue(
        name=name,
        bindings=(*bindings, Route(own_exchange(name), name)),
        arguments=own,
        earlier={
            "x-dead-letter-exchange": DEAD_LETTER_EXCHANGE,
            "x-dead-letter-routing-key": name,
            **_AT_LEAST_ONCE,
            **own,
        },
    )


def _dead_letters(name: str) -> Queue:
    return Queue(
        name=dead_letter_queue(name),
        bindings=(Route(DEAD_LETTER_EXCHANGE, name),),
        # Each look at dead letters returns them to the queue. No number of looks may lose one.
        arguments={"x-delivery-limit": _UNLIMITED},
    )


# By default RabbitMQ 4 drops a message after 20 returns. Our own count of attempts must decide, never the broker's.
_UNLIMITED: Final = 1_000_000_000
# An expired message leaves a queue only when its next queue has confirmed it.
_AT_LEAST_ONCE: Final = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}


def retry_queue(service: str, delay: float) -> str:
    """The queue in which a service's messages wait `delay` seconds before they return.

    RabbitMQ refuses to declare an existing queue with other arguments, so new arguments need a new name. Earlier
    versions used `.retry.`, for queues without a time to live, and `.retry-after.`, for queues that led back through
    the default exchange.
    """
    return f"{service}.retry-in.{round(delay * 1000)}ms"


def dead_letter_queue(service: str) -> str:
    """The queue that keeps a service's dead letters."""
    return f"{service}.dead-letters"
