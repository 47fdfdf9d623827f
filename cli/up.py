"""Bring the embedded stack up and down."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from cli import terminal
from cli.commands.keys import KEY, api_key
from cli.commands.options import require_offset
from cli.hints import saga
from cli.readiness import still_unreadable
from cli.tour import Tour, drive
from embedded import state
from embedded.errors import StackError
from embedded.ports import require_free
from embedded.supervisor import StateChange, Supervisor
from stack import local
from stack.addresses import Ports
from stack.settings import Settings, load
from stack.ways import ways

START_WITHIN = 120.0  # seconds
STOP_MARGIN = 30.0  # seconds, beside what the programs have to stop
DETACHED_LOG = "saga-up.log"


def attached(data: Path, port_offset: int, *, tour: bool, cuttable: bool, servers_only: bool) -> None:
    """Run the stack in the foreground until a signal. Raises StackError, at the end also for a failed tour."""
    terminal.forgive()
    console = terminal.console()
    began = time.monotonic()
    _refuse_early(data, port_offset, servers_only=servers_only)
    state.make_folder(data)
    settings = load()
    toured = _toured(settings) if tour else None
    secrets = local.Secrets.of(data)
    urls = local.urls(port_offset, secrets)
    environ = {**os.environ, **(toured.environ if toured else {})}
    services = local.services(
        data, port_offset, secrets, environ, shutdown_timeout=settings.shutdown_timeout, cuttable=cuttable
    )
    supervisor = Supervisor(
        data=data,
        programs=[*local.servers(data, port_offset, secrets), *(() if servers_only else services)],
        ways=ways(port_offset) if cuttable else (),
        urls=urls,
        on_event=lambda event: _tell(console, event),
    )

    async def then() -> None:
        seconds = time.monotonic() - began
        if servers_only:
            _only_servers(data, stop="Ctrl-C, or elsewhere ")
            return
        console.print(f"{await asyncio.to_thread(_readiness, urls)} after {seconds:.1f} s\n", soft_wrap=True)
        if toured:
            try:
                await asyncio.to_thread(_tour, toured, urls)
            except StackError as error:  # on a busy machine an order may time out, and the stack is still useful
                terminal.complain(str(error))
                missed.append(error)
        _links(console, urls, data, stop="Ctrl-C, or elsewhere ")

    missed: list[StackError] = []
    asyncio.run(supervisor.run_until_signal(then))
    console.print("Everything is stopped; the data are kept.")
    if missed:
        raise missed[0]


def detached(data: Path, port_offset: int, *, tour: bool, cuttable: bool, servers_only: bool) -> None:
    """Start the stack in the background. Return when it is ready and the tour, if wanted, is done.

    Raises StackError if the stack ends early. Raises it also if the tour fails; the stack runs on then.
    """
    _refuse_early(data, port_offset, servers_only=servers_only)
    toured = _toured(load()) if tour else None
    state.make_folder(data)
    log = data / "logs" / DETACHED_LOG
    chosen = [name for name, wanted in (("--cuttable", cuttable), ("--servers-only", servers_only)) if wanted]
    arguments = ["up", "--data", str(data), "--port-offset", str(port_offset), *chosen]
    if (known := state.running(data)) is not None:  # it writes to that log
        raise StackError(f"A stack already runs on {data} (pid {known['pid']}): stop it with {saga('down', data)}")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(toured.environ if toured else {})},
        )
    for number in (signal.SIGTERM, signal.SIGHUP):  # they stop what was begun, as Ctrl-C does
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        known = _when_ready(process, data, log)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if servers_only:
        _only_servers(data, stop="")
        return
    console = terminal.console()
    console.print(_readiness(known["urls"]) + ("\n" if toured else ""), soft_wrap=True)
    if toured:
        _tour(toured, known["urls"])
    _links(console, known["urls"], data, stop="")


def _toured(settings: Settings) -> Tour:
    """The tour. Raises StackError if the gateway asks for a key, and there is none to show it."""
    if settings.api_keys and not api_key():
        raise StackError(f"The tour needs an API key, since SAGA_API_KEYS is set: set {KEY} to one of those keys")
    return Tour.of(settings)


def _when_ready(process: subprocess.Popen[bytes], data: Path, log: Path) -> dict[str, Any]:
    """The state of the stack that this process starts, when it is ready. Raises StackError if it ends before."""
    deadline = time.monotonic() + START_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines() or ["it wrote nothing"]
            raise StackError(lines[-1].removeprefix("saga: "))
        known = state.read(data)
        if known and known["pid"] == process.pid and known["ready"]:
            return known
        time.sleep(0.05)
    process.terminate()
    process.wait()  # until nothing of it is left
    raise StackError(f"The stack was not ready within {START_WITHIN:g} s; see {data / 'logs'}")


def _refuse_early(data: Path, port_offset: int, *, servers_only: bool) -> None:
    """Raise StackError if the start can't succeed, before anything is made in a new folder."""
    if sys.platform != "linux":
        raise StackError("`saga up` needs Linux. Elsewhere, run it in containers: docker compose up --build")
    if data.exists():
        return
    load()
    ports = vars(Ports.shifted(port_offset))
    require_free({name: port for name, port in ports.items() if not (servers_only and name in local.SERVICES)})
    with TemporaryDirectory() as folder:
        local.servers(Path(folder), port_offset, local.Secrets.of(Path(folder)))


