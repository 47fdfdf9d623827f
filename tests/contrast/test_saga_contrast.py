"""A short `saga contrast` on a stack of its own measures both coordinators, and survives two kills."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.report import Report
from tests.support.ports import OFFSET

BOTH = {"choreography", "orchestration"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("contrast")
    command = [
        sys.executable, "-m", "cli", "contrast", "--quick", "--orders", "30", "--repetitions", "1",
        "--json", str(folder / "found.json"), "--html", str(folder / "found.html"), "--port-offset", str(OFFSET + 400),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    return done, folder


@pytest.fixture
def found(run: tuple[subprocess.CompletedProcess[str], Path]) -> dict[str, Any]:
    done, folder = run
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    loaded: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return loaded


pytestmark = [pytest.mark.temporal, pytest.mark.timeout(420)]


def test_every_accepted_order_ends_as_it_must(found: dict[str, Any]) -> None:
    assert found["improper"] == []
    assert found["orders"] > 100


def test_every_figure_is_measured_for_both_coordinators(found: dict[str, Any]) -> None:
    figures = {(each["group"], each["name"]): each["values"] for each in found["figures"]}
    for what, values in figures.items():
        assert set(values) == BOTH, what
        assert all(len(each) == 1 and each[0] >= 0 for each in values.values()), what
    cost = {name: values for (group, name), values in figures.items() if group.startswith("Cost")}
    # Four transactions at least write an order that nobody cancels, unless they share one with other orders. Three
    # events tell of it. A workflow has its first and its last event, and a task in between.
    for coordinator in BOTH:
        assert cost["messages published"][coordinator][0] >= 2
        assert cost["rows inserted, updated or deleted in orders"][coordinator][0] >= 5
        assert cost["rows inserted, updated or deleted in payments"][coordinator][0] >= 4
        assert cost["events in Temporal's histories"][coordinator][0] >= 5
        assert cost["write-ahead log, both databases"][coordinator][0] > 1
        assert 0 < found["cpu"][coordinator]["order"] < 1000
    # Each step is a transaction of its own there, two in each service at least.
    assert cost["transactions that wrote, both databases"]["orchestration"][0] > 3
    assert {"gateway", "order", "payment", "worker", "rabbitmq", "postgres", "temporal"} <= set(found["memory"])


def test_each_kill_is_told_for_both_coordinators_and_both_recover(found: dict[str, Any]) -> None:
    told = {(each["killed"], each["coordinator"]): each for each in found["recoveries"]}
    assert set(told) == {(part, coordinator) for part in ("order", "worker") for coordinator in BOTH}
    for each in told.values():
        assert each["accepted"] > 5
        assert each["improper"] == 0
        assert each["over"] is not None
        assert each["stall"] > 0
    # Both do without the worker: nobody waits until it is back.
    for coordinator in BOTH:
        assert told["worker", coordinator]["stall"] < told["worker", coordinator]["back"]


def test_the_page_and_the_terminal_tell_of_the_same_run(
    run: tuple[subprocess.CompletedProcess[str], Path], found: dict[str, Any]
) -> None:
    done, folder = run
    report = Report.from_json((folder / "found.json").read_bytes())
    assert f"All {report.orders} accepted orders have ended as they must" in done.stdout
    assert f"All {report.orders} accepted orders have ended as they must" in (folder / "found.html").read_text()


def test_nothing_is_left_behind(run: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, folder = run
    assert sorted(each.name for each in folder.iterdir()) == ["found.html", "found.json"]
    listening = subprocess.run(
        [sys.executable, "-m", "cli", "doctor", "--data", str(folder / "d"), "--port-offset", str(OFFSET + 400)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert listening.returncode == 0, listening.stdout


def test_nothing_is_killed_if_that_is_not_wanted(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "cli", "contrast", "--quick", "--orders", "10", "--no-faults",
        "--json", str(tmp_path / "found.json"), "--html", str(tmp_path / "found.html"),
        "--port-offset", str(OFFSET + 400),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "found.json").read_text())["recoveries"] == []


@pytest.mark.parametrize("option", ["--json", "--html"])
@pytest.mark.parametrize("name", ["/proc/nothing.html", "nowhere/found.html", ".", "x" * 300])
def test_a_file_that_cannot_be_written_is_told_at_once(option: str, name: str) -> None:
    command = [sys.executable, "-m", "cli", "contrast", "--quick", option, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"saga: {name} cannot be written (")
