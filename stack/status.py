"""Tell how the embedded stack is, and whether this machine can run it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import psutil
from rich.console import Console
from rich.table import Table

from stack import local, postgres, state
from stack.errors import StackError
from stack.ports import Ports, require_free
from stack.program import amqp_greets, http_ok
from stack.readiness import unreadable


def status(data: Path, *, as_json: bool) -> None:
    """Print the state of the stack on this data; exit code 1 unless all of it is ready."""
    report = read(data)
    if as_json:
        print(json.dumps(report))
    else:
        _print(report, data)
    sys.exit(0 if report["ready"] else 1)


def read(data: Path) -> dict[str, Any]:
    """`{"ready", "processes": [{"name", "pid", "port", "healthy"}], "urls"}`; all asked now, nothing remembered."""
    known = state.running(data)
    if known is None:
        return {"ready": False, "processes": [], "urls": {}}
    processes = [
        {"name": each["name"], "pid": each["pid"], "port": each["port"], "healthy": _healthy(each, known["urls"])}
        for each in known["processes"]
    ]
    refused = any(unreadable(each["port"]) for each in processes if each["name"] == "gateway")
    return {
        "ready": bool(known["ready"]) and all(each["healthy"] for each in processes) and not refused,
        "processes": processes,
        "urls": known["urls"],
    }


def _healthy(process: Mapping[str, Any], urls: Mapping[str, str]) -> bool:
    if process["state"] != "ready" or not process["pid"] or not psutil.pid_exists(process["pid"]):
        return False
    match process["name"]:
        case "postgres":
            return postgres.answers(urls["orders_db"])
        case "rabbitmq":
            return amqp_greets(process["port"])
        case "temporal":
            return http_ok(urlsplit(urls["temporal_ui"]).port or 0, "/api/v1/namespaces/default")
        case _:
            return http_ok(process["port"], "/readyz")


def _print(report: dict[str, Any], data: Path) -> None:
    console = Console(highlight=False)
    if not report["processes"]:
        console.print(f"Nothing runs on {data}; start it with: saga up")
        return
    table = Table(box=None)
    for column in ("process", "pid", "port", "healthy"):
        table.add_column(column)
    for each in report["processes"]:
        table.add_row(each["name"], str(each["pid"]), str(each["port"]), "[green]yes" if each["healthy"] else "[red]no")
    console.print(table)
    for each in report["processes"]:
        for why in unreadable(each["port"]) if each["name"] == "gateway" else ():
            console.print(f"[red]The gateway cannot answer reads[/]: {why}", soft_wrap=True)
    for name, url in report["urls"].items():
        if not name.endswith("_db") and name != "amqp":  # those carry passwords; --json has them
            console.print(f"{name:<12} {url}")


def doctor(data: Path, port_offset: int) -> None:
    """Print what `saga up` needs and whether it is there; exit code 1 if something is missing."""
    checks: dict[str, Callable[[], object]] = {
        "PostgreSQL, RabbitMQ and Temporal": lambda: _servers(data, port_offset),
        "ports": lambda: _ports(data, port_offset),
        "room on the disk": lambda: _room(data),
    }
    console = Console(highlight=False)
    failed = False
    for name, check in checks.items():
        try:
            check()
            console.print(f"[green]✓[/] {name}")
        except StackError as error:
            failed = True
            console.print(f"[red]✗[/] {name}: {error}")
    sys.exit(failed)


def _servers(data: Path, port_offset: int) -> None:
    if data.exists():
        local.servers(data, port_offset, local.Secrets.of(data))
        return
    with TemporaryDirectory() as folder:  # looking leaves nothing behind
        local.servers(Path(folder), port_offset, local.Secrets.of(Path(folder)))


def _ports(data: Path, port_offset: int) -> None:
    if not read(data)["processes"]:  # else they are taken by the stack itself
        require_free(vars(Ports.shifted(port_offset)))


def _room(data: Path) -> None:
    folder = next(each for each in (data, *data.absolute().parents) if each.exists())
    free = psutil.disk_usage(str(folder)).free
    if free < 1 << 30:
        raise StackError(f"{folder} has {free >> 20} MiB left; PostgreSQL and RabbitMQ need about 1 GiB")
