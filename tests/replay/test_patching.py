"""An edit of a running workflow replays old and new histories under a patch, and is caught without one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowHistory
from temporalio.workflow import NondeterminismError

from tests.replay.edits import PATCH, VERSIONS
from tests.replay.histories import history_of, recorded, replayer, shape
from tests.replay.mirror_stage import MirrorStage
from tests.replay.record import play
from tests.replay.stage import temporal
from workflows.saga_mirror import SagaMirror

SCENARIO: Final = "compensation_asked_for_again"
# The versions whose runs each version can carry on.
CARRIES_ON: Final[Mapping[str, set[str]]] = {
    "before": {"before"},
    "patched": {"before", "patched", "deprecated"},
    "deprecated": {"patched", "deprecated", "after"},
    "after": {"deprecated", "after"},
}


@pytest.fixture(scope="module")
def histories(mirrors: Mapping[str, type[Any]]) -> Mapping[str, WorkflowHistory]:
    """The history of the scenario by each version. For the version before the edit, it is the recorded one."""

    async def run() -> dict[str, WorkflowHistory]:
        edited = [version for version in VERSIONS if version != "before"]
        found = await asyncio.gather(*(recorded_now(mirrors[version]) for version in edited))
        return dict(zip(edited, found, strict=True))

    return {"before": recorded_histories()[SCENARIO], **asyncio.run(run())}


async def recorded_now(mirror: type[Any]) -> WorkflowHistory:
    """Play the scenario with this mirror. Returns the recorded history."""
    async with temporal() as client:
        return await play(client, SagaMirror, SCENARIO, [mirror])


def recorded_histories() -> dict[str, WorkflowHistory]:
    """The recorded histories of today's SagaMirror, by scenario."""
    return {
        each.scenario: history_of(each.path.read_text())
        for each in recorded()
        if each.workflow == "SagaMirror" and not each.retained
    }


def replays(mirror: type[Any], history: WorkflowHistory) -> bool:
    try:
        asyncio.run(replayer([mirror]).replay_workflow(history))
    except NondeterminismError:
        return False
    return True


@pytest.mark.parametrize("begun_with", VERSIONS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_carries_on_what_it_should_and_nothing_else(
    version: str, begun_with: str, mirrors: Mapping[str, type[Any]], histories: Mapping[str, WorkflowHistory]
) -> None:
    assert replays(mirrors[version], histories[begun_with]) == (begun_with in CARRIES_ON[version])


def test_the_edit_changes_what_a_mirror_does(histories: Mapping[str, WorkflowHistory]) -> None:
    old, new = shape(histories["before"]), shape(histories["patched"])
    assert any(event.startswith("MARKER_RECORDED") and PATCH in event for event in new)
    assert new.count("TIMER_STARTED") == old.count("TIMER_STARTED") + 1


def test_under_the_patch_every_recorded_history_replays(mirrors: Mapping[str, type[Any]]) -> None:
    broken = [scenario for scenario, each in recorded_histories().items() if not replays(mirrors["patched"], each)]
    assert broken == []


def test_without_the_patch_it_is_caught_by_every_history_that_comes_there(mirrors: Mapping[str, type[Any]]) -> None:
    known = recorded_histories()
    broken = {scenario for scenario, each in known.items() if not replays(mirrors["after"], each)}
    come_there = {
        scenario for scenario, each in known.items() if "ACTIVITY_TASK_SCHEDULED republish_cancellation" in shape(each)
    }
    assert broken == come_there
    assert SCENARIO in come_there


def test_what_a_patch_does_is_undone_by_another(
    mirrors: Mapping[str, type[Any]], histories: Mapping[str, WorkflowHistory]
) -> None:
    assert {begun for begun, each in histories.items() if replays(mirrors["undone"], each)} == CARRIES_ON["patched"]
    new = asyncio.run(recorded_now(mirrors["undone"]))
    assert shape(new).count("TIMER_STARTED") == shape(histories["before"]).count("TIMER_STARTED")


@pytest.mark.parametrize(
    ("version", "been_there", "new_path"),
    [("patched", False, True), ("patched", True, False), ("by round", False, True), ("by round", True, True)],
)
def test_a_mirror_under_way_when_the_patch_comes_takes_the_new_path_unless_it_was_asked_before(
    version: str, been_there: bool, new_path: bool, mirrors: Mapping[str, type[Any]]
) -> None:
    async def run() -> WorkflowHistory:
        async with temporal() as client:
            stage = MirrorStage(client, "under way", [mirrors["before"]], compensation_timeout=1.0)
            story = stage.begun(ago=3600)
            async with stage.playing():
                await stage.tell(story.created, story.approved, *([story.cancelled] if been_there else []))
                await stage.leave()
                stage.workflows = [mirrors[version]]
                await stage.come()
                await stage.tell(story.cancelled)
                await stage.asked(1 + been_there)
                await stage.tell(story.refunded)
                return await stage.saga.fetch_history()

    history = asyncio.run(run())
    assert any(event.startswith("MARKER_RECORDED") for event in shape(history)) is new_path
    assert replays(mirrors[version], history)


def test_a_rollback_stops_what_the_patch_began_and_loses_nothing(mirrors: Mapping[str, type[Any]]) -> None:
    async def run() -> WorkflowHistory:
        async with temporal() as client:
            stage = MirrorStage(client, "rolled back", [mirrors["patched"]], compensation_timeout=1.0)
            story = stage.begun(ago=3600)
            async with stage.playing():
                await stage.tell(story.created, story.approved, story.cancelled)
                await stage.asked()
                await stage.leave()
                stage.workflows = [mirrors["before"]]
                await stage.come()
                await stage.signal(story.refunded)
                await stage.happened("WORKFLOW_TASK_FAILED")
                assert (await stage.saga.describe()).status is WorkflowExecutionStatus.RUNNING
                await stage.leave()
                stage.workflows = [mirrors["patched"]]
                await stage.come()
                await stage.saga.result()
                return await stage.saga.fetch_history()

    assert replays(mirrors["patched"], asyncio.run(run()))
