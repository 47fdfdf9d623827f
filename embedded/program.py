"""Describe a program of the stack, and start it so that it never outlives us."""

import asyncio
import ctypes
import fcntl
import http.client
import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from signal import Signals
from types import MappingProxyType

from embedded.errors import StackError
from embedded.log_files import LogFile
from embedded.ports import LOOPBACK

PR_SET_PDEATHSIG = 1
PROBE_TIMEOUT = 2.0
ALIVE_TIMEOUT = 20.0  # a busy machine may take long
PIPE_SIZE = 1024 * 1024  # bytes of output that a program may be ahead of its log
_NICE = 5
# Looked up before any fork: a child between fork and exec must not load libraries.
_libc = ctypes.CDLL(None, use_errno=True)


class StartStage(IntEnum):
    """The order of starting: a stage starts when the earlier one is ready, and stops after the later one."""

    SERVER = 0
    SERVICE = 1


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program of the stack: how to prepare, start, probe and stop it."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)  # carries passwords
    cwd: Path
    ports: Mapping[str, int]  # by the part that needs the port; the first is the program's own
    ready: Callable[[], bool]  # called repeatedly, in a thread; may block for PROBE_TIMEOUT
    alive: Callable[[], bool]  # whether a program that was ready still answers; may block for ALIVE_TIMEOUT
    mend: Callable[[], str] | None = None  # called in a thread when it is ready; repairs the store, and says what
    tend: Callable[[], str] | None = None  # the same, called again and again while it is ready
    doors: Mapping[int, tuple[str, int]] = field(default_factory=dict)  # addresses behind a porter, by loopback's port
    prepare: Callable[[], Awaitable[None]] | None = None  # idempotent; called before the first start, under the lock
    user: str | None = None
    stage: StartStage = StartStage.SERVER
    stop_signal: Signals = Signals.SIGTERM
    stop_within: float = 10.0  # seconds, then SIGKILL
    death_signal: Signals = Signals.SIGTERM  # what it gets when the supervisor dies
    yields: bool = False  # whether the other programs go first when there is not enough CPU for all

    @property
    def port(self) -> int:
        """The program's own port."""
        return next(iter(self.ports.values()))


def spawn(program: Program, log: LogFile) -> subprocess.Popen[bytes]:
    """Start the program with its output in `log`, in a session of its own. It dies with the calling thread.

    Its output comes through a pipe, because a program might end if it could not write a line to a full disk.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        # This runs after the change of user, which would clear the setting.
        _libc.prctl(PR_SET_PDEATHSIG, program.death_signal, 0, 0, 0)
        if os.getppid() != parent:  # the parent died between fork and prctl, so no signal will come
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if program.yields:
            _yield_to_others()

    output, written = os.pipe()
    try:
        process = subprocess.Popen(
            program.argv,
            cwd=program.cwd,
            env=dict(program.env),
            user=program.user,
            group=pwd.getpwnam(program.user).pw_gid if program.user else None,
            extra_groups=[] if program.user else None,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is for the supervisor alone
            preexec_fn=die_with_parent,
        )
    except OSError as error:
        os.close(output)
        raise StackError(f"{program.name} cannot be started: {error}") from error
    finally:
        os.close(written)
    with suppress(OSError):  # a user's pipes may be limited
        fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    log.follow(output)
    return process


def _yield_to_others() -> None:
    os.nice(_NICE)
    # If the kernel schedules each session as a group, niceness counts only within it. Set the group's, too (sched(7)).
    with suppress(OSError), Path("/proc/self/autogroup").open("wb", buffering=0) as group:
        group.write(b"%d" % _NICE)


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for the process to end, and reap it. Returns its exit code, negative for a signal."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    pidfd = os.pidfd_open(process.pid)
    loop.add_reader(pidfd, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
    return process.wait()


async def run_once(program: Program, path: Path) -> None:
    """Run the program to its end; if this is cancelled, kill it. Raises StackError with its last line if it fails."""
    log = LogFile(path)
    process = spawn(program, log)
    try:
        code = await ended(process)
    except asyncio.CancelledError:
        process.kill()
        process.wait()
        raise
    if code:
        raise StackError(f"{program.name} failed ({how(code)}): {log.last_line()}; see {path}")


def how(code: int) -> str:
    """An exit code in words."""
    return f"killed by {Signals(-code).name}" if code < 0 else f"exit code {code}"


def http_ok(
    port: int,
    path: str,
    *,
    host: str = LOOPBACK,
    timeout: float = PROBE_TIMEOUT,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> bool:
    """Whether a GET on loopback answers 200."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path, headers=dict(headers))
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def amqp_greets(port: int, *, timeout: float = PROBE_TIMEOUT) -> bool:
    """Whether a broker answers the AMQP 0-9-1 header with a method frame. A broker listens only when it has booted."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False
