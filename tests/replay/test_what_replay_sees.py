"""A replay compares with a history exactly what the tables of docs/changing-workflows.md say."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from temporalio.workflow import NondeterminismError

from tests.replay.edits import edited
from tests.replay.histories import history_of, path_of, replayer

HISTORIES = ("compensation_asked_for_again", "compensation_confirmed_after_all", "cancellation_refused")

SEEN = {
    "another step": ('_take_step("republish_cancellation"', '_take_step("publish_again"'),
    "one try less": ("REPUBLISH_ATTEMPTS: Final = 5", "REPUBLISH_ATTEMPTS: Final = 4"),
    "a timer that is not set": ("timeout=remaining, timeout_summary=summary)", ")"),
    "search attributes that are not upserted": (
        "upsert_attributes(record.timeline, record.envelopes, alarm=self._alarm)",
        "pass",
    ),
    "a search attribute that stays as it was": (
        "record.envelopes, alarm=self._alarm)",
        "record.envelopes, alarm=None)",
    ),
}
NOT_SEEN = {
    "a longer timer": (
        "compensation_timeout=self._compensation_timeout,",
        "compensation_timeout=self._compensation_timeout * 7,",
    ),
    "another message for a step": ("repetition_of(cancelled)", "timeout_of(cancelled)"),
    "a step in another task queue": ("task_queue=ORDER_TASK_QUEUE", 'task_queue="elsewhere"'),
    "a step with another time limit": (
        "start_to_close_timeout=_STEP_TIMEOUT",
        "start_to_close_timeout=_STEP_TIMEOUT * 2",
    ),
    "a step with other retries": ("retry_policy=_STEP_RETRIES", "retry_policy=None"),
    "a step without a summary": ("summary=summary,\n    )", ")"),
    "another result": ("republished=self._republished,", "republished=99,"),
    "other details, and a line in the log": (
        "show_details(record.timeline, waiting_for=self._waiting_for",
        'workflow.logger.info("seen"); show_details(record.timeline, waiting_for="seen"',
    ),
}


def replays(edit: tuple[str, str], folder: Path, patch: pytest.MonkeyPatch) -> bool:
    """Whether the edited mirror replays the histories."""
    patch.syspath_prepend(folder)
    mirror = edited(folder, f"mirror_{abs(hash(edit))}", *edit)
    try:
        for scenario in HISTORIES:
            history = history_of(path_of("SagaMirror", scenario).read_text())
            asyncio.run(replayer([mirror]).replay_workflow(history))
    except NondeterminismError:
        return False
    return True


@pytest.mark.parametrize("edit", SEEN.values(), ids=SEEN)
def test_a_replay_sees(edit: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not replays(edit, tmp_path, monkeypatch)


@pytest.mark.parametrize("edit", NOT_SEEN.values(), ids=NOT_SEEN)
def test_a_replay_does_not_see(edit: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert replays(edit, tmp_path, monkeypatch)
