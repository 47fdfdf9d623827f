"""Start processes of ours quickly, forked from one that has loaded our code. Loading takes two seconds of CPU."""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import IO, Final

_LARGEST_REQUEST: Final = 1 << 20
SAGA: Final = (sys.executable, "-m", "cli")
# What a process reads before any code of ours runs: with another value it has to be started from nothing.
_READ_AT_START: Final = ("PYTHONPATH", "LD_PRELOAD")


def start(
    program: Sequence[str], process: str, *, env: Mapping[str, str], log: IO[bytes]
) -> Forked | subprocess.Popen[bytes]:
    """Run a process with this environment; what it writes goes to the log. Only `SAGA` is forked."""
    if program != SAGA or any(env.get(name) != os.environ.get(name) for name in _READ_AT_START):
        return subprocess.Popen([*program, "run", process], env=env, stdout=log, stderr=log)
    ours, theirs = _pair()
    with theirs:
        request = json.dumps({"process": process, "env": dict(env)}).encode()
        socket.send_fds(_parent(), [request], [log.fileno(), theirs.fileno()])
    return Forked(process, ours)


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


@cache
def _parent() -> socket.socket:
    """The way to the process that forks; it ends when we do."""
    ours, theirs = _pair()
    with theirs:
        subprocess.Popen([sys.executable, "-m", "tests.support.forking"], stdin=theirs.fileno())
    return ours


class Forked:
    """The part of `subprocess.Popen` that tests need, for a process that is not our child."""

    def __init__(self, process: str, reports: socket.socket) -> None:
        self._process = process
        self._reports = reports
        self.pid = int(self._report())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and self._has_report(0):
            self.returncode = int(self._report())
            self._reports.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """How it ended. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        if self.returncode is None and self._has_report(timeout):
            self.poll()
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process, timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _has_report(self, timeout: float | None) -> bool:
        poll = select.poll()  # which, unlike select, knows more than 1,024 files
        poll.register(self._reports, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def _report(self) -> bytes:
        told = self._reports.recv(16)
        assert told, "the process that forks has ended"
        return told


# The process that forks


def main() -> None:
    """Fork on request. Report the id of each process, and later how it ended."""
    from cli.__main__ import main as saga

    _load()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, whose end is ours
    control, (woken, waking) = socket.socket(fileno=os.dup(0)), os.pipe()
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    while True:
        readable, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
            _report_ends(running)
        if control.fileno() not in readable:
            continue
        data, files, _, _ = socket.recv_fds(control, _LARGEST_REQUEST, 2)
        if not data:
            return
        log, reports = files[0], socket.socket(fileno=files[1])
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _become(log=log, **json.loads(data))
            for each in (control, reports, *running.values()):
                each.close()
            for file in (log, woken, waking):
                os.close(file)
            saga()
        os.close(log)
        running[pid] = reports
        reports.send(b"%d" % pid)


def _load() -> None:
    """What any of our processes loads."""
    import uvloop  # noqa: F401

    from stack import wire_gateway, wire_services, wire_worker  # noqa: F401

    gc.freeze()  # so that collecting garbage copies no memory that is shared


def _become(*, process: str, env: Mapping[str, str], log: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["saga", "run", process]


def _report_ends(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with suppress(OSError), running.pop(pid) as reports:  # nobody may listen any more
            reports.send(b"%d" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
