"""The commands of docs/restoring.md heal a lost store and an older database (docs/failures.md, row 50)."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import psycopg
import pytest

from embedded import postgres_binaries
from stack.addresses import Ports
from tests.support.freezing import frozen
from tests.support.messages import USER
from tests.support.own_stack import ENDS, OwnStack
from tests.support.ports import OFFSET
from tests.support.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

PAGE: Final = Path(__file__).parents[2] / "docs" / "restoring.md"
BACKUPS: Final = PAGE.parent / "operations" / "backups.md"
PAID: Final = {"userId": USER, "total": 999, "paymentMethod": "pm_card_visa"}
DECLINED: Final = {**PAID, "paymentMethod": "pm_card_chargeDeclined"}
ORCHESTRATED: Final = {**PAID, "coordinator": "orchestration"}
LIVE: Final = ("--at-rest", "--grace", "1")  # with the patience of a test


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[OwnStack]:
    stack = OwnStack(tmp_path / "data", OFFSET + 420)
    stack.up()
    try:
        yield stack
    finally:
        stack.down()


def follow(stack: OwnStack, section: str) -> list[str]:
    """Run the commands of a section of the page as they stand there. Returns the output of each."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (commands,) = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [stack.saga(*shlex.split(line)[1:], check=False).stdout for line in commands.splitlines()]


def test_50_a_broker_that_lost_its_store_is_told_again(stack: OwnStack) -> None:
    """Sagas of both coordinators that waited for the payment service or for their mirrors end."""
    before = [stack.post(**PAID), stack.post(**ORCHESTRATED)]
    stack.wait_over(before, "PAID")
    with frozen(stack.living()["worker"]), frozen(stack.living()["payment"]):
        waiting = [stack.post(**each) for each in (PAID, DECLINED, PAID)]
        until(lambda: [stack.status(each) for each in waiting] == ["PENDING_PAYMENT"] * 3, what="they are stored")
        stack.down()
    shutil.rmtree(stack.data / "rabbitmq" / "mnesia")
    stack.up()
    until(
        lambda: stack.audit(*LIVE, "--timelines", "all")[1].keys() >= {"sagas end"},
        what="the audit says that they stand still",
    )
    follow(stack, "RabbitMQ lost its store")
    stack.wait_over(waiting, "PAID", "CANCELLED", within=60)
    assert [stack.status(each) for each in (*waiting, *before)] == ["PAID", "CANCELLED", "PAID", "PAID", "PAID"]
    stack.audit_holds("--timelines", "all")


def test_50_a_temporal_that_lost_its_store_has_its_mirrors_again_and_the_other_workflows_are_listed(
    stack: OwnStack,
) -> None:
    """Mirrors are made anew. An orchestrated saga has lost its workflow, and still has its end and its timeline."""
    over, orchestrated = [stack.post(**PAID), stack.post(**DECLINED)], stack.post(**ORCHESTRATED)
    stack.wait_over([*over, orchestrated])
    with frozen(stack.living()["payment"]):
        forgotten = stack.post(**ORCHESTRATED)
        until(lambda: stack.status(forgotten) == "PENDING_PAYMENT", what="its first step is taken")
        stack.down()
    shutil.rmtree(stack.data / "temporal")
    stack.up(payment_timeout="20")

    def missed() -> bool:
        violated = stack.audit(*LIVE, "--timelines", "all")[1]
        assert set(violated["every saga has a workflow"]) >= {*over, orchestrated}
        return True

    until(missed, what="the audit misses their workflows")
    follow(stack, "Temporal lost its store")
    stack.wait_over([forgotten], "CANCELLED")

    def the_rest_is_listed() -> bool:
        code, violated = stack.audit(*LIVE, "--timelines", "all")
        assert (code, set(violated)) == (1, {"every saga has a workflow"})
        assert set(violated["every saga has a workflow"]) == {orchestrated, forgotten}
        return True

    until(the_rest_is_listed, within=120, what="only what no command can mend is listed")
    assert stack.story(orchestrated)[-1] == "OrderPaid"
    stack.audit_holds()


def test_50_payments_restored_from_an_older_copy_are_made_anew(stack: OwnStack) -> None:
    """Payments newer than the copy are made anew, a refund is repeated, and an orchestrated saga is listed."""
    refunded = stack.post(**PAID)
    stack.wait_over([refunded], "PAID")
    restore = copied(stack, "payments")
    stack.saga("order", "cancel", refunded)
    stack.wait_over([refunded], "CANCELLED")
    since, orchestrated = [stack.post(**PAID), stack.post(**DECLINED)], stack.post(**ORCHESTRATED)
    stack.wait_over([*since, orchestrated])
    restore()
    first, *_ = follow(stack, "The payments' database is an older copy")
    assert all(each in first for each in (since[0], orchestrated))

    def healed() -> bool:
        assert stack.audit(*LIVE, "--timelines", "0")[1] == {"a paid order has an approved payment": [orchestrated]}
        return True

    until(healed, within=120, what="only the orchestrated one is left")
    assert [stack.status(each) for each in (refunded, *since)] == ["CANCELLED", "PAID", "CANCELLED"]
    stack.saga("order", "cancel", orchestrated)
    stack.audit_holds()


