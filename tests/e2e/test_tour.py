"""`saga up --tour` shows a user every outcome of a saga, for both coordinators."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from embedded import state
from tests.support.ports import OFFSET
from tests.support.stack import run_saga, terminal

ENDS = {
    "approved": "PAID - APPROVED",
    "declined": "CANCELLED PAYMENT_DECLINED DECLINED",
    "refused": "FAILED - FAILED",
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


def read_until(terminal: int, end: str) -> str:
    """Read from the terminal until a text appears, or until it is closed."""
    seen = b""
    while end.encode() not in seen:
        try:
            seen += os.read(terminal, 65536)
        except OSError:
            break
    return re.sub(r"\x1b\[\d*m|\r", "", seen.decode())


def test_the_tour_shows_every_end_for_both_coordinators_in_a_terminal_of_80_columns(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ours, theirs = terminal(80)
    start = command("up", "--tour", data=data)
    process = subprocess.Popen(start, stdin=theirs, stdout=theirs, stderr=theirs, env={**environ(), "NO_COLOR": "1"})
    os.close(theirs)
    try:
        told = read_until(ours, "Stop:")
        urls = (state.read(data) or {})["urls"]
    finally:
        process.send_signal(signal.SIGINT)
        rest = read_until(ours, "the data are kept")
        process.wait(timeout=60)
        os.close(ours)
    assert (process.returncode, "Everything is stopped" in rest) == (0, True)
    assert shows_every_end(told), told
    assert "isn't settled within 8 s" in " ".join(told.split())
    lines = told.splitlines()
    links = [line for line in lines if re.fullmatch(rf"{urls['temporal_ui']}/\S+/order-[0-9a-f-]{{36}}", line.strip())]
    assert len(links) == 10
    assert lines.index(f"Watch the tour in the console: {urls['gateway']}/") < min(
        index for index, line in enumerate(lines) if "http" in line and "console" not in line
    )
    assert {
        f"Console      {urls['gateway']}/",
        f"API docs     {urls['gateway']}/docs",
        f"RabbitMQ UI  {urls['rabbitmq_ui']}",
    } <= set(lines)
    assert f"  password   {urls['amqp'].split(':')[2].split('@')[0]}" in lines
    assert [line for line in lines if len(line) > 80 and line not in links and str(data) not in line] == []


def test_the_tour_of_a_detached_stack_is_shown_to_whoever_has_started_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    try:
        done = subprocess.run(
            command("up", "--detach", "--tour", data=data), capture_output=True, text=True, timeout=120, env=environ()
        )
        assert done.returncode == 0, done.stderr
        assert shows_every_end(done.stdout), done.stdout
        assert run_saga("status", "--data", str(data), check=False).returncode == 0
        stop = done.stdout.splitlines()[-1]
        subprocess.run(shlex.split(stop.removeprefix("Stop:")), timeout=60, check=True)
        assert "Nothing runs" in run_saga("status", "--data", str(data), check=False).stdout
    finally:
        run_saga("down", "--data", str(data))
