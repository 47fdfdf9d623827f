"""Keep a program's output in files of bounded size, and in memory while the disk is full."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

ROTATE_ABOVE: Final = 10 * 1024 * 1024  # bytes; there is one older file of the same size
_READ_AT_ONCE: Final = 64 * 1024
_REMEMBERED: Final = 64 * 1024  # bytes of the end, in memory
_HELD_BACK: Final = 1024 * 1024  # bytes that wait for room on the disk
_OWNER_ALONE: Final = 0o600
_END_WITHIN: Final = 1.0  # seconds


class LogFile:
    """A log that a full disk does not stop. Several threads may use it.

    Output that cannot be written waits in memory, up to 1 MiB, and is written when there is room. The file says how
    many bytes beyond that were lost.
    """

    def __init__(self, path: Path, *, rotate_above: int = ROTATE_ABOVE) -> None:
        self.path = path
        self._rotate_above = rotate_above
        self._lock = threading.Lock()
        self._file: int | None = None
        self._size = 0
        self._end = bytearray()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._lost = 0
        self._follower: threading.Thread | None = None

    def follow(self, pipe: int) -> None:
        """Write all output of the pipe, until no process can write to it any more. Closes the pipe then."""

        def copy() -> None:
            with open(pipe, "rb", buffering=0) as output:
                while data := output.read(_READ_AT_ONCE):
                    self.write(data)

        self._follower = threading.Thread(target=copy, name=f"log {self.path.name}", daemon=True)
        self._follower.start()

    def write(self, data: bytes) -> None:
        """Write the data, or keep it until there is room. Never raises."""
        with self._lock:
            self._end += data
            del self._end[:-_REMEMBERED]
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            self._flush()

    def note(self, text: str) -> None:
        """Write a line of our own, with the present time."""
        self.write(f"--- {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n".encode())

    def last_line(self) -> str:
        """The last line that reports an error, else the last line. It comes from memory, so a full disk hides none.

        If the program has just ended, this waits for the rest of its output, for at most one second.
        """
        if self._follower is not None:
            self._follower.join(_END_WITHIN)
        with self._lock:
            text = bytes(self._end[-4096:]).decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("--- ")]
        errors = [line for line in lines if "FATAL" in line or "error" in line.lower()]
        return (errors or lines or ["it wrote nothing"])[-1]

    def close(self) -> None:
        """Write what still waits, if there is room, and close the file."""
        with self._lock:
            self._flush()
            self._close_file()

    def _flush(self) -> None:
        try:
            while self._waiting:
                if self._lost:
                    self._put(f"--- {self._lost} bytes were lost here: the disk took nothing\n".encode())
                    self._lost = 0
                data = self._waiting[0]
                written = self._put(data)
                self._waiting_bytes -= written
                if written == len(data):
                    self._waiting.popleft()
                else:  # the disk has just become full
                    self._waiting[0] = data[written:]
        except OSError:
            self._close_file()  # the folder may have been replaced meanwhile
        while self._waiting_bytes > _HELD_BACK:
            dropped = len(self._waiting.popleft())
            self._waiting_bytes -= dropped
            self._lost += dropped

    def _put(self, data: bytes) -> int:
        if self._file is not None and self._size + len(data) > self._rotate_above:
            self._close_file()
            self.path.replace(self.path.with_suffix(".log.1"))
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _OWNER_ALONE)
            self._size = os.fstat(self._file).st_size
        written = os.write(self._file, data)
        self._size += written
        return written

    def _close_file(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                os.close(self._file)
            self._file = None
