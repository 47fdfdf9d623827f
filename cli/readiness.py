"""Tell which queries a ready gateway can't answer. It is ready for commands also without the services."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import closing
from typing import Final

from embedded.ports import LOOPBACK
from embedded.program import PROBE_TIMEOUT

_ASKED: Final = ("orders", "payments")  # the checks on which queries depend
_SETTLES_WITHIN: Final = 5.0  # seconds after everything is ready
_PAUSE: Final = 0.1


def unreadable(port: int) -> list[str]:
    """The reasons why the gateway on this port can't answer queries, one a service; none if it can, or is away."""
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_TIMEOUT)) as connection:
        try:
            connection.request("GET", "/readyz")
            checks = json.loads(connection.getresponse().read())["checks"]
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            return []
    return [f"{name}: {checks[name]}" for name in _ASKED if checks.get(name, "ok") != "ok"]


def still_unreadable(port: int) -> list[str]:
    """The reasons for a gateway that has just become ready. Those that end within seconds are left out."""
    deadline = time.monotonic() + _SETTLES_WITHIN
    while (found := unreadable(port)) and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    return found
