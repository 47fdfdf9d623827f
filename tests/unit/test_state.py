"""A stack knows its supervisor by what is on disk, and believes it of no other process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from cli import status, up
from embedded import state
from embedded.errors import StackError
from stack.addresses import Ports
from tests.support.ports import free_port


class Start(Protocol):
    """What both ways to start the stack take: the type checker compares it with them."""

    def __call__(self, data: Path, port_offset: int, *, tour: bool, cuttable: bool, servers_only: bool) -> None: ...


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the pid of a supervisor that was killed long ago."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def test_a_stranger_with_the_supervisors_pid_is_neither_asked_nor_stopped(
    tmp_path: Path, stranger: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    died = f"{state.started_at(stranger.pid)}0"
    processes = [{"name": "order", "pid": stranger.pid, "started": died, "port": 1, "state": "ready"}]
    state.write(tmp_path, {"pid": stranger.pid, "started": died, "ready": True, "processes": processes, "urls": {}})

    assert status.read(tmp_path) == {"ready": False, "processes": [], "urls": {}}
    up.down(tmp_path)
    state.end_leftovers(tmp_path)
    assert "Nothing runs" in capsys.readouterr().out
    assert stranger.poll() is None


def test_a_supervisor_that_runs_is_known_by_its_pid_and_its_start(tmp_path: Path) -> None:
    known: dict[str, Any] = {
        "pid": os.getpid(),
        "started": state.started_at(os.getpid()),
        "ready": False,
        "processes": [],
    }
    state.write(tmp_path, known)
    assert state.running(tmp_path) == known


_LINGERING = """
import signal, sys, time
from pathlib import Path

def stop(*_):
    Path(sys.argv[1]).unlink()
    time.sleep(0.5)
    raise SystemExit

signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_down_waits_for_the_supervisor_itself_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lingering = [sys.executable, "-c", _LINGERING, str(tmp_path / state.STATE)]
    with subprocess.Popen(lingering, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        known = {"pid": process.pid, "started": state.started_at(process.pid), "ready": True, "stops_within": 5.0}
        state.write(tmp_path, {**known, "processes": [], "urls": {}})
        up.down(tmp_path)
        assert state.has_ended(process.pid, str(known["started"]))  # though nobody has reaped it
        assert process.poll() == 0
    assert "Everything is stopped" in capsys.readouterr().out


@pytest.mark.parametrize("data", ["file", "file/inside"])
def test_a_folder_that_cannot_be_used_is_an_error_that_says_what_to_do(tmp_path: Path, data: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match=r"cannot hold the data \(.+\): choose another with --data"):
        state.make_folder(tmp_path / data)
    assert state.running(tmp_path / data) is None


@pytest.mark.parametrize("start", [up.attached, up.detached])
def test_a_start_that_is_refused_leaves_no_folder(tmp_path: Path, start: Start) -> None:
    """A start that asks for impossible ports leaves none, either."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port := free_port()))
        holder.listen()
        offset = port - Ports().gateway
        with pytest.raises(StackError, match=f"Port {port}, which gateway needs, is taken"):
            start(tmp_path / "new" / "data", offset, tour=False, cuttable=False, servers_only=False)
    with pytest.raises(StackError, match="--port-offset 99999 moves gateway"):
        start(tmp_path / "new" / "data", 99999, tour=False, cuttable=False, servers_only=False)
    assert list(tmp_path.iterdir()) == []