def down(data: Path, port_offset: int | None = None) -> None:
    """Stop the stack on this data and wait for its end. Raises StackError if it doesn't, or has another offset."""
    known = state.running(data)
    if known is None:
        if (data / "lock").exists():
            state.Lock(data).release()  # raises StackError while a stack is just being started
        print(f"Nothing runs on {data}. A stack on another folder is stopped with --data, or SAGA_DATA.")
        return
    require_offset(known["urls"].get("gateway", ""), data, port_offset)
    with suppress(ProcessLookupError):  # it ends by itself just now
        os.kill(known["pid"], signal.SIGTERM)
    within = known["stops_within"] + STOP_MARGIN
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        # The supervisor removes its state first, and ends a moment later. Another one may have begun by then.
        left = state.read(data)
        cleared = left is None or left.get("started") != known["started"]
        if cleared and state.has_ended(known["pid"], known["started"]):
            print("Everything is stopped; the data are kept.")
            return
        time.sleep(0.05)
    raise StackError(f"The stack (pid {known['pid']}) has not stopped within {within:g} s; see {data / 'logs'}")


def _readiness(urls: dict[str, str]) -> str:
    """Whether the stack is ready. Without a service, its gateway takes commands and refuses queries."""
    found = still_unreadable(urlsplit(urls["gateway"]).port or 0)
    if not found:
        return "[bold green]Ready[/]"
    return f"[bold yellow]Ready for commands, not for reads[/] ({'; '.join(found)}; see the gateway's log)"


def _tell(console: Console, event: StateChange) -> None:
    match event.state:
        case "ready":
            console.print(f"  [green]✓[/] {event.name:<10} {event.seconds:5.1f} s")
            if event.detail:
                console.print(f"  [red]![/] {event.name:<10} {event.detail}", soft_wrap=True)
        case "died":
            console.print(
                f"  [red]✗[/] {event.name:<10} died ({event.detail}); it will be started again; see {event.log}",
                soft_wrap=True,
            )
        case "silent" | "frozen" | "cut off" | "no room":
            console.print(f"  [red]✗[/] {event.name:<10} {event.detail}; see {event.log}", soft_wrap=True)


def _tour(tour: Tour, urls: dict[str, str]) -> None:
    terminal.say(f"Watch the tour in the console: {urls['gateway']}/")
    if tour.notice:
        terminal.say(tour.notice)
    drive(tour, urls["gateway"], urls["temporal_ui"], api_key=api_key())
    print()


def _only_servers(data: Path, stop: str) -> None:
    print(f"PostgreSQL, RabbitMQ and Temporal run without our processes. Addresses: {saga('status --json', data)}")
    print(f"Stop:  {stop}{saga('down', data)}", flush=True)


def _links(console: Console, urls: dict[str, str], data: Path, stop: str) -> None:
    password = urls["amqp"].split(":")[2].split("@")[0]
    shown = password if console.is_terminal else f"see {saga('status --json', data)}"  # none in a log
    links = {
        "Console": f"{urls['gateway']}/",
        "API docs": f"{urls['gateway']}/docs",
        "Temporal UI": urls["temporal_ui"],
        "RabbitMQ UI": urls["rabbitmq_ui"],
        "  user": "saga",
        "  password": shown,
        "Logs": str(data / "logs"),
    }
    for name, value in links.items():
        print(f"{name:<13}{value}")
    tried = (saga(each, data) for each in ("order create --total 999 --wait 10", "order list", "status"))
    print("\nTry:   " + "\n       ".join(tried))
    print(f"Stop:  {stop}{saga('down', data)}", flush=True)
