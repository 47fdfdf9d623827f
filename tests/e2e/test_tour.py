"""`saga up --tour` as a user meets it: every end of a saga, for both coordinators, before their eyes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import OFFSET
from tests.e2e.conftest import run_saga
from tests.waiting import until

ENDS = {
    "approved": "PAID APPROVED",
    "declined": "CANCELLED PAYMENT_DECLINED DECLINED",
    "refused": "FAILED FAILED",
    "refunded": "CANCELLED USER_REQUESTED REFUNDED",
    "timed out": "CANCELLED PAYMENT_TIMEOUT CANCELLED",
}


def shows_every_end(told: str) -> bool:
    lines = [" ".join(line.split()) for line in told.splitlines()]
    return all(
        any(line.startswith(f"{coordinator} {title} {end} ") for line in lines)
        for coordinator in ("choreography", "orchestration")
        for title, end in ENDS.items()
    )


def command(*arguments: str, data: Path) -> list[str]:
    saga = str(Path(sys.executable).parent / "saga")
    return [saga, *arguments, "--data", str(data), "--port-offset", str(OFFSET + 300)]


def environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "SAGA_PAYMENT_TIMEOUT"}


def test_the_tour_shows_every_end_for_both_coordinators(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command("up", "--tour", data=tmp_path / "data"), stdout=file, stderr=subprocess.STDOUT, env=environ()
        )
    try:

        def ended() -> bool:
            return process.poll() is not None or "Stop:" in output.read_text()

        until(ended, within=240, what="the tour is over")
        told = output.read_text()
        assert shows_every_end(told), told
        assert "isn't settled within 8 s" in told
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    assert process.returncode == 0


def test_the_tour_of_a_detached_stack_is_shown_to_whoever_has_started_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    try:
        done = subprocess.run(
            command("up", "--detach", "--tour", data=data), capture_output=True, text=True, timeout=120, env=environ()
        )
        assert done.returncode == 0, done.stderr
        assert shows_every_end(done.stdout), done.stdout
        assert run_saga("status", "--data", str(data), check=False).returncode == 0
    finally:
        run_saga("down", "--data", str(data))
