"""Named points at which a test may have the process killed; inert unless armed."""

from __future__ import annotations

import os
import signal

_armed: dict[str, int] = {}


def arm(points: str) -> None:
    """Kill this process (-9) at the nth passage of a point: `ledger.committed:3,relay.published:1`."""
    for each in filter(None, points.replace(" ", "").split(",")):
        name, _, passage = each.partition(":")
        _armed[name] = int(passage or 1)


def crash_point(name: str) -> None:
    """Die here if a test says so."""
    if _armed and name in _armed:
        _armed[name] -= 1
        if _armed[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
