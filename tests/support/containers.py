"""The containers of docker-compose.yml as a world, with the same facts and the same invariants."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.support.waiting import until
from tests.support.world import World

ROOT = Path(__file__).parents[2]
PROJECT = "sagacomposetest"
# Below the range that outgoing connections take theirs from: these must stay free between `down` and `up`.
PUBLISHED = {"SAGA_GATEWAY_PUBLISH": 17300, "SAGA_RABBITMQ_UI_PUBLISH": 17301, "SAGA_TEMPORAL_UI_PUBLISH": 17302}
SERVICES = {
    "gateway", "order", "payment", "worker", "orders-db", "payments-db", "rabbitmq", "temporal", "temporal-ui",
}  # fmt: skip
SETTINGS = {
    # No value is a default, so that each setting is seen to work.
    "SAGA_ORDERS_PASSWORD": "orders-of-the-test",
    "SAGA_PAYMENTS_PASSWORD": "payments-of-the-test",
    "SAGA_SUPERUSER_PASSWORD": "superuser-of-the-test",
    "SAGA_BROKER_PASSWORD": "broker-of-the-test",
    "SAGA_BROKER_ORDER_PASSWORD": "broker-order-of-the-test",
    "SAGA_BROKER_PAYMENT_PASSWORD": "broker-payment-of-the-test",
    "SAGA_BROKER_WORKER_PASSWORD": "broker-worker-of-the-test",
    "SAGA_BROKER_GATEWAY_PASSWORD": "broker-gateway-of-the-test",
    "SAGA_INTERNAL_TOKEN": "token-of-the-test",
    "SAGA_RETRY_DELAYS": "0.2,0.4",
    "SAGA_PROVIDER_LATENCY_MS": "500",
    "SAGA_PAYMENT_TIMEOUT": "15",
}


class Containers(World):
    """A world whose processes are containers."""

    def __init__(self, *, folder: Path = ROOT, project: str = PROJECT, shift: int = 0) -> None:
        """`folder` has the docker-compose.yml. `shift` is added to the published ports, for a second project."""
        self.folder, self.project = folder, project
        self.ports = {name: int(os.environ.get(name) or port) + shift for name, port in PUBLISHED.items()}
        self.env = {**os.environ, **SETTINGS, **{name: str(port) for name, port in self.ports.items()}}
        self.env["COMPOSE_HTTP_TIMEOUT"] = "300"  # seconds in which docker-compose 1 lets the engine stop a container
        self.ports["gateway"] = self.ports["SAGA_GATEWAY_PUBLISH"]
        self.name = "%2F"  # the virtual host
        password, port = SETTINGS["SAGA_BROKER_PASSWORD"], self.ports["SAGA_RABBITMQ_UI_PUBLISH"]
        self.rabbitmq_api = f"http://saga:{password}@127.0.0.1:{port}/api"
        v2 = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
        self._compose = ["docker", "compose"] if v2 else ["docker-compose"]

    # containers

    @property
    def own_compose(self) -> list[str]:
        """What `docker compose` is for this project."""
        return [*self._compose, "-f", str(self.folder / "docker-compose.yml"), "-p", self.project]

    def compose(self, *arguments: str) -> str:
        return self.command(*self.own_compose, *arguments)

    def up(self) -> None:
        """Build what has changed, start everything, and wait until all of it is healthy."""
        self.compose("up", "-d", "--build")
        until(
            lambda: self.health() == dict.fromkeys(SERVICES, "healthy"), within=240, what="every container is healthy"
        )

    def health(self) -> dict[str, str]:
        """The health of each container, by service."""
        return {name: each["State"]["Health"]["Status"] for name, each in self.inspect().items()}

    def inspect(self) -> dict[str, Any]:
        """All that Docker knows of each container, by service."""
        labels = (f"com.docker.compose.project={self.project}", "com.docker.compose.oneoff=False")
        filters = [word for label in labels for word in ("--filter", f"label={label}")]
        ids = self.command("docker", "ps", "-aq", *filters).split()
        found = json.loads(self.command("docker", "inspect", *ids)) if ids else []
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}

    def execute(self, service: str, *command: str, check: bool = True) -> str:
        """Run a command in the container of a service; its output."""
        return self.command("docker", "exec", self.inspect()[service]["Id"], *command, check=check)

    def build_operator(self) -> None:
        """Build the operator's image; `run` would build it too, and print that among the answer."""
        self.compose("build", "operator")

    def saga(self, *arguments: str) -> str:
        """An operator's command, in a container of its own."""
        return self.compose("run", "--rm", "-T", "operator", *arguments)

    def python(self, code: str) -> str:
        """Run a program where an operator's commands run."""
        return self.compose("run", "--rm", "-T", "--entrypoint", "python", "operator", "-c", code)

    def has_image(self, image: str) -> bool:
        """Whether an image is on this machine, or can be pulled."""
        return any(
            subprocess.run(["docker", *words, image], capture_output=True, check=False, timeout=300).returncode == 0
            for words in (("image", "inspect"), ("pull",))
        )

    def kill_container(self, service: str) -> None:
        """Kill -9 the container's process from the host, so that Docker restarts the container."""
        container = self.inspect()[service]
        kill = ("--pid=host", "--user=0", "--entrypoint=sh", self.inspect()["gateway"]["Image"], "-c")
        self.command("docker", "run", "--rm", *kill, f"kill -9 {container['State']['Pid']}")
        until(
            lambda: self.inspect()[service]["RestartCount"] > container["RestartCount"], what=f"{service} is restarted"
        )

    def command(self, *command: str, check: bool = True) -> str:
        """Run a command on the host. Returns its output, and its errors too if it may fail."""
        done = subprocess.run(command, env=self.env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=540)
        assert done.returncode == 0 or not check, (command, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout if check else done.stdout + done.stderr

    # facts

    def rows(self, role: str, sql: str, *_params: Any) -> list[dict[str, Any]]:
        query = f"SELECT coalesce(json_agg(answer), '[]') FROM ({sql}) answer"
        answer = self.execute(f"{role}-db", "psql", "-U", "postgres", "-d", role, "-AtXc", query)
        return list(json.loads(answer))

    def prove_invariants(self) -> None:
        """Run the audit as an operator, whose container alone reaches both databases."""
        self.saga("audit", "--at-rest", "--timelines", "0")

    def statuses(self, order_id: str) -> tuple[str | None, str | None]:
        """The statuses of the order and of its payment, as the gateway answers them."""
        order, payment = self.request("GET", f"/orders/{order_id}"), self.request("GET", f"/payments/order/{order_id}")
        return order.json().get("status"), payment.json().get("status")

    def wait_statuses(self, order_id: str, order: str, payment: str | None = None) -> None:
        """Wait until the order, and its payment, have these statuses."""

        def reached() -> bool:
            found = self.statuses(order_id)
            assert found == (order, payment or found[1]), found
            return True

        until(reached, within=120, what=f"{order_id} is {order}, {payment}")

    def queues(self) -> dict[str, int]:
        try:
            return super().queues()
        except httpx.TransportError as error:
            raise ConnectionError("RabbitMQ does not answer") from error

    def publish_message(self, routing_key: str, body: bytes | Mapping[str, Any]) -> None:
        """Publish a message as anybody may send one."""
        text = body.decode() if isinstance(body, bytes) else json.dumps(body)
        answer = self._rabbitmq(
            "POST",
            f"exchanges/%2F/{routing_key.split('.')[0]}s.exchange/publish",
            {
                "routing_key": routing_key,
                "payload": text,
                "payload_encoding": "string",
                "properties": {"delivery_mode": 2, "message_id": str(uuid4())},
            },
        )
        assert answer == {"routed": True}
