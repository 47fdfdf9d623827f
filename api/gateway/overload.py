"""Refuse orders early while a new one would wait too long for a service to turn to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import Context
from datetime import UTC, datetime
from time import monotonic
from typing import Final
from uuid import uuid4

import msgspec
import structlog

from api.fields import ASKED_AT
from api.gateway.downstream import Lane, ReadApi, ServiceAway
from api.problems import Problem, unavailable
from models.saga import Coordinator

log = structlog.get_logger()

_FRESH: Final = 1.0  # seconds after which the services are asked again
_KNOWN: Final = 10.0  # seconds for which an answer holds; a service that is silent holds nobody up
_PATIENCE: Final = 2.0  # seconds for an answer
_LATER: Final = 10  # seconds after which a client may try again


class Overload:
    """How long a new order would wait, by what the services tell. They are asked only while orders are placed.

    Nobody is refused because a service is away or stands still: the broker, or Temporal, keeps what is accepted.
    """

    def __init__(self, services: Sequence[ReadApi], *, longest: float) -> None:
        self._services = services
        self._longest = longest  # seconds
        self._waits: dict[Coordinator, float] = {}
        self._asked_at = float("-inf")
        self._answered_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    def check(self, coordinator: Coordinator) -> None:
        """Raises Problem, 503, if a new order would wait too long, as far as is known without waiting here."""
        now = monotonic()
        if self._asking is None and now - self._asked_at > _FRESH:
            self._asked_at = now
            # In a context of its own: neither the log nor a trace shall have this as a part of the request.
            self._asking = asyncio.create_task(self._ask(), context=Context())
        wait = self._waits.get(coordinator, 0.0) if now - self._answered_at < _KNOWN else 0.0
        if wait > self._longest:
            raise overloaded(wait)

    async def _ask(self) -> None:
        try:
            answers = await asyncio.gather(*map(_waits_of, self._services))
            known = [answer for answer in answers if answer is not None]
            before, self._waits = self._waits, {}
            for coordinator in Coordinator:
                self._waits[coordinator] = max((each.get(coordinator) or 0.0 for each in known), default=0.0)
                self._tell(coordinator, before.get(coordinator, 0.0))
            self._answered_at = monotonic()
        finally:
            self._asking = None

    def _tell(self, coordinator: Coordinator, before: float) -> None:
        wait = self._waits[coordinator]
        if (wait > self._longest) != (before > self._longest):
            event = "orders_refused" if wait > self._longest else "orders_taken_again"
            log.warning(event, coordinator=coordinator, wait_seconds=round(wait, 1), longest=self._longest)


async def _waits_of(service: ReadApi) -> dict[Coordinator, float | None] | None:
    try:
        # Its clock may differ from ours, by which the orders' ids tell when they were accepted.
        headers = {ASKED_AT: datetime.now(UTC).isoformat()}
        answer = await service.get(
            "/waits", correlation_id=str(uuid4()), timeout=_PATIENCE, headers=headers, lane=Lane.COMMAND
        )
    except ServiceAway:
        return None
    try:
        return None if answer is None else msgspec.json.decode(answer, type=dict[Coordinator, float | None])
    except msgspec.DecodeError as error:  # something else answers there, or a later version
        log.warning("waits_misunderstood", error=str(error))
        return None


def overloaded(wait: float) -> Problem:
    detail = f"More orders are waiting than can be worked on soon: a new one would wait {wait:.0f} s; try again later"
    return unavailable(detail, retry_after=_LATER)
