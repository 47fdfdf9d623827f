"""The profile `monitoring` of docker-compose.yml reads all four processes, and shows no secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.containers import SETTINGS, Containers
from tests.support.waiting import until

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]

IMAGE = "prom/prometheus:latest"
HERE = "http://127.0.0.1:9090"


@pytest.fixture(scope="module")
def monitored(containers: Containers) -> Iterator[Containers]:
    """The containers, with Prometheus beside them."""
    if not containers.has_image(IMAGE):
        pytest.skip(f"{IMAGE} is neither here nor in a registry that this machine reaches")
    containers.compose("--profile", "monitoring", "up", "-d", "prometheus")
    try:
        yield containers
    finally:
        containers.compose("--profile", "monitoring", "rm", "-sf", "prometheus")


def query(containers: Containers, expression: str) -> list[dict[str, Any]]:
    """The series that Prometheus has now."""
    told = containers.execute("prometheus", "promtool", "query", "instant", "-o", "json", HERE, expression)
    return list(json.loads(told))


def test_all_four_processes_are_read_and_the_rules_are_known(monitored: Containers) -> None:
    until(lambda: monitored.health()["prometheus"] == "healthy", within=120, what="Prometheus is healthy")

    def all_up() -> bool:
        up = {each["metric"]["process"] for each in query(monitored, 'up{job="payment-saga"} == 1')}
        assert up == {"gateway", "order", "payment", "worker"}
        return True

    until(all_up, within=90, what="all four processes are read")
    told = monitored.execute("prometheus", "promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    assert "10 rules found" in told


def test_prometheus_is_not_published_and_its_secrets_are_its_own(monitored: Containers) -> None:
    container = monitored.inspect()["prometheus"]
    assert not any(container["NetworkSettings"]["Ports"].values())
    line = monitored.command("docker", "top", container["Id"], "-eo", "pid,uid,args")
    assert "--config.file" in line
    assert SETTINGS["SAGA_INTERNAL_TOKEN"] not in line
    assert all(each.split()[1] != "0" for each in line.splitlines()[1:])
    modes = monitored.execute("prometheus", "sh", "-c", "stat -c %a /etc/prometheus/secrets/*").split()
    assert modes == ["600", "600"]
