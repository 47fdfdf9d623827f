"""Tell the state of the embedded stack, and whether this machine can run it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import psutil

from cli.commands.keys import api_key
from cli.commands.options import require_offset
from cli.hints import saga
from cli.printed_tables import echo_table
from cli.readiness import unreadable
from cli.terminal import say
from embedded import postgres, state
from embedded.errors import StackError
from embedded.ports import require_free
from embedded.program import amqp_greets, http_ok
from stack import local
from stack.addresses import Ports
from stack.settings import load


def status(data: Path, port_offset: int | None = None, *, as_json: bool) -> None:
    """Print the state of the stack on this data; exit code 1 unless all of it is ready. Raises StackError."""
    report = read(data)
    if report["processes"]:
        require_offset(report["urls"].get("gateway", ""), data, port_offset)
    if as_json:
        print(json.dumps(report))
    else:
        _print(report, data)
    sys.exit(0 if report["ready"] else 1)


def read(data: Path) -> dict[str, Any]:
    """`{"ready", "processes": [{"name", "pid", "port", "healthy"}], "urls"}`, all as it is now."""
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
    if not report["processes"]:
        print(f"Nothing runs on {data}; start it with: {saga('up', data)}")
        return
    names = ("name", "pid", "port")
    rows = ([*map(each.get, names), "yes" if each["healthy"] else "no"] for each in report["processes"])
    echo_table(("PROCESS", "PID", "PORT", "HEALTHY"), rows)
    for each in report["processes"]:
        for why in unreadable(each["port"]) if each["name"] == "gateway" else ():
            say(f"The gateway cannot answer reads: {why}")
    print()
    for name, url in report["urls"].items():
        if not name.endswith("_db") and name != "amqp":  # these hold passwords; --json shows them
            print(f"{name:<12} {url}")


def doctor(data: Path, port_offset: int) -> None:
    """Print what `saga up` needs and whether it is there; exit code 1 if something is missing."""
    checks: dict[str, Callable[[], object]] = {
        "PostgreSQL, RabbitMQ and Temporal": lambda: _servers(data, port_offset),
        "configuration": lambda: (load(), api_key()),
        "ports": lambda: _ports(data, port_offset),
        "room on the disk": lambda: _room(data),
    }
    failed = False
    for name, check in checks.items():
        try:
            check()
            print(f"✓ {name}")
        except StackError as error:
            failed = True
            say(f"✗ {name}: {error}")
    sys.exit(failed)


def _servers(data: Path, port_offset: int) -> None:
    if data.exists():
        local.servers(data, port_offset, local.Secrets.of(data))
        return
    with TemporaryDirectory() as folder:  # a check must leave no files behind
        local.servers(Path(folder), port_offset, local.Secrets.of(Path(folder)))


def _ports(data: Path, port_offset: int) -> None:
    if not read(data)["processes"]:  # else the stack itself uses them
        require_free(vars(Ports.shifted(port_offset)))


def _room(data: Path) -> None:
    folder = next(each for each in (data, *data.absolute().parents) if each.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise StackError(f"{folder} is not a folder that you may write to; choose another with --data")
    free = psutil.disk_usage(str(folder)).free
    if free < 1 << 30:
        raise StackError(f"{folder} has {free >> 20} MiB left; PostgreSQL and RabbitMQ need about 1 GiB")
