"""Recognise a queue for which RabbitMQ, though connected, confirms nothing: it is full, or the queue has no leader."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog

from choreography.log_throttle import LogThrottle
from choreography.outgoing_message import NotTaken, OutgoingMessage
from choreography.topology import queues_taking

log = structlog.get_logger()

_LONG: Final = 8.0  # seconds without a confirmation, though something was sent: a broker that is busy takes less
_FORGOTTEN: Final = 60.0  # seconds after the last try; whoever is not asked to publish any more can't tell

_Place: TypeAlias = tuple[str, str]  # exchange and routing key


@dataclass(kw_only=True, slots=True)
class _Silence:
    """From when the first message was sent that is not confirmed, until when the last was waited for."""

    since: float
    until: float


class Unconfirmed:
    """The places that one connection has published to and that confirm nothing."""

    def __init__(self) -> None:
        self._silent: dict[_Place, _Silence] = {}
        self._throttle = LogThrottle()

    def note(self, messages: Sequence[OutgoingMessage], errors: Sequence[Exception | None], *, sent: float) -> None:
        """Note what became of messages that were sent at this time of the loop's clock."""
        now = asyncio.get_running_loop().time()
        places: dict[_Place, list[Exception | None]] = {}
        for message, error in zip(messages, errors, strict=True):
            places.setdefault((message.exchange, message.routing_key), []).append(error)
        for place, outcomes in places.items():
            if all(isinstance(error, NotTaken) for error in outcomes):
                self._silent.setdefault(place, _Silence(since=sent, until=now)).until = now
            else:
                self._silent.pop(place, None)
        if (told := self.standing) and self._throttle(told):
            log.error("queue_does_nothing", why=told)

    @property
    def standing(self) -> str | None:
        """A sentence for an operator; None if nothing was left unconfirmed for long."""
        now = asyncio.get_running_loop().time()
        queues = {
            queue
            for place, silence in self._silent.items()
            if silence.until - silence.since >= _LONG and now - silence.until < _FORGOTTEN
            for queue in queues_taking(*place)
        }
        return does_nothing_for(*sorted(queues)) if queues else None


def does_nothing_for(*queues: str) -> str:
    """What to say of queues of which at least one is neither written nor read."""
    return (
        f"RabbitMQ does nothing for queue {' or '.join(map(repr, queues))}. Its disk or memory may be full: "
        "`rabbitmq-diagnostics alarms` tells. Else the queue may have no leader: `rabbitmq-queues quorum_status` "
        "tells, and docs/restoring.md says what to do"
    )
