"""A backlog of mirrors makes no orchestrated saga wait: mirrors are what yields."""

from __future__ import annotations

import time
from statistics import median
from uuid import uuid4

import pytest

from tests.support.messages import BODY, create
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World

pytestmark = [pytest.mark.long, pytest.mark.temporal, pytest.mark.timeout(1200)]

BACKLOG = 10_000  # sagas without a mirror
AT_ONCE = 1000
WINDOWS = 3
SAMPLES = 20  # in each window
LEFT = 1000  # events that must still wait at the end: else there was no backlog to be behind


def orchestrated(world: World) -> float:
    """Seconds from a POST to the end of its orchestrated saga, which must be accepted."""
    began = time.monotonic()
    answer = world.request(
        "POST", "/orders", json={**BODY, "coordinator": "orchestration"}, headers={"Prefer": "wait=30"}
    )
    assert (answer.status_code, answer.json()["status"]) == (200, "PAID")
    return time.monotonic() - began


def median_time(world: World) -> float:
    """Seconds: the median of the quietest window, since what else the machine does makes sagas only slower.

    The 95th percentile needs a machine of its own; `make bench` measures it.
    """
    return min(median(orchestrated(world) for _ in range(SAMPLES)) for _ in range(WINDOWS))


def leave_a_backlog(world: World) -> None:
    """Choreographed sagas that are over, whose events all wait for their mirrors."""
    world.terminate("worker")
    for _ in range(BACKLOG // AT_ONCE):
        world.publish(*(create(str(uuid4())) for _ in range(AT_ONCE)))

    def over() -> bool:
        [row] = world.rows(
            "orders", "SELECT count(*) n FROM orders WHERE coordinator = 'choreography' AND status = 'PAID'"
        )
        return bool(row["n"] == BACKLOG)

    until(over, within=300, what="all choreographed sagas are over")


def test_49_behind_a_backlog_of_mirrors_orchestrated_sagas_are_accepted_and_hardly_slower(
    world: World, temporal: TemporalServer
) -> None:
    world.env["SAGA_TEMPORAL_ADDRESS"] = temporal.address
    world.start("order", "payment", "gateway", "worker")
    for _ in range(5):
        orchestrated(world)  # the first ones find everything cold
    idle = median_time(world)
    leave_a_backlog(world)
    world.start("worker")
    until(lambda: temporal.count("WorkflowType = 'SagaMirror'") > 50, within=60, what="mirrors are being told")
    behind = median_time(world)
    assert world.waiting_for_mirrors() > LEFT
    assert behind <= 3 * idle, f"behind the backlog {behind:.3f} s, without it {idle:.3f} s"
