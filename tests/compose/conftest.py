"""The containers of docker-compose.yml are started once, and removed with everything they leave."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.support.containers import Containers


@pytest.fixture(scope="session")
def containers() -> Iterator[Containers]:
    assert shutil.which("docker"), "Docker is missing: these tests bring docker-compose.yml up for real"
    containers = Containers()
    everything = ("--profile", "monitoring", "down", "-v")
    containers.compose(*everything)  # what an interrupted run has left
    try:
        containers.up()
        containers.build_operator()
        yield containers
    finally:
        containers.compose(*everything, "--rmi", "local")
