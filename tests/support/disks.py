"""A disk of its own for a test, small enough to be filled for real."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_BALLAST: Final = "ballast"
_BLOCK: Final = b"\0" * 4096


@contextmanager
def small_disk(at: Path, mebibytes: int) -> Iterator[Path]:
    """A file system in memory with a fixed size. Needs root, or sudo without a password."""
    at.mkdir(parents=True)
    sudo = () if os.geteuid() == 0 else ("sudo", "-n")
    owner = f"uid={os.getuid()},gid={os.getgid()},mode=755"
    subprocess.run([*sudo, "mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,{owner}", "saga-test", at], check=True)
    try:
        yield at
    finally:
        subprocess.run([*sudo, "umount", "--lazy", at], check=True)


def fill(disk: Path) -> Callable[[], None]:
    """Fill the disk to the last byte. Call the result to make room again."""
    ballast = disk / _BALLAST
    with ballast.open("wb", buffering=0) as file:
        for block in (_BLOCK * 256, _BLOCK):
            with suppress(OSError):
                while True:
                    file.write(block)
    return ballast.unlink
