"""Kill the process at a named point if a test has armed it; otherwise do nothing."""

from __future__ import annotations

import os
import signal

_armed: dict[str, int] = {}


def arm(points: str) -> None:
    """Have this process killed (-9) when it passes a point for the nth time: `ledger.committed:3,relay.published:1`."""
    for each in filter(None, points.replace(" ", "").split(",")):
        name, _, passage = each.partition(":")
        _armed[name] = int(passage or 1)


def crash_point(name: str) -> None:
    """Kill this process if the point is armed and has been passed often enough."""
    if _armed and name in _armed:
        _armed[name] -= 1
        if _armed[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
