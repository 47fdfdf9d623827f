"""Write times in the form of the wire, and check durations that come from outside; pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_SHORTEST: Final = 0.001  # seconds
_LONGEST: Final = 366 * 86_400.0


def wire_time(instant: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`: 2026-02-15T01:42:19.000Z."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def check_seconds(name: str, value: float, *, least: float = _SHORTEST) -> None:
    """Raise ValueError unless a timer can take this number of seconds: from `least` to a year."""
    if not least <= value <= _LONGEST:  # NaN is refused, too
        raise ValueError(f"{name} is {value!r}; it must be {least:g} … {_LONGEST:.0f} s")
