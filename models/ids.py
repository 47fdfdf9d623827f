"""Mint time-ordered ids: UUID version 7 as RFC 9562 defines it."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

_COUNTER_BITS: Final = 42
_TAIL_BITS: Final = 32
_LARGEST_STEP_BACK: Final = 10_000  # ms


class Uuid7Mint:
    """Mints UUIDv7s that only ever grow, as long as the clock isn't set back by more than 10 s.

    RFC 9562, section 6.2, method 1: the 42 bits behind the timestamp are a counter within a millisecond. The counter
    starts at a random number whose highest bit is clear. The last 32 bits are random.
    """

    def __init__(self) -> None:
        self._last_ms = -1
        self._counter = 0

    def __call__(self, now: datetime) -> UUID:
        """An id with the timestamp `now`, or just after the last id's if the clock stood still or went back."""
        ms = int(now.timestamp() * 1000)
        if self._last_ms - _LARGEST_STEP_BACK < ms <= self._last_ms:
            self._counter += 1
            if self._counter >> _COUNTER_BITS:
                self._restart(self._last_ms + 1)
        else:
            # After a larger step back, trust the new time: an id must tell when it was minted.
            self._restart(ms)
        return self._layout()

    def _restart(self, ms: int) -> None:
        self._last_ms = ms
        self._counter = secrets.randbits(_COUNTER_BITS - 1)

    def _layout(self) -> UUID:
        bits = (self._last_ms & 0xFFFF_FFFF_FFFF) << 80
        bits |= 0x7 << 76
        bits |= (self._counter >> 30) << 64
        bits |= 0b10 << 62
        bits |= (self._counter & 0x3FFF_FFFF) << _TAIL_BITS
        bits |= secrets.randbits(_TAIL_BITS)
        return UUID(int=bits)


uuid7: Final = Uuid7Mint()


def minted_at(uuid: UUID) -> datetime | None:
    """When a UUIDv7 was minted, to the millisecond; None for any other version."""
    if uuid.version != 7:
        return None
    try:
        return datetime.fromtimestamp((uuid.int >> 80) / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None  # 48 bits can hold later times than datetime can


def marked(uuid: UUID, mark: bool) -> UUID:
    """The id with its last bit set to `mark`; in a UUIDv7 that bit is random otherwise."""
    return UUID(int=uuid.int & ~1 | mark)


def is_marked(uuid: UUID) -> bool:
    """Whether the last bit of a UUIDv7 is set. In an id that somebody else minted, that bit means nothing."""
    return uuid.version == 7 and bool(uuid.int & 1)
