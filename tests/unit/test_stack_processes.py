"""The processes that `saga up` starts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from stack.local import Secrets, services


def test_they_get_the_variables_of_opentelemetry(tmp_path: Path) -> None:
    given = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_SAMPLER": "always_on"}
    (tmp_path / "data").mkdir()
    programs = services(tmp_path / "data", 0, Secrets.of(tmp_path / "data"), given)
    assert len(programs) == 4
    assert all(given.items() <= program.env.items() for program in programs)


def test_they_load_nothing_from_the_folder_that_the_user_stands_in(tmp_path: Path) -> None:
    for name in ("structlog", "cli", "stack"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('loaded from the working directory')")
    (tmp_path / "data").mkdir()
    (program, *_) = services(tmp_path / "data", 0, Secrets.of(tmp_path / "data"), {})
    command = [*program.argv[: program.argv.index("run")], "--version"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (found.returncode, found.stderr) == (0, "")
