"""No secret of a running stack stands where others could read it: on a command line, in a log, in an open file."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import psycopg
import pytest

from stack.local import Secrets
from tests.support.command_lines import CommandLines
from tests.support.secrecy import found_in, logs_in, open_files, secrets_of
from tests.support.stack import Stack, publish, run_saga
from tests.support.waiting import until

COMMANDS = [
    ("status",),
    ("audit", "--timelines", "all"),
    ("dead-letters", "list"),
    ("events", "list", "--since", "1h"),
    ("order", "list"),
    ("doctor",),
]


def test_no_command_line_shows_a_secret(stack: Stack, started: CommandLines) -> None:
    """Not while the stack starts for the first time, with all that the servers start, nor while commands run."""
    for program in ("initdb", "postgres -D", "beam.smp", "temporal server", "cli run payment"):
        assert any(program in line for line in started.seen), program
    with CommandLines() as later:
        for command in COMMANDS:
            stack.saga(*command, check=False)
    assert any("dead-letters list" in line for line in later.seen)
    lines = [(line[:60], line) for line in started.seen | later.seen]
    assert found_in(secrets_of(stack.data), lines) == []


def test_no_log_shows_a_secret_whatever_goes_wrong(stack: Stack) -> None:
    """That somebody was refused is logged; what the refused one has shown is not."""
    publish(stack, "payment.approved", b"poison")
    until(lambda: stack.json("dead-letters", "list")["data"], what="the poison is a dead letter")
    stack.saga("dead-letters", "discard", "--all", "--yes")
    secrets = Secrets.of(stack.data)
    for url in (
        stack.urls["orders_db"].removesuffix("/orders") + "/payments",
        stack.urls["orders_db"].replace(secrets.orders, secrets.payments),
    ):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
    login = ("nobody", secrets.broker)
    assert httpx.get(f"{stack.urls['rabbitmq_ui']}/api/whoami", auth=login, timeout=10).status_code == 401
    order_port = {each["name"]: each["port"] for each in stack.json("status")["processes"]}["order"]
    shown = {"Authorization": f"Bearer {secrets.internal_token}"}
    assert httpx.get(f"http://127.0.0.1:{order_port}/orders?limit=0", headers=shown, timeout=10).status_code == 422
    logs = logs_in(stack.data)
    assert {Path(name).stem for name, _ in logs} >= {"postgres", "rabbitmq", "temporal", "order", "gateway", "worker"}
    assert "permission denied for database" in dict(logs)[str(stack.data / "logs" / "postgres.log")]
    assert found_in(secrets_of(stack.data), logs) == []


def test_only_the_owner_reads_what_holds_a_secret(stack: Stack) -> None:
    assert found_in(secrets_of(stack.data), open_files(stack.data)) == []


def test_a_search_that_is_to_find_secrets_finds_them(stack: Stack) -> None:
    shown = json.dumps(stack.json("status"))
    found = found_in(secrets_of(stack.data), [("status --json", shown)])
    assert found == ["status --json: broker", "status --json: orders", "status --json: payments"]
    assert found_in(secrets_of(stack.data), [("status", run_saga("status", "--data", str(stack.data)).stdout)]) == []
