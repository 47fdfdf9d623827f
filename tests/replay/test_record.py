"""Recording writes, keeps and retires histories as it should, and tells nothing of the machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.replay.histories import Recorded, history_of, path_of, recorded, revealed, text_of
from tests.replay.record import main, write


def text(scenario: str) -> str:
    return path_of("SagaMirror", scenario).read_text()


@pytest.mark.parametrize("each", recorded(), ids=str)
def test_a_history_is_written_as_it_was_read(each: Recorded) -> None:
    assert text_of(history_of(each.path.read_text())) == each.path.read_text()


def test_a_history_that_takes_another_course_is_written_beside_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "SagaMirror" / "paid.json"
    assert write(path, text("paid")) is None
    retained = write(path, text("timed_out"))
    assert retained is not None
    assert (retained.parent, retained.name.split(".")[0]) == (path.parent / "retained", "paid")
    assert (retained.read_text(), path.read_text()) == (text("paid"), text("timed_out"))


def test_a_history_that_differs_in_times_alone_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "SagaMirror" / "paid.json"
    write(path, text("paid"))
    later = text("paid").replace('"eventTime": "20', '"eventTime": "21')
    assert write(path, later) is None
    assert path.read_text() == later
    assert list(tmp_path.rglob("*.json")) == [path]


@pytest.mark.parametrize(
    "told",
    [
        '"identity": "4711@build-7.example"',
        '"stackTrace": "  File \\"/home/ann/saga/workflows/order_saga.py\\", line 7"',
        '"message": "no such file: /tmp/data/orders"',
        '"address": "127.0.0.1:7233"',
    ],
)
def test_what_tells_of_a_machine_is_found(told: str) -> None:
    assert revealed(told)


def test_an_unknown_scenario_is_refused_in_one_line() -> None:
    with pytest.raises(SystemExit, match=r"no scenario SagaMirror/lost; tests/replay/scenarios\.py lists"):
        asyncio.run(main(["SagaMirror/lost"]))
