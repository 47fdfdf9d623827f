"""The wall clock of one process jumps by an hour, and no saga ends early or gets stuck (docs/failures.md, row 35)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.long

SHIFTED_CLOCK: Final = Path(__file__).parents[1] / "chaos" / "shifted_clock"
COORDINATORS: Final = ("choreography", "orchestration")
HOUR: Final = 3600.0  # seconds
PATIENCE: Final = 10.0  # seconds for a payment


class Clock:
    """The wall clock of one process, set from outside."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.write_text("0")
        self.env = {"PYTHONPATH": str(SHIFTED_CLOCK), "CLOCK_SHIFT": str(file)}

    def jump(self, shift: float) -> None:
        """Shift the clock by this many seconds, and return when the process has taken over the shifted time."""
        draft = self._file.with_suffix(".new")
        draft.write_text(str(shift))
        draft.rename(self._file)
        until(lambda: abs(self._off() - timedelta(seconds=shift)) < timedelta(seconds=30), what="the clock has jumped")

    def _off(self) -> timedelta:
        return datetime.fromisoformat(self._file.with_suffix(".seen").read_text()) - datetime.now(UTC)


def start_with_clock(world: World, name: str, clock: Clock) -> None:
    """Start one process whose clock is ours to set."""
    before = dict(world.env)
    world.env |= clock.env
    world.start(name)
    world.env = before


@pytest.mark.parametrize("victim", ["order", "payment", "gateway", "worker"])
def test_35_a_clock_that_jumps_an_hour_ends_no_saga_early_and_leaves_none_stuck(
    world: World, temporal: TemporalServer, tmp_path: Path, victim: str
) -> None:
    world.env |= {
        "SAGA_TEMPORAL_ADDRESS": temporal.address,
        "SAGA_PAYMENT_TIMEOUT": str(PATIENCE),
        "SAGA_RECONCILE_INTERVAL": "1",
        "SAGA_PROVIDER_LATENCY_MS": "1000",
        "SAGA_PROVIDER_TIMEOUT": "3",
    }
    clock = Clock(tmp_path / "clock")
    world.start(*({"order", "payment", "gateway", "worker"} - {victim}))
    start_with_clock(world, victim, clock)
    paid = []
    for shift in (HOUR, -HOUR):
        paid += [world.post(coordinator=each) for each in COORDINATORS]
        clock.jump(shift)
        paid += [world.post(coordinator=each) for each in COORDINATORS]
        for order_id in paid:
            world.wait_status(order_id, "PAID", "APPROVED")

    world.kill("payment")
    late = [world.post(coordinator=each) for each in COORDINATORS]
    for order_id in late:
        world.wait_status(order_id, "PENDING_PAYMENT")
    if victim != "payment":
        clock.jump(HOUR)
    for order_id in late:
        world.wait_status(order_id, "CANCELLED")
    world.start("payment")
    world.wait_at_rest([*paid, *late])
    for order_id in late:
        order = world.order(order_id)
        assert order["cancel_reason"] == "PAYMENT_TIMEOUT"
        waited = order["updated_at"] - order["created_at"]
        assert timedelta(seconds=PATIENCE) <= waited < timedelta(seconds=HOUR / 2)
    assert_dated_today(world)


def assert_dated_today(world: World) -> None:
    """All rows are dated by the databases' clocks, not by the shifted one."""
    stored = [
        row["at"]
        for role in ("orders", "payments")
        for row in world.rows(role, "SELECT occurred_at AS at FROM event_log")
    ]
    assert stored
    assert all(abs(at - datetime.now(UTC)) < timedelta(minutes=5) for at in stored)
