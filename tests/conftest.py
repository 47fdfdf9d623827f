"""Servers for the tests that need real ones, started once a session and stopped with it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from stack.environment import forget_strangers, forget_ways_out
from tests.support.ports import OFFSET
from tests.support.servers import running
from tests.support.temporal import TemporalServer
from tests.support.world import Servers, World

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
# The developer's own proxy must not change the tests. A test that needs a proxy sets it.
forget_strangers(os.environ)
forget_ways_out(os.environ)

APART = "not (e2e or temporal or long or compose)"


def pytest_configure(config: pytest.Config) -> None:
    """Leave out the tests that have a `make` target of their own, unless a marker or a file's name asks for them.

    SIGTERM ends the run as Ctrl-C does, so that the servers of the run are stopped.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    named = any(Path(argument.split("::")[0]).is_file() for argument in config.args)
    if not config.option.markexpr and not named:
        config.option.markexpr = APART


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """PostgreSQL and RabbitMQ on ports of their own. A supervisor restarts a server that a test kills."""
    with running(tmp_path_factory.mktemp("servers"), OFFSET) as servers:
        yield servers


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
