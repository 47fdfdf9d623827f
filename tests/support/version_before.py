"""The version before, run from the repository's own history beside today's."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Final

import psycopg
import pytest

from tests.support.world import World

ROOT: Final = Path(__file__).parents[2]
# The tag of the last release; until there is one, the commit that this version replaces on the machines that run it.
COMMIT: Final = "db44264"
# Where its command line begins, and what it needs to be run from another folder than its own.
_PROGRAM: Final = "import sys; sys.path.insert(0, {folder!r}); from stack.entry import main; main()"


class VersionBefore:
    """The source of the version before, in a folder of its own. Today's installed libraries run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with tarfile.open(fileobj=BytesIO(_archive())) as source:
            source.extractall(folder, filter="data")

    @property
    def program(self) -> Sequence[str]:
        """What runs `saga` of that version."""
        return (sys.executable, "-P", "-c", _PROGRAM.format(folder=str(self.folder)))

    def run(self, code: str, *arguments: str, given: str = "") -> str:
        """Run Python code with the modules of that version; returns what it prints."""
        begin = f"import sys; sys.path.insert(0, {str(self.folder)!r})\n"
        done = subprocess.run(
            [sys.executable, "-P", "-c", begin + code, *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout


def empty_databases(world: World) -> None:
    """Give the world databases without any table, for the version before to make its own."""
    with psycopg.connect(world.servers.admin_dsn, autocommit=True) as admin:
        for role in ("orders", "payments"):
            admin.execute(f"DROP DATABASE {role}_{world.name} WITH (FORCE)")
            admin.execute(f"CREATE DATABASE {role}_{world.name} OWNER {role}")


def _archive() -> bytes:
    """Its files. Skips the test where the history is not at hand: in a copy without it, or in a shallow clone."""
    done = subprocess.run(["git", "-C", str(ROOT), "archive", COMMIT], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"The version before is the commit {COMMIT}, and this copy has no history that goes back to it")
    return done.stdout
