"""The system under chaos: three instances of every process, and proxies on their ways to the servers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from tests.chaos.proxy import Proxy
from tests.temporal import TemporalServer
from tests.world import Servers, World

PROCESSES: Final = ("order", "payment", "gateway", "worker")
INSTANCES: Final = tuple(f"{name}{number}" for number in ("", 2, 3) for name in PROCESSES)
GATEWAYS: Final = tuple(name for name in INSTANCES if name.startswith("gateway"))
SERVERS: Final = ("rabbitmq", "postgres", "temporal")
WAYS: Final = ("to the broker", "to the orders", "to the payments", "to Temporal")

# As patient as is needed for outages of seconds, and no more.
SETTINGS: Final = {
    "SAGA_RETRY_DELAYS": "0.2,0.5,1,2,4",
    "SAGA_PROVIDER_LATENCY_MS": "300",
    "SAGA_PROVIDER_TIMEOUT": "2",
    "SAGA_PAYMENT_TIMEOUT": "40",
    "SAGA_COMPENSATION_TIMEOUT": "5",
    "SAGA_RECONCILE_INTERVAL": "5",
}


class System:
    """Everything that can be struck, by name."""

    def __init__(self, world: World, temporal: TemporalServer) -> None:
        self.world = world
        self.temporal = temporal
        self.ways = {
            "to the broker": Proxy(urlsplit(world.amqp_url).port or 0),
            "to the orders": Proxy(world.servers.postgres_port),
            "to the payments": Proxy(world.servers.postgres_port),
            "to Temporal": Proxy(int(temporal.address.rpartition(":")[2])),
        }
        world.env |= SETTINGS | {
            "SAGA_AMQP_URL": self.ways["to the broker"].leading_to(world.amqp_url),
            "SAGA_ORDERS_DATABASE_URL": self.ways["to the orders"].leading_to(world.dsn("orders")),
            "SAGA_PAYMENTS_DATABASE_URL": self.ways["to the payments"].leading_to(world.dsn("payments")),
            "SAGA_TEMPORAL_ADDRESS": f"127.0.0.1:{self.ways['to Temporal'].port}",
        }

    def start(self) -> None:
        """Start every instance, and return when all are ready."""
        self.world.start(*PROCESSES)
        self.world.start(*INSTANCES[len(PROCESSES) :])

    def close(self) -> None:
        for way in self.ways.values():
            way.close()

    def died_by_themselves(self, struck: Callable[[str], bool]) -> list[str]:
        """The processes that have ended though nobody struck them."""
        processes = self.world.processes
        return [name for name in INSTANCES if not struck(name) and processes[name].poll() is not None]

    # strikes; each returns what undoes it

    def kill(self, name: str) -> Callable[[], None]:
        """Kill -9."""
        if name == "temporal":
            self.temporal.kill()
            return self.temporal.start
        if name in SERVERS:
            self.world.servers.kill(name)
            return lambda: None  # its supervisor starts it again
        self.world.kill(name)
        return lambda: self.world.start(name, wait=False)

    def restart(self, name: str) -> Callable[[], None]:
        """Stop a process as an operator would."""
        self.world.processes[name].send_signal(signal.SIGTERM)

        def undo() -> None:
            self.world.processes[name].wait(timeout=30)
            self.world.start(name, wait=False)

        return undo

    def freeze(self, name: str) -> Callable[[], None]:
        """Stop a process in its tracks, with all that it has started."""
        frozen = self._family(name)
        for process in frozen:
            _signal(process, signal.SIGSTOP)

        def undo() -> None:
            for process in frozen:
                _signal(process, signal.SIGCONT)

        return undo

    def cut(self, way: str) -> Callable[[], None]:
        """Reset all connections, and refuse new ones."""
        self.ways[way].cut()
        return self.ways[way].heal

    def reset(self, way: str) -> Callable[[], None]:
        """Reset all connections; new ones are welcome."""
        self.ways[way].reset()
        return lambda: None

    def slow_down(self, way: str) -> Callable[[], None]:
        """Hold back all that passes."""
        self.ways[way].delay(0.2)
        return self.ways[way].heal

    def _family(self, name: str) -> list[psutil.Process]:
        if name == "temporal":
            pid = self.temporal.pid
        elif name in SERVERS:
            pid = self.world.servers.pids()[name]
        else:
            pid = self.world.processes[name].pid
        if pid is None:
            return []
        try:
            process = psutil.Process(pid)
            return [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        os.kill(process.pid, number) if process.is_running() else None


@contextmanager
def running(servers: Servers, folder: Path) -> Iterator[System]:
    """A system on databases and a virtual host of its own, started; nothing of it is left afterwards."""
    world, temporal = World(servers, folder), TemporalServer(folder / "temporal")
    system = System(world, temporal)
    try:
        temporal.start()
        system.start()
        yield system
    finally:
        world.close()
        system.close()
        temporal.kill()
