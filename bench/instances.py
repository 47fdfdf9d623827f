"""Start more instances of the services beside a stack, each a process of its own on a port of its own."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from bench.http_client import HttpClient
from bench.own_stack import Running, StackFailed

REPLICATED: Final[Sequence[str]] = ("order", "payment")
_FIRST_PORT: Final[Mapping[str, int]] = {"order": 3011, "payment": 3021}  # before the stack's offset
_READY_WITHIN: Final = 60.0  # seconds
_STOPPED_WITHIN: Final = 15.0  # seconds
_POLL: Final = 0.1  # seconds


@asynccontextmanager
async def more(running: Running, number: int, *, port_offset: int, environ: Mapping[str, str]) -> AsyncIterator[None]:
    """So many more instances of each service, ready, until the end of the context. Raises StackFailed."""
    started: list[asyncio.subprocess.Process] = []
    try:
        for service in REPLICATED:
            for place in range(number):
                port = _FIRST_PORT[service] + place + port_offset
                started.append(await _start(running, service, port, environ))
        yield
    finally:
        for process in started:
            with suppress(ProcessLookupError):
                process.terminate()
        for process in started:
            await _ended(process)


async def _start(running: Running, service: str, port: int, environ: Mapping[str, str]) -> asyncio.subprocess.Process:
    urls = running.urls
    database = {"order": "SAGA_ORDERS_DATABASE_URL", "payment": "SAGA_PAYMENTS_DATABASE_URL"}[service]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "cli", "run", service),
        env={
            **environ,
            "SAGA_HOST": "127.0.0.1",
            "SAGA_PORT": str(port),
            "SAGA_AMQP_URL": urls["amqp"],
            "SAGA_TEMPORAL_ADDRESS": urls["temporal"],
            database: urls["orders_db" if service == "order" else "payments_db"],
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _ready(process, service, port)
    except BaseException:  # also when told to stop: nobody else knows of it yet
        with suppress(ProcessLookupError):
            process.terminate()
        await _ended(process)
        raise
    return process


async def _ready(process: asyncio.subprocess.Process, service: str, port: int) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    async with HttpClient(f"http://127.0.0.1:{port}", timeout=2.0) as client:
        while (await client.request("GET", "/readyz")).status != 200:
            if process.returncode is not None or time.monotonic() > deadline:
                raise StackFailed(f"Another {service} service on port {port} did not become ready; is the port taken?")
            await asyncio.sleep(_POLL)


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), _STOPPED_WITHIN)
    except TimeoutError:
        process.kill()
        await process.wait()
