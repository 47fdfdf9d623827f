"""Look at every command line of the machine, again and again, as any user of it may."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final, Self

_EVERY: Final = 0.01  # seconds


class CommandLines:
    """The command lines that were seen while the context was open, of processes that lived for a moment, too."""

    def __init__(self, every: float = _EVERY) -> None:
        """`every` is the pause between two looks, in seconds."""
        self._every = every
        self.seen: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        known: dict[str, bytes] = {}
        while not self._over.wait(self._every):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    line = (process / "cmdline").read_bytes()
                except OSError:  # it has ended
                    continue
                if known.get(process.name) != line:
                    known[process.name] = line
                    self.seen.add(line.replace(b"\0", b" ").decode(errors="replace"))
