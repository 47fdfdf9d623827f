"""A stack opens nothing to the network in its first five minutes, and leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from embedded import state
from tests.support.ports import OFFSET
from tests.support.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

SECONDS = 300.0  # RabbitMQ looks for its name server once a minute
LISTENS = "0A"  # proc(5)


def test_nothing_listens_beyond_loopback_and_nothing_is_left_in_the_end(tmp_path: Path) -> None:
    """The stack runs in a network of its own, and a port that is open for a moment only is seen, too."""
    data = tmp_path / "data"
    saga = Path(sys.executable).parent / "saga"
    up = f'ip link set lo up && exec "{saga}" up --data "{data}" --port-offset {OFFSET + 300}'
    stack = subprocess.Popen(["unshare", "--net", "sh", "-c", up], stdout=subprocess.DEVNULL)
    try:
        network: str = until(lambda: own_network(stack.pid), what="it has a network of its own")
        until(lambda: bool((state.read(data) or {}).get("ready")), within=120, what="the stack is ready")
        assert len(listening(stack.pid)) >= 10
        begun = time.monotonic()
        elsewhere: set[tuple[IPv4Address | IPv6Address, int]] = set()

        def time_is_up() -> bool:
            elsewhere.update(each for each in listening(stack.pid) if not each[0].is_loopback)
            return time.monotonic() - begun > SECONDS

        until(time_is_up, within=SECONDS + 60)
        assert elsewhere == set()
        assert stack.poll() is None
        stack.send_signal(signal.SIGTERM)
        assert stack.wait(timeout=60) == 0
        assert living_in(network) == []
    finally:
        stack.kill()
        stack.wait()


def own_network(pid: int) -> str | None:
    network = Path(f"/proc/{pid}/ns/net").readlink().name
    return network if network != Path("/proc/self/ns/net").readlink().name else None


def listening(pid: int) -> set[tuple[IPv4Address | IPv6Address, int]]:
    """Every address with a listener in the network of this process."""
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()]
    rows = [line.split() for line in lines]
    return {_place(row[1]) for row in rows if row[3] == LISTENS}


def _place(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """Read an address as the kernel writes it, in words of the machine's byte order."""
    address, port = text.split(":")
    words = [bytes.fromhex(address[n : n + 8])[::-1] for n in range(0, len(address), 8)]
    return ip_address(b"".join(words)), int(port, 16)


def living_in(network: str) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns" / "net").readlink().name == network:
                found.append(int(process.name))
        except OSError:
            continue  # it has ended
    return found
