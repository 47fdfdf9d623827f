"""Commands that an operator runs."""

from __future__ import annotations

import subprocess
import sys

from tests.support.world import World


def redrive(world: World) -> subprocess.Popen[bytes]:
    """Begin to send all dead letters back."""
    command = [sys.executable, "-m", "cli", "dead-letters", "redrive", "--all"]
    return subprocess.Popen(command, env=world.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def replay(world: World, *services: str) -> None:
    """Publish all that these services have logged once more."""
    env = {
        **world.env,
        "SAGA_ORDER_SERVICE_URL": f"http://127.0.0.1:{world.ports['order']}",
        "SAGA_PAYMENT_SERVICE_URL": f"http://127.0.0.1:{world.ports['payment']}",
    }
    for service in services:
        command = [sys.executable, "-m", "cli", "events", "replay", "--yes", "--service", service]
        subprocess.run(command, env=env, check=True, timeout=60)
