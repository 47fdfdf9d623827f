"""A stack for a measurement alone, started and stopped by `saga up` and `saga down` as users do."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import make_conninfo

from embedded import state
from embedded.errors import StackError
from stack.local import Secrets

Superuser: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]

_BACK_WITHIN: Final = 60.0  # seconds
_POLL: Final = 0.02  # seconds
# Latencies end with the commit of an order's last status: the server has to keep the times of commits.
_SERVER_SETTINGS: Final = ("track_commit_timestamp", "track_wal_io_timing")


class StackFailed(StackError):
    """A `saga` command on the measurement's stack has failed, with the last line that it wrote."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A stack that is up: where it is, its processes, and whether one of them is ready. URLs have passwords."""

    data: Path
    ports: Mapping[str, int]
    urls: Mapping[str, str]

    @property
    def rabbitmq_api(self) -> str:
        """The URL of the management API, with user and password."""
        login = self.urls["amqp"].split("//")[1].split("@")[0]
        return self.urls["rabbitmq_ui"].replace("//", f"//{login}@") + "/api"

    def pids(self) -> dict[str, int]:
        """The process ids of this moment. A part that is killed comes back under another."""
        return {name: each["pid"] for name, each in _processes(self.data).items() if each["pid"] is not None}

    def ready(self, name: str) -> bool:
        return bool(_processes(self.data)[name]["state"] == "ready")

    async def kill(self, name: str) -> tuple[float, float]:
        """Kill a part -9; the supervisor starts it again. Returns when it was killed, and when it was ready again.

        Both are in seconds since the epoch. Raises TimeoutError.
        """
        pid = self.pids()[name]
        killed = time.time()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        while not (self.pids().get(name) not in (None, pid) and self.ready(name)):
            if time.time() - killed > _BACK_WITHIN:
                raise TimeoutError(f"{name} was killed and is not ready again after {_BACK_WITHIN:g} s; see its log")
            await asyncio.sleep(_POLL)
        return killed, time.time()


def _processes(data: Path) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in (state.read(data) or {"processes": ()})["processes"]}


class OwnStack:
    """One stack on a folder of data; `environ` is the environment of its commands."""

    def __init__(self, data: Path, port_offset: int, environ: Mapping[str, str]) -> None:
        self._data = data
        self._port_offset = port_offset
        self._environ = environ

    async def up(self, **environ: str) -> tuple[Running, float]:
        """Start the stack. Returns the seconds until all of it was ready. Raises StackFailed."""
        began = time.monotonic()
        arguments = ("--detach", "--data", str(self._data), "--port-offset", str(self._port_offset))
        await self._saga("up", *arguments, environ=environ)
        seconds = time.monotonic() - began
        ports = {name: each["port"] for name, each in _processes(self._data).items()}
        return Running(data=self._data, ports=ports, urls=(state.read(self._data) or {})["urls"]), seconds

    async def up_keeping_times(self, **environ: str) -> Running:
        """Start it so that its database server keeps the times of commits and flushes. Raises StackFailed."""
        running, _ = await self.up(**environ)
        await self.keep_times(running)
        await running.kill("postgres")  # it comes back with its new settings
        return running

    @property
    def internal_token(self) -> str:
        """The token for the services' own ports, once the stack has been up."""
        return Secrets.of(self._data).internal_token

    async def down(self) -> None:
        """Stop the stack if it runs. Its data stay."""
        await self._saga("down", "--data", str(self._data))

    async def keep_times(self, running: Running) -> None:
        """Have the server keep the times of commits and flushes from its next start on; that costs next to nothing."""
        async with self.superuser(running) as connection:
            for name in _SERVER_SETTINGS:
                await connection.execute(f"ALTER SYSTEM SET {name} = on")

    @asynccontextmanager
    async def superuser(self, running: Running) -> AsyncIterator[Superuser]:
        """A connection that may do all; it has no way in but the socket in the data's own folder."""
        socket, port = self._data.absolute() / "postgres", urlsplit(running.urls["orders_db"]).port
        where = make_conninfo(host=str(socket), port=port, user="postgres", dbname="postgres")
        async with await psycopg.AsyncConnection.connect(where, autocommit=True) as connection:
            yield connection

    @asynccontextmanager
    async def scratch_database(self, running: Running, name: str) -> AsyncIterator[str]:
        """An empty database of the same server until the end of the context: its URL, with a service's way in."""
        async with self.superuser(running) as connection:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await connection.execute(f"CREATE DATABASE {name} OWNER orders")
            try:
                yield urlsplit(running.urls["orders_db"])._replace(path=f"/{name}").geturl()
            finally:
                await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _saga(self, *arguments: str, environ: Mapping[str, str] | None = None) -> bytes:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "cli"),  # nothing is loaded from the working directory
            *arguments,
            env={**self._environ, **(environ or {})},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            told, wrong = await process.communicate()
        except asyncio.CancelledError:
            await process.wait()  # what is half started could not be stopped
            raise
        if process.returncode:
            lines = wrong.decode(errors="replace").strip().splitlines() or ["it wrote nothing"]
            raise StackFailed(f"`saga {arguments[0]}` failed: {lines[-1].removeprefix('saga: ')}")
        return told
