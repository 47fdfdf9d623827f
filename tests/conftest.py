"""Servers for the tests that need real ones, started once a session and stopped with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.migrations import migrate
from stack import local, state
from stack.ports import Ports
from tests.temporal import TemporalServer
from tests.waiting import until
from tests.world import Servers, World

OFFSET = int(os.environ.get("SAGA_TEST_PORT_OFFSET", "20000"))


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """PostgreSQL and RabbitMQ on ports of their own; a supervisor restarts what a test kills."""
    data = tmp_path_factory.mktemp("servers")
    process = subprocess.Popen([sys.executable, "-m", "tests.servers", str(data), str(OFFSET)])
    try:

        def ready() -> bool:
            assert process.poll() is None, "the servers have ended"
            return bool((state.read(data) or {}).get("ready"))

        until(ready, within=60, what="PostgreSQL and RabbitMQ are ready")
        secrets, ports = local.Secrets.of(data), Ports.shifted(OFFSET)
        urls = local.urls(OFFSET, secrets)
        migrate("orders", urls["orders_db"])
        migrate("payments", urls["payments_db"])
        yield Servers(
            admin_dsn=f"host={data}/postgres port={ports.postgres} user=postgres dbname=postgres",
            database_passwords={"orders": secrets.orders, "payments": secrets.payments},
            postgres_port=ports.postgres,
            amqp_url=urls["amqp"],
            rabbitmq_api=f"http://saga:{secrets.broker}@127.0.0.1:{ports.rabbitmq_ui}/api",
            pids=lambda: {each["name"]: each["pid"] for each in (state.read(data) or {})["processes"]},
        )
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture
def world(servers: Servers, tmp_path: Path) -> Iterator[World]:
    """Fresh databases and a fresh virtual host; nothing runs yet."""
    world = World(servers, tmp_path)
    try:
        yield world
    finally:
        world.close()


@pytest.fixture
def temporal(tmp_path: Path) -> Iterator[TemporalServer]:
    """A Temporal server of the test's own, with nothing in it."""
    server = TemporalServer(tmp_path / "temporal")
    server.start()
    try:
        yield server
    finally:
        server.kill()
