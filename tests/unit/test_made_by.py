"""Data that the installed server cannot read are refused with what to do; all other data are taken."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from embedded.errors import StackError
from embedded.made_by import PAGE, refuse_postgres_of_another_major, refuse_rabbitmq_of_another_line
from embedded.postgres_binaries import installed, version
from embedded.rabbitmq import version_of

ROOT = Path(__file__).parents[2]
INSTALLED = version(installed()).partition(".")[0]
# The files that RabbitMQ 3.10.8 and 4.0.5 write for fresh data, shortened.
OF_3_10 = (
    "[classic_mirrored_queue_version,drop_unroutable_metric,\n implicit_default_bindings,quorum_queue,user_limits]."
)
OF_3_13 = OF_3_10.replace("quorum_queue", "message_containers,quorum_queue")
OF_4_0 = OF_3_13.replace("quorum_queue", "quorum_queue,'rabbitmq_4.0.0'")
OF_4_2 = OF_4_0.replace("'rabbitmq_4.0.0'", "'rabbitmq_4.0.0','rabbitmq_4.2.0'")


@pytest.mark.parametrize("made_by", ["15", "17", "19"])
def test_data_of_another_major_of_postgres_are_refused(made_by: str, tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text(f"{made_by}\n")
    with pytest.raises(StackError) as refused:
        refuse_postgres_of_another_major(tmp_path, "18")
    said = str(refused.value)
    assert f"{tmp_path} was made by PostgreSQL {made_by}" in said
    assert all(word in said for word in ("PostgreSQL 18", "pg_dump", "pg_restore", PAGE))
    assert "\n" not in said


def test_data_of_the_same_major_and_an_empty_folder_are_taken(tmp_path: Path) -> None:
    refuse_postgres_of_another_major(tmp_path, "18")
    (tmp_path / "PG_VERSION").write_text("18\n")
    refuse_postgres_of_another_major(tmp_path, "18")


@pytest.mark.parametrize(
    ("flags", "installed", "made_by"),
    [
        (OF_3_10, (4, 0), "a RabbitMQ before 3.13"),
        (OF_3_13, (3, 10), "RabbitMQ 3.13 or newer"),
        (OF_4_0, (3, 10), "RabbitMQ 4.0 or newer"),
        (OF_4_0, (3, 13), "RabbitMQ 4.0 or newer"),
        (OF_4_2, (4, 0), "RabbitMQ 4.2 or newer"),
    ],
    ids=["3.10 on 4.0", "3.13 on 3.10", "4.0 on 3.10", "4.0 on 3.13", "4.2 on 4.0"],
)
def test_data_on_which_rabbitmq_would_not_start_are_refused(
    flags: str, installed: tuple[int, int], made_by: str, tmp_path: Path
) -> None:
    (tmp_path / "mnesia").mkdir()
    file = tmp_path / "mnesia" / "saga@localhost-feature_flags"
    file.write_text(flags)
    with pytest.raises(StackError) as refused:
        refuse_rabbitmq_of_another_line(file, installed)
    said = str(refused.value)
    assert f"{tmp_path} was made by {made_by}" in said
    assert all(word in said for word in (f"RabbitMQ {installed[0]}.{installed[1]} ", "saga audit --at-rest", PAGE))


@pytest.mark.parametrize(
    ("flags", "installed"),
    [(OF_3_10, (3, 10)), (OF_3_10, (3, 12)), (OF_3_13, (4, 0)), (OF_4_0, (4, 2)), (OF_4_2, (4, 2)), (OF_4_0, None)],
    ids=["3.10", "3.10 on 3.12", "3.13 on 4.0", "4.0 on 4.2", "4.2", "unknown"],
)
def test_data_of_which_nothing_is_known_against_it_are_taken(
    flags: str, installed: tuple[int, int] | None, tmp_path: Path
) -> None:
    refuse_rabbitmq_of_another_line(tmp_path / "missing", installed)
    (tmp_path / "flags").write_text(flags)
    refuse_rabbitmq_of_another_line(tmp_path / "flags", installed)


def test_the_version_of_rabbitmq_is_told_by_its_plugins(tmp_path: Path) -> None:
    (tmp_path / "lib" / "sbin").mkdir(parents=True)
    script = tmp_path / "lib" / "sbin" / "rabbitmq-server"
    script.touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rabbitmq-server").symlink_to(script)
    assert version_of(str(tmp_path / "bin" / "rabbitmq-server")) is None
    (tmp_path / "lib" / "plugins" / "rabbit-4.0.5").mkdir(parents=True)
    (tmp_path / "lib" / "plugins" / "rabbitmq_management-4.0.5").mkdir()
    assert version_of(str(tmp_path / "bin" / "rabbitmq-server")) == (4, 0)


def test_the_page_that_is_named_is_there() -> None:
    assert (ROOT / PAGE).is_file()


@pytest.mark.parametrize(
    ("made_by", "code", "said"),
    [
        ("", 0, ""),
        (str(INSTALLED), 0, ""),
        ("16", 1, f"made by PostgreSQL 16, and PostgreSQL {INSTALLED} can't read it"),
    ],
    ids=["empty", "same", "another"],
)
def test_the_containers_of_postgres_refuse_them_too(made_by: str, code: int, said: str, tmp_path: Path) -> None:
    if made_by:
        (tmp_path / "PG_VERSION").write_text(f"{made_by}\n")
    env = {"PGDATA": str(tmp_path), "PATH": f"{installed()}:{os.environ['PATH']}"}
    command = ["sh", str(ROOT / "deploy" / "postgres" / "start.sh"), "echo", "started"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "" if code else "started\n")
    assert said in done.stderr
    assert not code or PAGE in done.stderr
