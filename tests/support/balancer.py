"""HAProxy before three instances of each process of a test, as deploy/haproxy configures it."""

from __future__ import annotations

import csv
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.ports import free_port
from tests.support.waiting import until
from tests.support.world import World

CONFIGURATION: Final = Path(__file__).parents[2] / "deploy" / "haproxy" / "haproxy.cfg"
BACKENDS: Final = {"order": "orders", "payment": "payments", "worker": "workers", "gateway": "gateways"}
# By process, in the order in which docs/operations/several-instances.md replaces them.
INSTANCES: Final = {process: tuple(f"{process}{number}" for number in (1, 2, 3)) for process in BACKENDS}
ALL: Final = tuple(name for names in INSTANCES.values() for name in names)


class Balancer:
    """A running HAProxy. In the world that it stands before, the processes' own names lead to it."""

    def __init__(self, world: World, control: Path) -> None:
        self._control = control
        for process, names in INSTANCES.items():
            world.ports[process] = free_port()
            world.ports |= {name: free_port() for name in names}
        places = {f"SAGA_BALANCER_{BACKENDS[each].upper()}": world.ports[each] for each in BACKENDS}
        places |= {f"SAGA_{name[:-1].upper()}_{name[-1]}": world.ports[name] for name in ALL}
        self.env: Final = {
            **{name: f"127.0.0.1:{port}" for name, port in places.items()},
            "SAGA_BALANCER_SOCKET": str(control),
        }

    def tell(self, command: str) -> str:
        """Give a command as an operator does with `socat`; what HAProxy answers."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self._control))
            control.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: control.recv(65536), b"")).decode()

    def served(self) -> dict[str, int]:
        """The number of requests that each instance has been given."""
        return {row["svname"]: int(row["hrsp_2xx"] or 0) for row in self._rows() if row["svname"] in ALL}

    def drain(self, backend: str, name: str) -> None:
        """Send this instance nothing more, and wait until all that it was given is answered."""
        self.tell(f"set server {backend}/{name} state drain")
        until(lambda: self._sessions()[name] == 0, what=f"{name} has answered everything")

    def _sessions(self) -> dict[str, int]:
        """The number of requests that each instance has under way."""
        return {row["svname"]: int(row["scur"]) for row in self._rows() if row["svname"] in ALL}

    def wait_up(self, *names: str) -> None:
        """Wait until requests are sent to these instances, or to all."""

        def up() -> bool:
            states = {row["svname"]: row["status"] for row in self._rows()}
            assert all(states[name].startswith("UP") for name in names or ALL), states
            return True

        until(up, what="the balancer sends requests to all instances")

    def _rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(self.tell("show stat").removeprefix("# ").splitlines()))


@contextmanager
def balancer(world: World, folder: Path) -> Iterator[Balancer]:
    """Start HAProxy on the real configuration; the instances of the world may be started then."""
    program = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program is not None, "haproxy is missing: run `make balancer`"
    balancer = Balancer(world, folder / "balancer")
    with (folder / "haproxy.log").open("wb") as log:
        command = [program, "-f", str(CONFIGURATION), "-db"]
        process = subprocess.Popen(command, env={**os.environ, **balancer.env}, stdout=log, stderr=log)
    try:
        until(lambda: (folder / "balancer").exists() or process.poll() is not None, what="HAProxy runs")
        assert process.poll() is None, (folder / "haproxy.log").read_text()
        yield balancer
    finally:
        process.kill()
        process.wait()
