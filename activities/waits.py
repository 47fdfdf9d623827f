"""Measure how long orchestrated orders have waited when a service turns to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from activities.book import Submission
from models.ids import minted_at
from models.saga import Coordinator, CreateOrderRequested, OrderCreated

_WINDOW: Final = 6.0  # seconds


class Waits:
    """The shortest wait of the latest seconds: one that is repeated late makes nobody wait.

    An order's id tells when the gateway accepted it. A service that turns to nothing tells no wait.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        timer: Callable[[], float] = monotonic,
    ) -> None:
        self._clock = clock
        self._timer = timer
        self._shortest: deque[tuple[int, float]] = deque()  # of each second of the timer its number and the wait

    def note(self, submission: Submission) -> None:
        """Note a message that the service turns to, if it is the first of an orchestrated order."""
        message = submission.message
        if submission.attempt not in (None, 1):
            return  # the service has turned to it before
        if submission.coordinator is not Coordinator.ORCHESTRATION:
            return  # it waits in the service's queue, whose length tells more
        if not isinstance(message, CreateOrderRequested | OrderCreated):
            return
        accepted = minted_at(message.order_id)
        if accepted is None:
            return  # started by somebody else
        number, waited = int(self._timer()), max(0.0, (self._clock() - accepted).total_seconds())
        if self._shortest and self._shortest[-1][0] == number:
            waited = min(waited, self._shortest.pop()[1])
        self._shortest.append((number, waited))
        self._forget()

    @property
    def seconds(self) -> float | None:
        """The wait of the latest orders; None if there were none."""
        self._forget()
        return min((waited for _, waited in self._shortest), default=None)

    def _forget(self) -> None:
        while self._shortest and self._timer() - self._shortest[0][0] > _WINDOW:
            self._shortest.popleft()
