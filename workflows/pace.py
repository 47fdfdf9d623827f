"""Decide how many calls to Temporal may be under way at once: fewer as soon as calls become slow."""

from __future__ import annotations

from collections import deque
from math import sqrt
from typing import Final

import structlog

log = structlog.get_logger()

_TOLERANCE: Final = 2.0  # a call may take up to this many times as long as the quickest one
_SMOOTHING: Final = 0.1  # the weight of the newest call in the mean duration
_GENTLEST: Final = 0.1  # some calls one after the other, and then a rest that is nine times as long …
_BURST: Final = 10  # … so many calls at most …
_LONGEST_REST: Final = 5.0  # … and so many seconds at most
_SAID_EVERY: Final = 15.0  # seconds
_WINDOW: Final = 60.0  # seconds for which one quickest duration is kept
_WINDOWS: Final = 10  # the quickest of the last ten windows counts, so that a burst of other work is outlasted


class Pace:
    """The number of calls at once, between a tenth and `most`, steered by the gradient of their durations.

    One server does the work of all sagas, and its store has one writer. Too many calls at once make all calls slower,
    also those of others. This shows when a call takes much longer than the quickest one, whether our own calls, other
    calls or a busy machine are the cause. The limit then shrinks in proportion. While calls stay quick, it grows. If it
    is below one, a rest follows every few calls. If one followed each call, the calls could fall into step with whoever
    asks the server for something now and then: each would meet that, and an idle server look busy for good.

    The algorithm is Netflix's gradient limit (concurrency-limits), which follows TCP Vegas.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._limit = 1.0
        self._mean: float | None = None
        self._quickest: deque[tuple[float, float]] = deque(maxlen=_WINDOWS)  # when the window began, its quickest mean
        self._burst: list[float] = []  # what the calls since the last rest took

    @property
    def limit(self) -> float:
        """How many calls may be under way at once. Below one, it is the share of the time in which there is a call."""
        return self._limit

    @property
    def at_once(self) -> int:
        """The limit as a whole number, at least one, so that calls never stop."""
        return max(1, int(self._limit))

    @property
    def mean(self) -> float:
        """The seconds that a call takes at present, on average."""
        return self._mean or 0.0

    @property
    def quickest(self) -> float:
        """The seconds that a call took on average when calls were quickest."""
        return min((seconds for _, seconds in self._quickest), default=0.0)

    def took(self, seconds: float, *, under_way: int, now: float) -> float:
        """Adapt the limit to a call that ended at `now`, with `under_way` at once. Returns the seconds to rest."""
        self._adapt(seconds, under_way=under_way, now=now)
        if self._limit >= 1:
            self._burst.clear()
            return 0.0
        self._burst.append(seconds)
        owed = sum(self._burst) * (1 / self._limit - 1)
        if len(self._burst) < _BURST and owed < _LONGEST_REST:
            return 0.0
        self._burst.clear()
        return min(_LONGEST_REST, owed)

    def _adapt(self, seconds: float, *, under_way: int, now: float) -> None:
        self._mean = seconds if self._mean is None else self._mean + _SMOOTHING * (seconds - self._mean)
        self._note_quickest(self._mean, now)
        gradient = min(1.0, _TOLERANCE * self.quickest / self._mean)
        # A limit that isn't reached need not grow.
        room = sqrt(self._limit) / 4 if gradient == 1.0 and under_way >= self.at_once else 0.0
        # Each call moves the limit by its share of a round, which has as many calls as the limit.
        change = (self._limit * (gradient - 1.0) + room) / max(1.0, self._limit)
        self._limit = min(float(self._most), max(_GENTLEST, self._limit + change))

    def _note_quickest(self, mean: float, now: float) -> None:
        if not self._quickest or now >= self._quickest[-1][0] + _WINDOW:
            self._quickest.append((now, mean))
        else:
            began, quickest = self._quickest[-1]
            self._quickest[-1] = (began, min(quickest, mean))


class PaceLog:
    """Logs the pace every few seconds while there are calls."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._calls = 0

    def note(self, pace: Pace, *, waiting: int, now: float) -> None:
        """Count a call that ended at `now`, while `waiting` orders were left to be told."""
        if self._since is None:
            self._since = now
        self._calls += 1
        if now - self._since >= _SAID_EVERY:
            log.info(
                "mirror_pace",
                at_once=round(pace.limit, 1),
                call_ms=round(1000 * pace.mean, 1),
                quickest_call_ms=round(1000 * pace.quickest, 1),
                calls_per_second=round(self._calls / (now - self._since), 1),
                orders_waiting=waiting,
            )
            self._since, self._calls = None, 0
