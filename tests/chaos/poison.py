"""Send messages that nobody can use into every queue that is read: only these may become dead letters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from typing import Final
from uuid import uuid4

import pamqp.exceptions

from choreography.dead_letters import SERVICES, DeadLetterRecord
from choreography.topology import DEAD_LETTER_EXCHANGE, MIRROR_QUEUE, Topology, retry_queue
from tests.support import raw_amqp
from tests.support.raw_amqp import CORRELATION_ID, DELIVERY_MODE, HEADERS, TIMESTAMP, RawMessage, short, table

KEYS: Final = (
    *("order.create.requested", "order.cancel.requested", "order.created", "order.cancelled", "order.paid"),
    *("payment.approved", "payment.refunded"),
)
_SENT_WITHIN: Final = 120.0  # seconds
_GIVES_UP_ON_OURS: Final = (
    "MALFORMED",
    "REDELIVERED",
)  # none of our messages may be set aside for these


@dataclass(frozen=True, kw_only=True)
class Way:
    """A place to send a message to, and the services among whose dead letters it must end."""

    exchange: str
    routing_key: str
    services: Sequence[str]


def ways(topology: Topology) -> Iterator[tuple[str, Way]]:
    """All ways to every reader: through its bindings, into its queue, out of a retry queue, among its dead letters.

    The ways have the same names if only late events reach the mirrors. Some then lead to fewer services, or to none.
    """
    bindings = [
        (exchange, pattern, queue.name)
        for queue in replace(topology, only_late=False).queues
        for exchange, pattern in queue.bindings
        if exchange != DEAD_LETTER_EXCHANGE
    ]
    deaf = {MIRROR_QUEUE} if topology.only_late else set()
    for exchange in dict.fromkeys(exchange for exchange, _, _ in bindings):
        for key in KEYS:
            found = [name for at, pattern, name in bindings if at == exchange and _matches(key, pattern)]
            if found:
                services = [name for name in found if name not in deaf]
                yield f"by {key}", Way(exchange=exchange, routing_key=key, services=services)
    for service in SERVICES:
        yield f"into {service}", Way(exchange="", routing_key=service, services=[service])
        letters = Way(exchange=DEAD_LETTER_EXCHANGE, routing_key=service, services=[service])
        yield f"among the dead letters of {service}", letters
    for queue in topology.queues:
        for service in SERVICES:
            if queue.name == retry_queue(service, topology.retry_delays[0]):
                yield f"out of {queue.name}", Way(exchange="", routing_key=queue.name, services=[service])


def _matches(key: str, pattern: str) -> bool:
    return key.count(".") == pattern.count(".") and fnmatchcase(key, pattern)


@dataclass(frozen=True, kw_only=True)
class Bad:
    """What is wrong with a message. `body` makes its body from a mark that no other message has."""

    body: Callable[[str], str | bytes]
    properties: Sequence[tuple[int, bytes]] = ()


def _cancellation(mark: str) -> str:
    return (
        f'{{"eventType":"OrderCancelRequested","eventId":"{mark}","occurredAt":"2026-02-15T01:42:19.000Z",'
        f'"correlationId":"{mark}","payload":{{"orderId":"{mark}"}}}}'
    )


_FOREIGN: Final = table(
    (b"x-saga-attempt", b"S\0\0\0\4many"),
    (b"x-saga-first-failed-at", b"T" + (1795853786).to_bytes(8, "big")),
    (b"x-saga-error", b"F" + table((b"a", b"V"))),
    (b"x-delivery-count", b"l" + (10**9).to_bytes(8, "big")),
    (b"x-death", b"t\1"),
)

BAD: Final[Mapping[str, Bad]] = {
    # The driver can't decode these properties. The body would be understood.
    "a timestamp in microseconds": Bad(
        body=_cancellation, properties=((TIMESTAMP, (1795853786000000).to_bytes(8, "big")),)
    ),
    "a correlation id that is no text": Bad(body=_cancellation, properties=((CORRELATION_ID, short(b"\xff")),)),
    "a header whose name is no text": Bad(body=_cancellation, properties=((HEADERS, table((b"\xff", b"t\1"))),)),
    # The driver can decode these.
    "foreign headers": Bad(body=lambda mark: f"{{{mark}", properties=((HEADERS, _FOREIGN),)),
    "bytes that are no text": Bad(body=lambda mark: b"\xff\xfe" + mark.encode()),
    "half a message": Bad(body=lambda mark: _cancellation(mark)[:-2]),
    "100,000 lists in each other": Bad(body=lambda mark: "[" * 100_000 + f'"{mark}"' + "]" * 100_000),
    "100,000 objects in each other": Bad(
        body=lambda mark: _cancellation(mark)[:-2] + ',"x":' + '{"x":' * 100_000 + "1" + "}" * 100_002
    ),
    "fields of other types": Bad(
        body=lambda mark: f'{{"eventType":7,"eventId":"{mark}","occurredAt":[],"correlationId":{{}},"payload":"none"}}'
    ),
    "an order id that is none": Bad(
        body=lambda mark: _cancellation(mark).replace(f'"orderId":"{mark}"', f'"orderId":"{mark[:-1]}"')
    ),
    "an absurd payment method": Bad(
        body=lambda mark: (
            f'{{"eventType":"CreateOrderRequested","eventId":"{mark}","occurredAt":"2026-02-15T01:42:19.000Z",'
            f'"correlationId":"{mark}","payload":{{"orderId":"{mark}","userId":"{mark}","total":999,'
            f'"paymentMethod":"pm_{"x" * 300_000}"}}}}'
        )
    ),
}


def kinds(topology: Topology) -> Iterator[tuple[str, tuple[Bad, Way]]]:
    """Everything that can be wrong with a message, on every way, by name."""
    for (bad, wrong), (at, way) in product(BAD.items(), ways(topology)):
        yield f"{bad} {at}", (wrong, way)


@dataclass(frozen=True, kw_only=True)
class Dose:
    """A message that was sent, and where it must be found."""

    name: str
    body: bytes
    services: Sequence[str]


class Poison:
    """All poison that was sent to a broker, and what became of it."""

    def __init__(self, amqp_url: str, topology: Topology) -> None:
        self._url = amqp_url
        self._kinds = dict(kinds(topology))
        self.doses: list[Dose] = []

    def send(self, name: str) -> None:
        """Send a message of this kind and have it confirmed, however often the broker is struck meanwhile."""
        bad, way = self._kinds[name]
        body = bad.body(str(uuid4()))
        message = RawMessage(
            exchange=way.exchange,
            routing_key=way.routing_key.encode(),
            body=body if isinstance(body, bytes) else body.encode(),
            properties=raw_amqp.properties((DELIVERY_MODE, b"\2"), *bad.properties),
        )
        self.doses.append(Dose(name=name, body=message.body, services=way.services))
        until = time.monotonic() + _SENT_WITHIN
        while True:
            try:
                return raw_amqp.publish(self._url, [message])
            except (OSError, pamqp.exceptions.PAMQPException) as error:
                assert time.monotonic() < until, f"{name} could not be sent: {error!r}"
            time.sleep(0.5)

    def holds(self, letter: DeadLetterRecord) -> bool:
        """Whether a dead letter is poison, and none of our own messages."""
        return any(letter.body == dose.body for dose in self.doses)

    def unaccounted(self, letters: Iterable[DeadLetterRecord]) -> Iterator[str]:
        """Find poison that is missing among the dead letters, and messages of ours that are there because of it."""
        letters = list(letters)
        found = {(letter.queue, letter.body) for letter in letters}
        for dose in self.doses:
            for service in dose.services:
                if (service, dose.body) not in found:
                    yield f"{dose.name} is not among the dead letters of {service}"
        wanted = {(service, dose.body) for dose in self.doses for service in dose.services}
        for letter in letters:
            if self.holds(letter):
                if (letter.queue, letter.body) not in wanted:
                    yield f"something that was sent elsewhere is a dead letter of {letter.queue}: {letter.error}"
            elif letter.reason in _GIVES_UP_ON_OURS:
                yield f"a message of ours is a dead letter of {letter.queue}: {letter.reason}, {letter.error}"
