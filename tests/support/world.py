"""Real processes on databases and a virtual host that belong to one test."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

from choreography.declaring import declare
from choreography.topology import MIRROR_QUEUE, ORDER_QUEUE, PAYMENT_QUEUE, Topology
from tests.support import forking
from tests.support.broker_of_test import BrokerOfTest
from tests.support.databases_of_test import DatabasesOfTest
from tests.support.messages import USER
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until

# Short times where the defaults are long.
QUICK = {
    "SAGA_RETRY_DELAYS": "0.1,0.2,0.4",
    "SAGA_RELAY_GRACE": "0.3",
    "SAGA_RELAY_INTERVAL": "0.1",
    "SAGA_TOPOLOGY_INTERVAL": "0.5",
    "SAGA_PROVIDER_LATENCY_MS": "0",
    "SAGA_PROVIDER_TIMEOUT": "0.5",
    "SAGA_SHUTDOWN_TIMEOUT": "3",
    "SAGA_INTERNAL_TOKEN": "internal",
    "SAGA_DATABASE_CONNECTIONS": "4",
}


@dataclass(frozen=True, kw_only=True)
class Servers:
    """PostgreSQL and RabbitMQ, shared by the tests of a session; databases `orders` and `payments` are migrated."""

    admin_dsn: str  # PostgreSQL's superuser
    database_passwords: Mapping[str, str]  # by role: orders, payments
    postgres_port: int
    amqp_url: str  # of the default virtual host
    rabbitmq_api: str
    pids: Callable[[], Mapping[str, int]]  # by server
    logs: Path  # the folder of theirs

    def kill(self, name: str) -> None:
        """Kill a server -9; its supervisor starts it again."""
        os.kill(self.pids()[name], signal.SIGKILL)


class World(BrokerOfTest, DatabasesOfTest):
    """The processes of one test, started and killed at will, on data that no other test uses."""

    _numbers = itertools.count(1)

    def __init__(self, servers: Servers, logs: Path) -> None:
        self.servers = servers
        self.rabbitmq_api = servers.rabbitmq_api
        self.name = f"world{os.getpid()}_{next(World._numbers)}"
        self.program: Sequence[str] = forking.SAGA
        self.logs = logs
        self.processes: dict[str, forking.Forked | subprocess.Popen[bytes]] = {}
        self.ports: dict[str, int] = {}
        with psycopg.connect(servers.admin_dsn, autocommit=True) as admin:
            for role in ("orders", "payments"):
                admin.execute(f"CREATE DATABASE {role}_{self.name} OWNER {role} TEMPLATE {role}")
        self._rabbitmq("PUT", f"vhosts/{self.name}")
        self._rabbitmq("PUT", f"permissions/{self.name}/saga", {"configure": ".*", "write": ".*", "read": ".*"})
        self.amqp_url = servers.amqp_url.rstrip("/") + "/" + self.name
        self.env = {
            **os.environ,
            **QUICK,
            "SAGA_AMQP_URL": self.amqp_url,
            "SAGA_ORDERS_DATABASE_URL": self.dsn("orders"),
            "SAGA_PAYMENTS_DATABASE_URL": self.dsn("payments"),
            "SAGA_TEMPORAL_ADDRESS": "127.0.0.1:1",  # nobody's; a test that needs one starts its own
        }

    def dsn(self, role: str) -> str:
        password = self.servers.database_passwords[role]
        return f"postgresql://{role}:{password}@127.0.0.1:{self.servers.postgres_port}/{role}_{self.name}"

    def start(self, *names: str, **settings: object) -> None:
        """Start processes as `launch` does, and wait until they are ready."""
        self.launch(*names, **settings)
        for name in names:
            self.wait_ready(name)

    def launch(self, *names: str, **settings: object) -> None:
        """Start processes: `order`, `payment`, `gateway`, `worker`; `order2` is a second order service."""
        for name in names:
            process = name.rstrip("0123456789")
            self.ports[name] = self.ports.get(name) or free_port()
            env = {
                **self.env,
                **{f"SAGA_{key.upper()}": str(value) for key, value in settings.items()},
                "SAGA_PORT": str(self.ports[name]),
                "SAGA_ORDER_SERVICE_URL": f"http://127.0.0.1:{self._port_of('order')}",
                "SAGA_PAYMENT_SERVICE_URL": f"http://127.0.0.1:{self._port_of('payment')}",
                "SAGA_WORKER_URL": f"http://127.0.0.1:{self._port_of('worker')}",
            }
            with (self.logs / f"{name}.log").open("ab") as log:
                self.processes[name] = forking.start(self.program, process, env=env, log=log)

    def wait_ready(self, name: str) -> None:
        def ready() -> bool:
            assert self.processes[name].poll() is None, f"{name} has ended: {self.log(name)[-2000:]}"
            return self._http.get(f"http://127.0.0.1:{self.ports[name]}/readyz", timeout=2).status_code == 200

        def answered() -> bool:
            try:
                return ready()
            except httpx.TransportError:
                return False

        until(answered, within=4 * PATIENCE, what=f"{name} is ready")

    def has_run(self, *names: str) -> None:
        """Declare the queues that these processes read, as if they had run before."""
        read = {"order": ORDER_QUEUE, "payment": PAYMENT_QUEUE, "worker": MIRROR_QUEUE}
        delays = tuple(map(float, self.env["SAGA_RETRY_DELAYS"].split(",")))
        topology = Topology(reads=tuple(read[name] for name in names), retry_delays=delays)
        self.amqp(lambda channel: declare(channel, topology))

    def kill(self, *names: str) -> None:
        """Kill -9."""
        for name in names:
            self.processes[name].kill()
            self.processes[name].wait()

    def terminate(self, *names: str) -> None:
        """Stop as an operator would (SIGTERM), and wait."""
        for name in names:
            self.processes[name].terminate()
        for name in names:
            self.processes[name].wait(timeout=60)

    def wait_dead(self, name: str) -> None:
        """Wait until the process has killed itself at a crash point."""
        code = until(lambda: self.processes[name].poll(), what=f"{name} dies at its crash point")
        assert code == -signal.SIGKILL, f"{name} ended with {code}: {self.log(name)[-2000:]}"

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def logged(self) -> list[dict[str, Any]]:
        """The log lines of all processes. Each must be one JSON object."""
        return [json.loads(line) for name in self.processes for line in self.log(name).splitlines()]

    def close(self) -> None:
        """End the processes and drop the databases.

        The virtual host stays: deleting queues whose dead-lettering is at-least-once, several at a time, takes down a
        supervisor of RabbitMQ 3.10 that all other queues of the node need.
        """
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        self._http.close()
        with psycopg.connect(self.servers.admin_dsn, autocommit=True) as admin:
            for role in ("orders", "payments"):
                admin.execute(f"DROP DATABASE {role}_{self.name} WITH (FORCE)")

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._http.request(method, f"http://127.0.0.1:{self.ports['gateway']}/api{path}", **options)

    def post(
        self,
        payment_method: str | None = "pm_card_visa",
        total: int = 999,
        *,
        coordinator: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Create an order; its id."""
        chosen = {"paymentMethod": payment_method, "coordinator": coordinator}
        body = {"userId": USER, "total": total, **{name: value for name, value in chosen.items() if value is not None}}
        answer = self.request("POST", "/orders", json=body, headers=headers)
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json().get("orderId") or answer.json()["id"])

    def _port_of(self, process: str) -> int:
        return self.ports.setdefault(process, free_port())
