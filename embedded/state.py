"""Keep a stack's lock, which makes it the only one on its data, and its state, which other processes read."""

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from embedded.errors import StackError

STATE = "state.json"
LEFTOVERS_WITHIN = 10.0  # seconds for what an earlier supervisor left to end by itself
KILLED_WITHIN = 2.0
ROOM = 64 * 1024 * 1024  # bytes that must be free for a server to start; RabbitMQ takes no message below 50 MB


def make_folder(data: Path) -> None:
    """Make the folder of data and the folder of logs, for their owner only. Raises StackError."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        (data / "logs").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StackError(f"{data} cannot hold the data ({error.strerror}): choose another with --data") from error


def has_room(data: Path) -> bool:
    """Whether the disk has room for a server to start. A server that fails during a recovery may lose its data."""
    return want_of_room(data) is None


def want_of_room(data: Path) -> str | None:
    """What is wrong, and what to do, while the disk has no room for a server to start; None if it has."""
    try:
        free = psutil.disk_usage(str(data)).free
    except OSError as error:  # the folder, or its whole file system, is gone
        return f"{data} cannot be looked at ({error.strerror}): bring it back"
    return None if free >= ROOM else f"{data} has less than {ROOM >> 20} MiB of free disk left: make room"


class Lock:
    """The right to run on a folder of data, held until release or the process's death."""

    def __init__(self, data: Path) -> None:
        """Take the lock. Raises StackError, which names the holder, if another stack runs on the same data."""
        self._file = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)  # not inherited by children
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 32).decode() or "unknown"
            os.close(self._file)
            raise StackError(
                f"A stack already runs on {data} (pid {holder}): stop it with `saga down`, "
                "or give this one --data and --port-offset of its own"
            ) from None
        with contextlib.suppress(OSError):  # the pid is only for people to read
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Give up the lock."""
        os.close(self._file)


def write(data: Path, state: Mapping[str, Any]) -> None:
    """Replace the state atomically. Only its owner can read it, because its URLs contain passwords."""
    fresh = data / f".{STATE}"
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123 - a mode
        json.dump(state, file, indent=1)
    fresh.replace(data / STATE)


def read(data: Path) -> dict[str, Any] | None:
    """The state that the last supervisor wrote; it may have died since. None if it stopped. Raises StackError."""
    try:
        state = json.loads((data / STATE).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise StackError(f"{data} cannot be read ({error.strerror}): choose another with --data") from error
    return state if isinstance(state, dict) and isinstance(state.get("pid"), int) and has_shape(state) else None


def has_shape(state: Mapping[str, Any]) -> bool:
    """Whether the state's URLs and processes, if it has any, are of the expected types."""
    urls, processes = state.get("urls", {}), state.get("processes", [])
    return isinstance(urls, dict) and isinstance(processes, list) and all(isinstance(each, dict) for each in processes)


def running(data: Path) -> dict[str, Any] | None:
    """The state of the supervisor that runs on this data; None if none runs, also if its pid is in use again."""
    known = read(data)
    return known if known and is_same(known["pid"], known.get("started")) else None


def clear(data: Path) -> None:
    """Remove the state, because nothing runs any more."""
    (data / STATE).unlink(missing_ok=True)


def started_at(pid: int) -> str | None:
    """The start of a process, to tell it from others with the same pid, also after a reboot; None if it is gone."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
    # Not psutil's create_time, which changes with the wall clock.
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {ticks}"


def is_same(pid: int, started: str | None) -> bool:
    """Whether the process with this pid is the one that started then. The system reuses pids."""
    return started is not None and started_at(pid) == started


def has_ended(pid: int, started: str | None) -> bool:
    """Whether the process that started then has ended. One that nobody has reaped yet has."""
    try:
        return not is_same(pid, started) or not runs(psutil.Process(pid))
    except psutil.Error:
        return True


def end_leftovers(data: Path) -> None:
    """Wait for the processes of a killed supervisor to end. After LEFTOVERS_WITHIN, kill those that still run."""
    leftovers: list[psutil.Process] = []
    for known in (read(data) or {}).get("processes", []):
        with contextlib.suppress(psutil.Error):
            if known["pid"] and is_same(known["pid"], known["started"]):
                process = psutil.Process(known["pid"])
                leftovers += [process, *process.children(recursive=True)]
    if not _all_end(leftovers, LEFTOVERS_WITHIN):
        kill(leftovers)


def kill(processes: Sequence[psutil.Process]) -> None:
    """SIGKILL those that still run, and wait a moment for their end."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    _all_end(processes, KILLED_WITHIN)


def _all_end(processes: Sequence[psutil.Process], within: float) -> bool:
    deadline = time.monotonic() + within
    while any(runs(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def runs(process: psutil.Process) -> bool:
    """Whether the process has not ended."""
    try:
        # An orphan stays a zombie until init reaps it, which may take long in a container.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def log_of(data: Path, name: str) -> Path:
    """The path of a program's log."""
    return data / "logs" / f"{name}.log"
