"""The system under chaos has three instances of every process, and proxies on their ways to the servers."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import psutil

from choreography.topology import Topology
from tests.chaos.misuse import misuse
from tests.chaos.poison import Poison, kinds
from tests.chaos.proxy import Proxy
from tests.support.freezing import freeze
from tests.support.temporal import TemporalServer
from tests.support.world import Servers, World

PROCESSES: Final = ("order", "payment", "gateway", "worker")
INSTANCES: Final = tuple(f"{name}{number}" for number in ("", 2, 3) for name in PROCESSES)
GATEWAYS: Final = tuple(name for name in INSTANCES if name.startswith("gateway"))
SERVERS: Final = ("rabbitmq", "postgres", "temporal")
LOADED_WITHIN: Final = 15.0  # seconds, on a machine that has much else to do
WAYS: Final = ("to the broker", "to the orders", "to the payments", "to Temporal")

Undo: TypeAlias = Callable[[], object]

# Just patient enough for outages of some seconds.
SETTINGS: Final = {
    "SAGA_RETRY_DELAYS": "0.2,0.5,1,2,4",
    "SAGA_PROVIDER_LATENCY_MS": "300",
    "SAGA_PROVIDER_TIMEOUT": "2",
    "SAGA_PAYMENT_TIMEOUT": "40",
    "SAGA_COMPENSATION_TIMEOUT": "5",
    "SAGA_RECONCILE_INTERVAL": "5",
    "SAGA_INTERNAL_TOKEN": "the-internal-token-of-chaos",  # the verdict looks for it in every log
}
TOPOLOGY: Final = Topology(retry_delays=tuple(map(float, SETTINGS["SAGA_RETRY_DELAYS"].split(","))))
POISONS: Final = tuple(name for name, _ in kinds(TOPOLOGY))


class System:
    """Everything that can be struck, by name. `mirror_after` is SAGA_MIRROR_AFTER, in seconds."""

    def __init__(self, world: World, temporal: TemporalServer, *, mirror_after: float = 0.0) -> None:
        self.world = world
        self.temporal = temporal
        self.mirror_after = mirror_after
        self.poison = Poison(world.amqp_url, replace(TOPOLOGY, only_late=mirror_after > 0))
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
            "SAGA_MIRROR_AFTER": str(mirror_after),
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

    def end_of(self, name: str) -> str:
        """The last that a process has logged."""
        return self.world.log(name)[-1500:]

    # strikes; each returns what undoes it, and answers False as long as that has to be tried again

    def kill(self, name: str) -> Undo:
        """Kill -9."""
        if name == "temporal":
            self.temporal.kill()
            return self.temporal.start
        if name in SERVERS:
            self.world.servers.kill(name)
            return lambda: None  # its supervisor starts it again
        self.world.kill(name)
        return lambda: self.world.launch(name)

    def restart(self, name: str) -> Undo:
        """Stop a process as an operator does. It must end by itself, with exit code 0."""
        process, patience = self.world.processes[name], time.monotonic() + 30
        well = (0, -signal.SIGTERM) if self._is_young(process.pid) else (0,)
        process.send_signal(signal.SIGTERM)

        def undo() -> bool:
            code = process.poll()
            if code is None:
                assert time.monotonic() < patience, f"{name} was told to stop, and did not: {self.end_of(name)}"
                return False
            assert code in well, f"{name} was told to stop, and ended with {code}: {self.end_of(name)}"
            self.world.launch(name)
            return True

        return undo

    @staticmethod
    def _is_young(pid: int) -> bool:
        """Whether the process may still be loading its modules, with nothing to finish."""
        try:
            return time.time() - psutil.Process(pid).create_time() < LOADED_WITHIN
        except psutil.NoSuchProcess:
            return False  # it has ended by itself, which `died_by_themselves` reports

    def freeze(self, name: str) -> Undo:
        """Freeze a process and all its children."""
        pid = self._pid(name)
        return (lambda: None) if pid is None else freeze(pid)

    def cut(self, way: str) -> Undo:
        """Reset all connections, and refuse new ones."""
        self.ways[way].cut()
        return self.ways[way].heal

    def reset(self, way: str) -> Undo:
        """Reset all connections; new ones are welcome."""
        self.ways[way].reset()
        return lambda: None

    def slow_down(self, way: str) -> Undo:
        """Delay all bytes."""
        self.ways[way].delay(0.2)
        return self.ways[way].heal

    def give_poison(self, name: str) -> Undo:
        """Send a message that nobody can use, again and again until the broker confirms it."""
        return _meanwhile(lambda: self.poison.send(name))

    def misuse(self, what: str) -> Undo:
        """Send running workflows arguments that they can't take."""
        return _meanwhile(lambda: misuse(self.temporal.address, what))

    def _pid(self, name: str) -> int | None:
        if name == "temporal":
            return self.temporal.pid
        return self.world.servers.pids()[name] if name in SERVERS else self.world.processes[name].pid


def _meanwhile(work: Callable[[], None]) -> Undo:
    """Begin work during other strikes. The result says whether the work is done, and raises its error."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def done() -> bool:
        if failures:
            raise failures[0]
        return not thread.is_alive()

    return done


@contextmanager
def running(servers: Servers, folder: Path, *, mirror_after: float = 0.0) -> Iterator[System]:
    """A started system on databases and a virtual host of its own, of which nothing is left afterwards."""
    world, temporal = World(servers, folder), TemporalServer(folder / "temporal")
    system = System(world, temporal, mirror_after=mirror_after)
    try:
        temporal.start()
        system.start()
        yield system
    finally:
        world.close()
        system.close()
        temporal.kill()
