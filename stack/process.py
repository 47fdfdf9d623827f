"""Run a wired process: serve its port, run its background parts, and finish begun work before it stops."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog
import uvicorn
from fastapi import FastAPI

from api.crowd import Crowd, Network
from api.http_connection import HttpConnection
from embedded.errors import StackError

log = structlog.get_logger()

_SWEEP_EVERY: Final = 5  # uvicorn's ticks, each of a tenth of a second
_IMPATIENT: Final = 1.0  # seconds that a connection may be idle while there are many
_LAST_ANSWERS: Final = 2  # seconds at least to answer the requests under way when all other work is finished
_LAST_SECONDS: Final = 3.0  # for a process to end when its time to finish begun work is over
_CANCELLED_AGAIN: Final = 1.0  # seconds after which a part that has not ended is cancelled again
# Thresholds of the cyclic garbage collector (gc.set_threshold). A finished workflow is a cycle of some 130 objects.
_SEARCHED_SELDOM: Final = (50_000, 20, 50)
_SEARCHED_OFTEN: Final = (10_000, 5, 5)


@dataclass(kw_only=True)
class Wired:
    """A process that is ready to run: its application, its background parts, and what it finishes before it stops."""

    app: FastAPI
    background: list[Coroutine[Any, Any, None]] = field(default_factory=list)
    finish: list[Callable[[float], Awaitable[None]]] = field(default_factory=list)  # each gets its time in seconds
    leaves_cycles: bool = False  # whether it leaves garbage that only the cyclic collector frees, as workflows do


def stop_signal(*, timeout: float) -> asyncio.Event:
    """An event that SIGTERM and SIGINT set.

    From then on the process has `timeout` seconds to finish begun work, and a few more to end. It does not wait longer,
    for example for a database that answers neither a query nor the cancellation of that query.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def told() -> None:
        stop.set()
        # A thread of its own: the loop may be blocked, or a thread that nobody can cancel.
        last = threading.Timer(timeout + _LAST_SECONDS, _end_now, [loop])
        last.daemon = True
        last.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as it is for Ctrl-C in a script's `&`
            loop.add_signal_handler(number, told)
    return stop


def _end_now(loop: asyncio.AbstractEventLoop) -> None:
    with suppress(RuntimeError):  # it changes meanwhile, or is closed already
        held_up = sorted({getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks(loop)})
        log.warning("ended_without_waiting", held_up_by=held_up)
    os._exit(0)


def listen(host: str, port: int, process: str) -> socket.socket:
    """A listening socket. Raises StackError, which names the port, if it is taken: ask before starting anything."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise StackError(
            f"The {process} process cannot listen on {host}:{port}: {error.strerror}. "
            "Stop what uses the port, or choose another with SAGA_PORT"
        ) from None
    return listener


async def serve(
    wired: Wired,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    timeout: float,
    request_timeout: float,
    connections: int,
    proxies: Sequence[Network] = (),
) -> None:
    """Run until `stop` is set, then finish begun work within `timeout` seconds, requests under way included.

    A client has `request_timeout` seconds to begin a request, and as long to send it. There is room for `connections`
    at once, or for as many as leave a quarter of the open files to other uses. From `proxies` come many clients.

    Background parts must run for ever. Raises the error of a part that fails, or RuntimeError if one ends. The process
    then ends, and its supervisor may start it again.
    """
    # Objects that exist now stay for ever. Counting references frees most of what sagas leave behind.
    gc.freeze()
    gc.set_threshold(*(_SEARCHED_OFTEN if wired.leaves_cycles else _SEARCHED_SELDOM))
    crowd = Crowd(min(connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] * 3 // 4), proxies)
    config = uvicorn.Config(
        wired.app,
        http=partial(HttpConnection, crowd=crowd),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # by default uvicorn believes X-Forwarded-For of whoever is on this machine
        date_header=False,
        timeout_graceful_shutdown=_LAST_ANSWERS,
    )
    server = _Server(config, request_timeout, crowd)
    stopping = asyncio.create_task(stop.wait())
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    background = [asyncio.create_task(each) for each in wired.background]
    done, _ = await asyncio.wait({stopping, serving, *background}, return_when=asyncio.FIRST_COMPLETED)
    if stopping in done:
        log.info("stopping")
        deadline = asyncio.get_running_loop().time() + timeout
        for finish in wired.finish:
            await finish(max(0.1, deadline - asyncio.get_running_loop().time()))
        config.timeout_graceful_shutdown = max(_LAST_ANSWERS, round(deadline - asyncio.get_running_loop().time()))
    server.should_exit = True
    await serving
    await _cancel(stopping, *background)
    errors = [error for task in background if not task.cancelled() and isinstance(error := task.exception(), Exception)]
    for error in errors[1:]:
        log.error("part_failed", exc_info=error)
    if errors:
        raise errors[0]
    if not stop.is_set():
        raise RuntimeError("a part of this process has ended, though nobody told it to")
    log.info("stopped")


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks until all have ended. One cancellation can get lost: see `choreography.connection_errors`."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCELLED_AGAIN)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, request_timeout: float, crowd: Crowd) -> None:
        super().__init__(config)
        self._request_timeout = request_timeout
        self._crowd = crowd

    async def on_tick(self, counter: int) -> bool:
        if counter % _SWEEP_EVERY == 0:
            now = asyncio.get_running_loop().time()
            idle = _IMPATIENT if self._crowd.is_dense else self._request_timeout
            for connection in list(self.server_state.connections):
                if isinstance(connection, HttpConnection):
                    connection.sweep(now, sending=self._request_timeout, idle=idle)
        return await super().on_tick(counter)

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Leave signals to `stop_signal`, so that begun work is finished before the server stops answering."""
        return nullcontext()
