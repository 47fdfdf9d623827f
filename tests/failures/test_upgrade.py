"""The version before is replaced under load, process by process, and put back (docs/operations/upgrading.md)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from embedded.postgres_binaries import installed
from stack.local import Secrets
from stack.rights import RIGHTS, definitions, password_hash
from tests.support import forking
from tests.support.balancer import INSTANCES, Balancer, balancer
from tests.support.pages import commands
from tests.support.temporal import TemporalServer
from tests.support.trickle import Trickle
from tests.support.version_before import VersionBefore, empty_databases
from tests.support.waiting import until
from tests.support.world import World

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

PAGE: Final = "upgrading.md"
TWO: Final = {process: names[:2] for process, names in INSTANCES.items()}  # of each process
FORWARD: Final = ("order", "payment", "worker", "gateway")
MORE: Final = 15  # orders that are accepted before something else happens


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """Two instances of each process behind a balancer."""

    world: World
    front: Balancer
    before: VersionBefore

    def start(self, program: Sequence[str], processes: Iterable[str] = TWO) -> None:
        """Start two instances of these processes, of the version that the program is of."""
        self.world.program = program
        names = [name for process in processes for name in TWO[process]]
        self.world.start(*names)
        self.front.wait_up(*names)

    def replace(self, process: str, program: Sequence[str]) -> None:
        """Replace the instances of a process one after the other, as a rolling restart does."""
        self.world.program = program
        for name in TWO[process]:
            self.front.drain(f"{process}s", name)
            self.world.terminate(name)
            self.world.start(name)
            self.front.tell(f"set server {process}s/{name} state ready")
            self.front.wait_up(name)

    def follow(self, section: str) -> None:
        """Run the commands of a section of the page."""
        for command in commands(PAGE, section):
            self.run(command)

    def run(self, command: str) -> str:
        """Run a command of the page; what it prints."""
        path = f"{Path(sys.executable).parent}:{installed()}:{os.environ['PATH']}"
        env = {**self.world.env, "PATH": path}
        done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout


@pytest.fixture
def upgrade(world: World, temporal: TemporalServer, tmp_path: Path) -> Iterator[Upgrade]:
    """Nothing runs yet, and the databases are empty."""
    before = VersionBefore(tmp_path / "before")
    empty_databases(world)
    world.env |= {
        "SAGA_TEMPORAL_ADDRESS": temporal.address,
        "SAGA_PROVIDER_LATENCY_MS": "100",
        "SAGA_SHUTDOWN_TIMEOUT": "8",
        "SAGA_RECONCILE_INTERVAL": "5",
    }
    with balancer(world, tmp_path) as front:
        yield Upgrade(world=world, front=front, before=before)


def goes_on(load: Trickle) -> None:
    sofar = len(load.accepted)
    until(lambda: len(load.accepted) > sofar + MORE, within=120, what="orders are accepted")


def all_is_well(upgrade: Upgrade, load: Trickle, audit: str = "") -> None:
    """Every order has ended as it must, and nothing was set aside. The audit of the page agrees."""
    assert load.failed == []
    upgrade.world.wait_at_rest(load.accepted, within=240)
    assert upgrade.world.dead_letters() == []
    (usual,) = commands(PAGE, "Before and after")
    until(lambda: upgrade.run(audit or usual), within=120, what="the audit holds")


def test_57_the_version_before_is_replaced_under_load(upgrade: Upgrade) -> None:
    upgrade.start(upgrade.before.program)
    with Trickle(f"http://127.0.0.1:{upgrade.world.ports['gateway']}") as load:
        goes_on(load)
        upgrade.follow("Migrate")
        for process in FORWARD:
            upgrade.replace(process, forking.SAGA)
        goes_on(load)
    all_is_well(upgrade, load)


def test_57_the_version_before_is_put_back_under_load(upgrade: Upgrade) -> None:
    """It has made the queues and the databases, as before an upgrade."""
    upgrade.start(upgrade.before.program, processes=("order", "payment", "worker"))
    upgrade.world.terminate(*upgrade.world.processes)
    upgrade.start(forking.SAGA)
    with Trickle(f"http://127.0.0.1:{upgrade.world.ports['gateway']}") as load:
        goes_on(load)
        upgrade.replace("gateway", upgrade.before.program)
        open_sagas, audit = commands(PAGE, "Going back")
        until(lambda: "Total: 0" in upgrade.run(open_sagas), within=120, what="no saga of this version is open")
        upgrade.follow("If a process of the version before dies meanwhile")
        for process in reversed(FORWARD[:-1]):
            upgrade.replace(process, upgrade.before.program)
        goes_on(load)
    all_is_well(upgrade, load, audit)


def test_57_a_process_of_the_version_before_that_dies_during_the_upgrade_starts_again(upgrade: Upgrade) -> None:
    world = upgrade.world
    upgrade.start(upgrade.before.program)
    with Trickle(f"http://127.0.0.1:{world.ports['gateway']}") as load:
        upgrade.follow("Migrate")
        goes_on(load)
        world.kill("order2", "payment2")
        upgrade.follow("If a process of the version before dies meanwhile")
        world.start("order2", "payment2")
        for process in FORWARD:
            upgrade.replace(process, forking.SAGA)
        goes_on(load)
    all_is_well(upgrade, load)


def test_57_each_process_gets_its_own_user_of_the_broker_once_all_are_new(upgrade: Upgrade) -> None:
    """The version before knows one user alone, and declares what is not its own."""
    world = upgrade.world
    upgrade.start(upgrade.before.program, processes=("order", "payment", "worker"))
    world.terminate(*world.processes)
    upgrade.start(forking.SAGA)
    secrets = Secrets.of(world.servers.logs.parent)
    hashes: dict[str, str] = {name: password_hash(secrets.of_broker_user(name)) for name in RIGHTS}
    world.import_definitions(definitions(hashes, vhost=world.name))
    with Trickle(f"http://127.0.0.1:{world.ports['gateway']}") as load:
        goes_on(load)
        for process in FORWARD:
            world.env["SAGA_AMQP_URL"] = world.amqp_url_as(process, secrets.of_broker_user(process))
            upgrade.replace(process, forking.SAGA)
        goes_on(load)
    world.env["SAGA_AMQP_URL"] = world.amqp_url
    all_is_well(upgrade, load)
