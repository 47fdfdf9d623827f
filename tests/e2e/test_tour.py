"""`saga up --tour` as a user meets it: every end of a saga, for both coordinators, before their eyes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import OFFSET
from tests.waiting import until

ENDS = {
    "approved": "PAID APPROVED",
    "declined": "CANCELLED PAYMENT_DECLINED DECLINED",
    "refused": "FAILED FAILED",
    "refunded": "CANCELLED USER_REQUESTED REFUNDED",
    "timed out": "CANCELLED PAYMENT_TIMEOUT CANCELLED",
}


def test_the_tour_shows_every_end_for_both_coordinators(tmp_path: Path) -> None:
    output = tmp_path / "output"
    env = {name: value for name, value in os.environ.items() if name != "SAGA_PAYMENT_TIMEOUT"}
    saga = Path(sys.executable).parent / "saga"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [saga, "up", "--tour", "--data", tmp_path / "data", "--port-offset", str(OFFSET + 300)],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=env,
        )
    try:

        def ended() -> bool:
            return process.poll() is not None or "Stop:" in output.read_text()

        until(ended, within=90, what="the tour is over")
        told = output.read_text()
        lines = [" ".join(line.split()) for line in told.splitlines()]
        for coordinator in ("choreography", "orchestration"):
            for title, end in ENDS.items():
                assert any(line.startswith(f"{coordinator} {title} {end} ") for line in lines), told
        assert "isn't settled within 8 s" in told
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    assert process.returncode == 0
