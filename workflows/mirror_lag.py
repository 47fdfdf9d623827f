"""Tell how far the mirrors are behind: when the event occurred that has waited longest to be told; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, Protocol

_REPLAYED: Final = "x-saga-replayed"  # choreography.headers.REPLAYED: a replayed event is old, and yet in time
_MOST: Final = 1000  # orders that are looked at, the longest-waiting first


class Waiting(Protocol):
    """An event in wire form, and what it came with."""

    @property
    def event(self) -> Mapping[str, Any]: ...
    @property
    def headers(self) -> Mapping[str, Any]: ...


def oldest(waiting: Iterable[Waiting]) -> datetime | None:
    """When the oldest of these occurred, without those that were replayed; None if there is none."""
    times = [_time(each.event) for each in islice(waiting, _MOST) if _REPLAYED not in each.headers]
    return min((time for time in times if time is not None), default=None)


def _time(event: Mapping[str, Any]) -> datetime | None:
    try:
        time = datetime.fromisoformat(event["occurredAt"])
        return time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None  # a stranger's event, which no mirror needs a time of
