"""What the image holds is enough for every command of `saga`: locked packages and the wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer

from cli.app import app
from tests.support.ports import OFFSET
from tests.support.temporal import TemporalServer
from tests.support.world import World

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

ROOT: Final = Path(__file__).parents[2]
UV: Final = str(Path(sys.executable).parent / "uv")


def copied() -> list[str]:
    """The names that the Dockerfile copies into the image's build, without the lock."""
    lines = re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [name for line in lines for name in line.split() if name != "requirements-run.lock"]


@pytest.fixture(scope="module")
def saga(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program, in an environment made as the image's."""
    build = tmp_path_factory.mktemp("build")
    for name in copied():
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, build / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, build / name)
    venv = tmp_path_factory.mktemp("image") / "saga"
    python = str(venv / "bin" / "python")
    locked = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(ROOT / "requirements-run.lock")]
    _run(UV, "venv", "-q", "--python", sys.executable, str(venv))
    _run(UV, "pip", "install", "-q", "--python", python, *locked)
    _run(UV, "pip", "install", "-q", "--python", python, "--no-deps", "--no-build-isolation", str(build))
    _run(UV, "pip", "uninstall", "-q", "--python", python, "setuptools")
    return str(venv / "bin" / "saga")


@pytest.fixture
def running(saga: str, world: World, temporal: TemporalServer) -> World:
    """All four processes, run by the installed program, and the environment to reach them."""
    world.program = (saga,)
    world.env |= {"SAGA_TEMPORAL_ADDRESS": temporal.address}
    world.start("order", "payment", "gateway", "worker")
    world.env |= {
        f"SAGA_{name}_URL": f"http://127.0.0.1:{world.ports[process]}"
        for name, process in (("GATEWAY", "gateway"), ("ORDER_SERVICE", "order"), ("PAYMENT_SERVICE", "payment"))
    }
    return world


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command of `saga` by its path, groups included."""
    command = command or typer.main.get_command(app)
    yield path
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*path, name))


def test_the_build_has_what_the_dockerfile_copies_and_nothing_else_is_let_in() -> None:
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE)
    assert sorted(let_in) == sorted({*copied(), "requirements-run.lock"})


def test_every_command_shows_its_help(saga: str, tmp_path: Path) -> None:
    for path in commands():
        done = subprocess.run([saga, *path, "--help"], capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), path
        assert " ".join(("saga", *path)) in " ".join(done.stdout.split()), path


def test_every_command_does_its_work_or_says_what_it_lacks(saga: str, running: World, tmp_path: Path) -> None:
    used: set[tuple[str, ...]] = set()

    def use(*path: str, options: tuple[str, ...] = (), code: int = 0, said: str = "") -> str:
        used.add(path)
        done = subprocess.run(
            [saga, *path, *options], env=running.env, capture_output=True, text=True, cwd=tmp_path, timeout=120
        )
        told = done.stdout + done.stderr
        assert done.returncode == code, (path, told)
        assert re.search(said, told), (path, told)
        assert "Traceback" not in told, (path, told)
        return done.stdout

    data = ("--data", str(tmp_path / "nothing"), "--port-offset", str(OFFSET + 300))
    paid = ("--total", "7", "--payment-method", "pm_card_visa", "--wait", "30")
    use("order", "create", options=paid, said="PAID")
    order_id = running.rows("orders", "SELECT id::text AS id FROM orders")[0]["id"]
    use("order", "list", said=order_id[:8])
    use("order", "get", options=(order_id,), said="PAID")
    use("order", "watch", options=(order_id,), said="is PAID")
    use("order", "timeline", options=(order_id,), said="PaymentApproved")
    use("events", "list", options=("--order", order_id), said="PaymentApproved")
    use("events", "replay", options=("--order", order_id, "--yes"))
    use("order", "cancel", options=(order_id,))
    running.wait_status(order_id, "CANCELLED", "REFUNDED")
    use("dead-letters", "list")
    use("dead-letters", "show", options=("0" * 8,), code=1, said="0{8}")
    use("dead-letters", "redrive", options=("0" * 8,), code=1, said="0{8}")
    use("dead-letters", "discard", options=("--all", "--yes"))
    use("audit", options=("--timelines", "0"), said="Seen:")
    use("help", options=("order", "list"), said="saga order list")
    use("keys", "new", options=("--name", "shop", "--role", "client"), said="shop:client:")
    use("reconcile", said="[Rr]econcil")
    for act in ("import", "export", "compare"):
        use("migrate", act, options=("orders",), code=1, said="SAGA_ORIGINAL_ORDERS_DATABASE_URL is not set")
    use("migrate", "queues", options=("order-service",), code=1, said="order-service")
    use("up", options=data, code=1, said="install")
    use("down", options=data, said="Nothing runs on")
    use("status", options=data, code=1, said="Nothing runs on")
    use("doctor", options=data, code=1, said="install")
    use("contrast", code=1, said="run `make contrast` in a checkout of the project")
    used.add(("run",))  # all four processes run by it

    groups = {("order",), ("dead-letters",), ("events",), ("keys",), ("migrate",)}
    assert used == set(commands()) - groups - {()}


def _run(*command: str) -> None:
    # The tests have removed proxies and certificates from the environment, and a package registry may need them.
    first = Path("/proc/self/environ").read_bytes().decode().split("\0")
    environ = dict(each.split("=", 1) for each in first if each)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environ)
    assert done.returncode == 0, done.stderr
