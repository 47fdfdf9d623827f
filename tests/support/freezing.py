"""Freeze processes: they keep their connections, and answer nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil


def freeze(pid: int) -> Callable[[], None]:
    """Stop a process and all its children. Call the result to let them go on."""
    try:
        process = psutil.Process(pid)
        frozen = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        frozen = []
    for each in frozen:
        _signal(each, signal.SIGSTOP)

    def go_on() -> None:
        for each in frozen:
            _signal(each, signal.SIGCONT)

    return go_on


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Freeze a process and all its children inside the block."""
    go_on = freeze(pid)
    try:
        yield
    finally:
        go_on()


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        os.kill(process.pid, number) if process.is_running() else None
