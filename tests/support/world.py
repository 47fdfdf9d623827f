"""Real processes on databases and a virtual host that belong to one test."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import aio_pika
import httpx
import psycopg
from aio_pika.abc import AbstractChannel
from psycopg.rows import dict_row

from audit.database_audit import Scope
from audit.run import Places, audit
from choreography.dead_letters import DeadLetterRecord, DeadLetters
from choreography.topology import MIRROR_QUEUE, ORDER_QUEUE, PAYMENT_QUEUE, Topology, declare
from tests.support import forking, http
from tests.support.messages import USER
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until

Result = TypeVar("Result")

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

    def kill(self, name: str) -> None:
        """Kill a server -9; its supervisor starts it again."""
        os.kill(self.pids()[name], signal.SIGKILL)


class World:
    """The processes of one test, started and killed at will, on data that no other test uses."""

    _numbers = itertools.count(1)

    def __init__(self, servers: Servers, logs: Path) -> None:
        self.servers = servers
        self.name = f"world{os.getpid()}_{next(World._numbers)}"
        self.program: Sequence[str] = forking.SAGA
        self._logs = logs
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

    # processes

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
            }
            with (self._logs / f"{name}.log").open("ab") as log:
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

    def wait_dead(self, name: str, within: float = PATIENCE) -> None:
        """Wait until the process has killed itself at a crash point."""
        code = until(lambda: self.processes[name].poll(), within=within, what=f"{name} dies at its crash point")
        assert code == -signal.SIGKILL, f"{name} ended with {code}: {self.log(name)[-2000:]}"

    def log(self, name: str) -> str:
        return (self._logs / f"{name}.log").read_text(errors="replace")

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

    # the API

    @cached_property
    def _http(self) -> httpx.Client:
        """One client for all requests, since each new client loads the machine's certificates."""
        return http.client(timeout=40)

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

    # messages, as anybody may send them

    def publish(self, *messages: tuple[str, str, bytes | Mapping[str, Any]]) -> None:
        """Publish (exchange, routing key, body) in this order, confirmed."""

        async def send(channel: AbstractChannel) -> None:
            for exchange, routing_key, body in messages:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                target = await channel.get_exchange(exchange, ensure=False)
                message = aio_pika.Message(
                    data, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, message_id=str(uuid4())
                )
                await target.publish(message, routing_key)

        self.amqp(send)

    def amqp(self, act: Callable[[AbstractChannel], Awaitable[Result]]) -> Result:
        """Do something on a channel of its own."""

        async def run() -> Result:
            async with await aio_pika.connect(self.amqp_url) as connection:
                return await act(await connection.channel(on_return_raises=True))

        return asyncio.run(run())

    def dead_letters(self) -> list[DeadLetterRecord]:
        return asyncio.run(DeadLetters(self.amqp_url).all())

    def waiting(self) -> int:
        """The number of messages in the services' queues and retry queues, without dead letters and mirrors' events."""
        return sum(
            n for name, n in self.queues().items() if not name.endswith(".dead-letters") and name != MIRROR_QUEUE
        )

    def waiting_for_mirrors(self) -> int:
        """The number of events that may not be with their mirrors yet."""
        return self.queues().get(MIRROR_QUEUE, 0)  # until a worker has run, nothing waits for it

    def purge(self, queue: str) -> None:
        """Remove all messages that wait in a queue."""
        self._rabbitmq("DELETE", f"queues/{self.name}/{queue}/contents")

    def bindings(self, queue: str) -> set[tuple[str, str]]:
        """The bindings of a queue as pairs of exchange and routing key, without the default exchange."""
        found = self._rabbitmq("GET", f"queues/{self.name}/{queue}/bindings") or []
        return {(each["source"], each["routing_key"]) for each in found if each["source"]}

    def statistics(self, queue: str) -> Mapping[str, int]:
        """The broker's counts for a queue since its node started. They are some seconds old."""
        counted: Mapping[str, int] = self._rabbitmq("GET", f"queues/{self.name}/{queue}").get("message_stats", {})
        return counted

    def queues(self) -> dict[str, int]:
        """The number of messages in every queue. The counts lag a little."""
        found = self._rabbitmq("GET", f"queues/{self.name}?disable_stats=true&enable_queue_totals=true") or []
        return {queue["name"]: queue.get("messages", 0) for queue in found}

    # facts

    def rows(self, role: str, sql: str, *params: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.dsn(role), row_factory=dict_row, connect_timeout=5) as connection:
            return connection.execute(sql, params).fetchall()

    def order(self, order_id: str) -> dict[str, Any]:
        """The order's row. Fails while there is none."""
        order = self.find_order(order_id)
        assert order is not None, f"order {order_id} is not stored"
        return order

    def find_order(self, order_id: str) -> dict[str, Any] | None:
        rows = self.rows("orders", "SELECT * FROM orders WHERE id = %s", order_id)
        return rows[0] if rows else None

    def payment(self, order_id: str) -> dict[str, Any]:
        """The row of the order's payment. Fails while there is none."""
        payment = self.find_payment(order_id)
        assert payment is not None, f"no payment of order {order_id} is stored"
        return payment

    def find_payment(self, order_id: str) -> dict[str, Any] | None:
        rows = self.rows("payments", "SELECT * FROM payments WHERE order_id = %s", order_id)
        return rows[0] if rows else None

    def books(self, order_id: str) -> tuple[int, int]:
        """Captured and refunded money in the provider's own books."""
        payment = self.find_payment(order_id)
        rows = payment and self.rows("payments", "SELECT * FROM provider_charges WHERE payment_id = %s", payment["id"])
        return (rows[0]["captured"], rows[0]["refunded"]) if rows else (0, 0)

    def events(self, role: str, order_id: str) -> list[str]:
        rows = self.rows(role, "SELECT event_type FROM event_log WHERE order_id = %s ORDER BY seq", order_id)
        return [row["event_type"] for row in rows]

    def wait_status(self, order_id: str, order: str, payment: str | None = None, within: float = PATIENCE) -> None:
        """Wait until the order, and its payment, have these statuses."""

        def reached() -> bool:
            found, paid = self.find_order(order_id), self.find_payment(order_id)
            statuses = (found and found["status"], paid and paid["status"])
            assert statuses == (order, payment or statuses[1]), statuses
            return True

        until(reached, within=within, what=f"{order_id} is {order}, {payment}")

    def wait_at_rest(self, order_ids: Iterable[str] = (), within: float = 2 * PATIENCE) -> None:
        """Wait until nothing is under way any more, then prove the invariants of every order."""

        def at_rest() -> bool:
            pending = self.rows("orders", "SELECT count(*) n FROM orders WHERE status = 'PENDING_PAYMENT'")[0]["n"]
            known = {str(row["id"]) for row in self.rows("orders", "SELECT id FROM orders")}
            due = self.rows(
                "payments", "SELECT count(*) n FROM payments WHERE due IS NOT NULL OR status = 'PROCESSING'"
            )[0]["n"]
            outbox = sum(self.rows(r, "SELECT count(*) n FROM outbox")[0]["n"] for r in ("orders", "payments"))
            state = {"pending": pending, "due": due, "outbox": outbox, "unknown": len(set(order_ids) - known)}
            assert not any(state.values()), state
            assert self.waiting() == 0
            # The broker's counts lag a little, so a finding may pass. A real one stays.
            self.prove_invariants()
            return True

        until(at_rest, within=within, what="everything is at rest, and as it must be")

    def prove_invariants(self) -> None:
        """Prove section 5 of docs/specification.md from the databases alone, as `saga audit --at-rest` does."""
        places = Places(orders_db=self.dsn("orders"), payments_db=self.dsn("payments"))
        report = audit(places, Scope(at_rest=True, pause=0.0))
        found = [finding for tally in report.tallies.values() for finding in tally.examples]
        assert report.exit_code == 0, (found, report.unread)

    # the rest

    def _port_of(self, process: str) -> int:
        return self.ports.setdefault(process, free_port())

    def _rabbitmq(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, f"{self.servers.rabbitmq_api}/{path}", json=body, timeout=20)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None
