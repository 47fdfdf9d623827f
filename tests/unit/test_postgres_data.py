"""PostgreSQL starts on its data after whatever happened to it, and on nobody else's."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from embedded import postgres
from embedded.errors import StackError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "postgres"
    folder.mkdir()
    return folder


def locked_by(folder: Path, pid: int) -> list[Path]:
    """The files of a server that ran in the folder as this process."""
    files = [folder / "postmaster.pid", folder / ".s.PGSQL.5432.lock"]
    for file in files:
        file.write_text(f"{pid}\n{folder}\n")
    return files


def test_the_lock_of_a_killed_server_whose_pid_is_another_process_now_is_removed(folder: Path) -> None:
    files = locked_by(folder, os.getpid())
    postgres._forget_dead_server(folder)
    assert not any(file.exists() for file in files)


def test_the_lock_stays_while_anything_of_that_server_runs(folder: Path, tmp_path: Path) -> None:
    files = locked_by(folder, os.getpid())
    by_another_name = tmp_path / "link"
    by_another_name.symlink_to(folder)
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=folder, stdin=subprocess.PIPE) as backend:
        postgres._forget_dead_server(by_another_name)
        assert all(file.exists() for file in files)
        assert backend.stdin is not None
        backend.stdin.write(b"\n")


def test_without_a_lock_or_its_process_there_is_nothing_to_do(folder: Path) -> None:
    postgres._forget_dead_server(folder)
    ended = subprocess.Popen(["true"])
    ended.wait()
    files = locked_by(folder, ended.pid)
    postgres._forget_dead_server(folder)
    assert all(file.exists() for file in files), "PostgreSQL sees that by itself"


def test_data_of_another_user_are_refused_with_what_to_do(folder: Path) -> None:
    postgres._refuse_anothers(folder, None)
    postgres._refuse_anothers(folder / "missing", None)
    other = next(each for each in pwd.getpwall() if each.pw_uid != os.geteuid())
    with pytest.raises(StackError, match=r"belongs to the user .*: start as the user who made it"):
        postgres._refuse_anothers(folder, other.pw_name)
