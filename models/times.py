"""Write times as the wire has them, and check durations that come from outside; pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_SHORTEST: Final = 0.001  # seconds
_LONGEST: Final = 366 * 86_400.0


def wire_time(instant: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`: 2026-02-15T01:42:19.000Z."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def check_seconds(name: str, value: float, *, least: float = _SHORTEST) -> None:
    """Raise ValueError unless it is a number of seconds that a timer can take: `least` to a year."""
    if not least <= value <= _LONGEST:  # which no NaN is, either
        raise ValueError(f"{name} is {value!r}; it must be {least:g} … {_LONGEST:.0f} s")
