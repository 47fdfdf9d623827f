"""Ports that no other test and no other program uses."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from typing import Final

# Test files that run side by side have servers of their own. All ports stay below those that the system gives to
# outgoing connections, and no part of one stack comes to lie on another part of the next.
_SIDE: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
OFFSET: Final = int(os.environ.get("SAGA_TEST_PORT_OFFSET", "5000")) + 500 * _SIDE
_given: set[int] = set()  # ports, by us


def free_port() -> int:
    """A port that stays free for its process, also while the process is killed and started again."""
    while True:
        # Below the ports of outgoing connections, and no part of a stack's, at the offsets of the tests.
        port = 23_000 + 3_500 * (_SIDE % 2) + secrets.randbelow(3_500)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
