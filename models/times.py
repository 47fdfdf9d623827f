"""Write instants the way they travel."""

from __future__ import annotations

from datetime import UTC, datetime


def wire_time(instant: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`: 2026-02-15T01:42:19.000Z."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
