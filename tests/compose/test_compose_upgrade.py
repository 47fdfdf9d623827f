"""The containers go on with the volumes of an earlier version, and refuse those of another PostgreSQL."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.containers import ROOT, Containers
from tests.support.version_before import VersionBefore
from tests.support.waiting import until

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1500)]

PAGE: Final = ROOT / "docs" / "operations" / "upgrading-data.md"
PROJECT: Final = "sagacomposeupgrade"
SHIFT: Final = 10
COORDINATORS: Final = ("choreography", "orchestration")
# What docs/compose.md says to do once with the databases of such volumes.
GIVE_RIGHTS: Final = (
    "ALTER DATABASE {0} OWNER TO postgres",
    "GRANT CONNECT ON DATABASE {0} TO {0}",
    "GRANT USAGE, CREATE ON SCHEMA public TO {0}",
)


@pytest.fixture
def today() -> Iterator[Containers]:
    containers = Containers(project=PROJECT, shift=SHIFT)
    containers.env["SAGA_RETRY_DELAYS"] = "2,4,8"  # patient enough that what waits for a provider is still under way
    containers.compose("down", "-v")
    try:
        yield containers
    finally:
        containers.compose("down", "-v", "--rmi", "local")


def test_containers_go_on_with_the_volumes_of_an_earlier_version(today: Containers, tmp_path: Path) -> None:
    before = Containers(folder=VersionBefore(tmp_path / "before").folder, project=PROJECT, shift=SHIFT)
    before.env = today.env
    file = before.folder / "docker-compose.yml"
    file.write_text(file.read_text().replace("start_period: 30s", "start_period: 120s"))  # this machine may be busy
    before.up()
    paid = [before.post(coordinator=coordinator) for coordinator in COORDINATORS]
    for order_id in paid:
        before.wait_statuses(order_id, "PAID", "APPROVED")
    pending = [before.post("pm_unavailable", coordinator=coordinator) for coordinator in COORDINATORS]
    for order_id in pending:
        before.wait_statuses(order_id, "PENDING_PAYMENT")
    before.compose("down")

    today.up()
    today.build_operator()
    for role in ("orders", "payments"):
        for statement in GIVE_RIGHTS:
            today.execute(f"{role}-db", "psql", "-U", "postgres", "-d", role, "-c", statement.format(role))
    for order_id in paid:
        assert today.statuses(order_id) == ("PAID", "APPROVED")
        assert today.request("PATCH", f"/orders/{order_id}/cancel").status_code == 202
        today.wait_statuses(order_id, "CANCELLED", "REFUNDED")
    fresh = [today.post(coordinator=coordinator) for coordinator in COORDINATORS]
    for order_id in fresh:
        today.wait_statuses(order_id, "PAID", "APPROVED")
    today.wait_at_rest([*paid, *pending, *fresh], within=240)
    ends = {today.statuses(order_id)[0] for order_id in pending}
    assert ends <= {"FAILED", "CANCELLED"}
    users = today.execute("rabbitmq", "rabbitmqctl", "-q", "list_users")
    assert set(re.findall(r"^(\w+)\t\[", users, re.MULTILINE)) == {"saga", "order", "payment", "worker", "gateway"}
    dumps_are_put_into_empty_volumes(today, tmp_path)
    assert [today.statuses(order_id) for order_id in fresh] == [("PAID", "APPROVED")] * 2
    today.wait_at_rest([*paid, *pending, *fresh])
    another_major(today)


def dumps_are_put_into_empty_volumes(today: Containers, folder: Path) -> None:
    """As the page says, with its commands."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    taking, putting = ([line for line in block.splitlines() if line] for block in blocks[3:5])
    for command in taking:
        in_shell(today, command, folder)
    today.compose("down")
    for name in ("orders", "payments"):
        today.command("docker", "volume", "rm", f"{PROJECT}_{name}-data")
    start, *restore = putting
    in_shell(today, start, folder)
    until(lambda: set(today.health().values()) == {"healthy"}, within=240, what="both databases are healthy")
    for command in restore:
        in_shell(today, command, folder)
    until(lambda: set(today.health().values()) == {"healthy"}, within=240, what="every container is healthy")


def in_shell(today: Containers, command: str, folder: Path) -> None:
    """Run a line of the page in this folder, with the project of this test."""
    assert "docker compose" in command
    line = command.replace("docker compose", shlex.join(today.own_compose))
    done = subprocess.run(line, shell=True, cwd=folder, env=today.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr[-2000:])


def another_major(today: Containers) -> None:
    """The orders' database says why it doesn't start, once its data are of another major version."""
    image = today.inspect()["gateway"]["Image"]
    today.compose("stop", "orders-db")
    volume = f"{PROJECT}_orders-data:/data"
    write = "import pathlib; pathlib.Path('/data/PG_VERSION').write_text('16\\n')"
    today.command("docker", "run", "--rm", "--user=0", "-v", volume, "--entrypoint=python", image, "-c", write)
    today.compose("up", "-d", "--no-deps", "orders-db")
    identity = today.inspect()["orders-db"]["Id"]
    said = until(
        lambda: "can't read it" in (told := today.command("docker", "logs", identity, check=False)) and told,
        what="the database says that it can't read its data",
    )
    assert "was made by PostgreSQL 16" in said and "docs/operations/upgrading-data.md" in said