def test_50_orders_restored_from_an_older_copy_reach_their_ends_and_the_rest_is_listed(stack: OwnStack) -> None:
    refunded = stack.post(**PAID)
    stack.wait_over([refunded], "PAID")
    with frozen(stack.living()["payment"]):
        pending = stack.post(**PAID)
        until(lambda: stack.status(pending) == "PENDING_PAYMENT", what="it is stored")
        restore = copied(stack, "orders")
    stack.saga("order", "cancel", refunded)
    lost = stack.post(**PAID)
    stack.wait_over([pending, lost], "PAID")
    stack.wait_over([refunded], "CANCELLED")
    restore()
    older = ["PENDING_PAYMENT", "PAID"]
    until(lambda: [stack.status(each) for each in (pending, refunded)] == older, what="they stand where they stood")
    follow(stack, "The orders' database is an older copy")
    stack.wait_over([pending], "PAID")
    stack.saga("order", "cancel", refunded)
    stack.wait_over([refunded], "CANCELLED")

    def the_rest_is_listed() -> bool:
        code, violated = stack.audit(*LIVE, "--timelines", "all")
        assert (code, set(violated["payments follow from orders"])) == (1, {lost})
        # Its last event was logged a second time, later: its mirror tells of the first time.
        assert {name for name, ids in violated.items() if pending in ids} <= {"timelines equal the event logs"}, (
            violated
        )
        return True

    until(the_rest_is_listed, within=120, what="only what no command can mend is listed")


def test_50_dumps_of_both_databases_are_put_in_place_and_agree_again(stack: OwnStack, tmp_path: Path) -> None:
    """The payments were copied first; a choreographed order between the copies gets its payment again."""
    taking, coming_back, _in_compose, healing = commands_of_backups()
    settled = [stack.post(**PAID), stack.post(**DECLINED), stack.post(**ORCHESTRATED)]
    stack.wait_over(settled)
    _umask, copy_payments, copy_orders = taking
    in_shell(stack, copy_payments, tmp_path)
    between = stack.post(**PAID)
    stack.wait_over([between], "PAID")
    in_shell(stack, copy_orders, tmp_path)
    stack.saga("order", "cancel", settled[0])
    lost = stack.post(**PAID)
    stack.wait_over([lost], "PAID")
    stack.wait_over([settled[0]], "CANCELLED")
    stack.down()
    stack.saga("up", "--detach", "--servers-only", "--port-offset", str(stack.offset))
    for command in coming_back:
        in_shell(stack, command, tmp_path)
    stack.down()
    stack.up()
    assert stack.status(lost) not in ENDS, "what came after the copy is lost"
    for command in healing:
        stack.saga(*shlex.split(command)[1:], check=False)
    stack.audit_holds()
    assert [stack.status(each) for each in (*settled, between)] == ["PAID", "CANCELLED", "PAID", "PAID"]


def commands_of_backups() -> list[list[str]]:
    """The commands of docs/operations/backups.md, block by block."""
    blocks = re.findall(r"^```\n(.*?)^```", BACKUPS.read_text(), re.MULTILINE | re.DOTALL)
    return [block.splitlines() for block in blocks]


def in_shell(stack: OwnStack, command: str, folder: Path) -> None:
    """Run a line as it stands there, in this folder."""
    urls = {"ORDERS": stack.urls["orders_db"], "PAYMENTS": stack.urls["payments_db"]}
    path = f"{postgres_binaries.installed()}:{os.environ['PATH']}"
    env = {**os.environ, **urls, "PATH": path}
    done = subprocess.run(command, shell=True, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def copied(stack: OwnStack, database: str) -> Callable[[], None]:
    """Copy a database as it is now. Call the result to put the copy in its place."""
    with superuser(stack) as admin:
        admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        end_connections(admin, database)
        admin.execute(f"CREATE DATABASE copy OWNER {database} TEMPLATE {database}")
        admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")

    def restore() -> None:
        with superuser(stack) as admin:
            admin.execute(f"DROP DATABASE {database} WITH (FORCE)")
            admin.execute(f"ALTER DATABASE copy RENAME TO {database}")

    return restore


def superuser(stack: OwnStack) -> psycopg.Connection:
    port = Ports.shifted(stack.offset).postgres
    return psycopg.connect(f"host={stack.data}/postgres port={port} user=postgres dbname=postgres", autocommit=True)


def end_connections(admin: psycopg.Connection, database: str) -> None:
    def ended() -> bool:
        found = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database]
        ).fetchall()
        return not found

    until(ended, what=f"nobody is connected to {database}")
