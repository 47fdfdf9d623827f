"""Have a program's processes stand still for some time, and go on in any case: also if we do not live to see it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import Final

import psutil

# It is no child of the program, and outlives us if we are killed. A pid that is in use again gets what changes nothing.
_LATER: Final = 'sleep "$0"; kill -CONT "$@" 2>/dev/null'
_GRACE: Final = 1.0  # seconds that the guard leaves us to do it ourselves


class Frozen:
    """The processes of one program, standing still from now on until `resume`, or until the guard lets them go on."""

    def __init__(self, pid: int, seconds: float) -> None:
        """Freeze the process and all that it started, also those with sessions of their own. Raises psutil.Error."""
        root = psutil.Process(pid)
        root.suspend()  # first: then it starts no others
        self._processes = [root, *root.children(recursive=True)]
        for each in self._processes:
            with contextlib.suppress(psutil.Error):
                each.suspend()
        pids = [str(each.pid) for each in self._processes]
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _LATER, str(seconds + _GRACE), *pids],
            env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def resume(self) -> None:
        """Let them go on; those that have ended are left out."""
        for each in reversed(self._processes):
            with contextlib.suppress(psutil.Error):
                each.resume()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._guard.pid, 9)  # its `sleep`, too
        self._guard.wait()
