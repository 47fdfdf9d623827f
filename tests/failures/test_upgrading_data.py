"""A stack goes on with a folder of an earlier version; data that it can't read are refused, and come by dumps."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import aio_pika
import psycopg
import pytest

from embedded import postgres_binaries
from models.saga import Coordinator
from stack import local
from stack.rights import USERS
from tests.support.messages import USER
from tests.support.own_stack import SETTINGS, OwnStack
from tests.support.ports import OFFSET
from tests.support.tls_servers import installed as of_the_system
from tests.support.version_before import VersionBefore
from tests.support.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "operations" / "upgrading-data.md"
BOTH: Final = tuple(Coordinator)
# Patient enough that what waits for a provider is still under way when the stack stops.
PATIENT: Final = {"SAGA_RETRY_DELAYS": "2,4,8"}
# `saga up` as a version with another PostgreSQL would run it.
WITH_OTHER_POSTGRES: Final = """
import sys
from pathlib import Path
from embedded import postgres
folder = sys.argv.pop(1)
postgres.installed = lambda: Path(folder)
from cli.app import main
main()
"""


def body(method: str, coordinator: Coordinator) -> dict[str, Any]:
    return {"userId": USER, "total": 999, "paymentMethod": method, "coordinator": coordinator.value}


@contextmanager
def running(stack: OwnStack, *command: str, source: Path, env: dict[str, str]) -> Iterator[None]:
    """A stack that a command of another version, with its source in this folder, runs in the foreground."""
    arguments = (*command, "up", "--data", str(stack.data), "--port-offset", str(stack.offset))
    stack.data.mkdir(mode=0o711)
    said = stack.data.parent / "up.log"
    with said.open("wb") as log:
        settings = {**os.environ, **SETTINGS, **env, "PYTHONPATH": str(source)}
        process = subprocess.Popen(arguments, stdout=log, stderr=log, env=settings, cwd=source)
    try:
        until(lambda: "Ready after" in said.read_text(), within=180, what="it is ready")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def commands(number: int) -> list[str]:
    """The commands of a block of the page."""
    block = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[number]
    return list(block.splitlines())


def in_shell(stack: OwnStack, command: str, folder: Path, programs: Path) -> None:
    """Run a line of the page as it stands there."""
    where = {
        "PG": str(programs),
        "ORDERS": stack.urls["orders_db"],
        "PAYMENTS": stack.urls["payments_db"],
        "DATA": str(stack.data),
        "SAGA_DATA": str(stack.data),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    env = {**os.environ, **SETTINGS, **where}
    if command == "saga up --detach":
        command += f" --port-offset {stack.offset}"
    done = subprocess.run(command, shell=True, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])


def connects(stack: OwnStack, user: str) -> bool:
    """Whether the broker knows this user with the password that its process is told."""
    url = local.broker_url(stack.offset, local.Secrets.of(stack.data), user)

    async def connect() -> bool:
        async with await aio_pika.connect(url) as connection:
            return not connection.is_closed

    return asyncio.run(connect())


def owner_of(stack: OwnStack, database: str) -> str:
    with psycopg.connect(stack.urls[f"{database}_db"]) as connection:
        found = connection.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [database])
        return str((found.fetchone() or ("",))[0])


def poison(stack: OwnStack) -> None:
    """A message that becomes a dead letter."""

    async def send() -> None:
        async with await aio_pika.connect(stack.urls["amqp"]) as connection:
            exchange = await (await connection.channel()).get_exchange("payments.exchange", ensure=False)
            await exchange.publish(aio_pika.Message(b"poison"), "payment.approved")

    asyncio.run(send())


def test_a_stack_of_an_earlier_version_goes_on_with_all_that_it_had(tmp_path: Path) -> None:
    before, stack = VersionBefore(tmp_path / "before"), OwnStack(tmp_path / "data", OFFSET + 120)
    with running(stack, *before.program, source=before.folder, env=PATIENT):
        ended = {
            stack.post(**body(method, coordinator)): end
            for coordinator in BOTH
            for method, end in (
                ("pm_card_visa", "PAID"),
                ("pm_card_chargeDeclined", "CANCELLED"),
                ("pm_error", "FAILED"),
            )
        }
        stack.wait_over([*ended])
        poison(stack)
        pending = [stack.post(**body("pm_unavailable", coordinator)) for coordinator in BOTH]
        stack.wait_over(pending, "PENDING_PAYMENT")
    stack.up(**{name.removeprefix("SAGA_").lower(): value for name, value in PATIENT.items()})
    try:
        assert {order_id: stack.status(order_id) for order_id in ended} == ended
        assert "MALFORMED" in stack.saga("dead-letters", "list").stdout
        assert [user for user in USERS if not connects(stack, user)] == []
        assert {owner_of(stack, database) for database in ("orders", "payments")} == {"postgres"}
        fresh = [stack.post(**body("pm_card_visa", coordinator)) for coordinator in BOTH]
        paid = [order_id for order_id, end in ended.items() if end == "PAID"]
        for order_id in paid:
            stack.saga("order", "cancel", order_id)
        stack.wait_over(fresh, "PAID")
        stack.wait_over(paid, "CANCELLED")
        stack.wait_over(pending, "FAILED", within=180)
        stack.saga("dead-letters", "discard", "--all", "--yes")
        stack.audit_holds()
        assert all("PaymentRefunded" in stack.story(order_id) for order_id in paid)
    finally:
        stack.down()


@pytest.fixture
def enterable() -> Iterator[Path]:
    """A folder that every user may enter: PostgreSQL 15 looks up the path of its folder, and later ones don't."""
    with TemporaryDirectory(prefix="upgrading-data-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(of_the_system() is None, reason="needs another PostgreSQL: apt-get install postgresql")
def test_data_of_another_postgres_are_refused_and_come_by_the_dumps_of_the_page(
    enterable: Path, tmp_path: Path
) -> None:
    stack, theirs, ours = OwnStack(enterable / "data", OFFSET + 120), of_the_system(), postgres_binaries.installed()
    assert theirs is not None
    _, taking, putting, *_ = (commands(number) for number in range(3))
    with running(stack, sys.executable, "-c", WITH_OTHER_POSTGRES, str(theirs), source=ROOT, env={}):
        orders = [stack.post(**body(method, each)) for each in BOTH for method in ("pm_card_visa", "pm_error")]
        stack.wait_over(orders)
        ends = [stack.status(order_id) for order_id in orders]
        stack.audit_holds()
        for command in taking:
            if command.startswith('"$PG'):
                in_shell(stack, command, tmp_path, theirs)
    refused = stack.saga("up", "--detach", "--port-offset", str(stack.offset), check=False)
    assert refused.returncode == 1
    assert "can't read it" in refused.stderr and "docs/operations/upgrading-data.md" in refused.stderr
    assert refused.stderr.count("\n") == 1, refused.stderr
    in_shell(stack, taking[-1], tmp_path, ours)
    try:
        for command in putting:
            in_shell(stack, command, tmp_path, ours)
        assert [stack.status(order_id) for order_id in orders] == ends
        stack.saga("order", "cancel", orders[0])
        stack.wait_over(orders[:1], "CANCELLED")
        stack.audit_holds()
        assert (stack.data / "postgres-before" / "PG_VERSION").is_file()
    finally:
        stack.down()
