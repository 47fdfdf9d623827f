"""The whole embedded stack, started as a user would and shared by the tests of this folder."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import OFFSET


@dataclass(frozen=True)
class Stack:
    """A running stack and its command line."""

    data: Path
    urls: dict[str, str]

    @property
    def gateway(self) -> str:
        return self.urls["gateway"]

    @property
    def offset(self) -> int:
        return int(self.gateway.rpartition(":")[2]) - 3000

    def saga(self, *arguments: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
        return run_saga(*arguments, "--data", str(self.data), check=check, text=text)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.saga(*arguments, "--json").stdout)


def run_saga(*arguments: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    result = subprocess.run(
        [str(Path(sys.executable).parent / "saga"), *arguments],
        capture_output=True,
        text=True,
        input=text,
        timeout=150,
        check=False,
        env={**os.environ, "SAGA_PROVIDER_LATENCY_MS": "100", "SAGA_RETRY_DELAYS": "0.2,0.4"},
    )
    assert not check or result.returncode == 0, (arguments, result.stdout, result.stderr)
    return result


def terminal(columns: int) -> tuple[int, int]:
    """A terminal this wide: our side of it, and the one for a program."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    return ours, theirs


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("stack")
    run_saga("up", "--detach", "--data", str(data), "--port-offset", str(OFFSET + 200))
    try:
        status = json.loads(run_saga("status", "--json", "--data", str(data)).stdout)
        yield Stack(data, status["urls"])
    finally:
        run_saga("down", "--data", str(data))
