"""Histories of today are carried on by the version before, wherever its workers are given them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from tests.replay.histories import FOLDER, recorded
from tests.support.version_before import VersionBefore
from workflows.naming import MIRROR_TASK_QUEUE, SAGA_TASK_QUEUE

# Run with the modules of the version before: replay the histories of these paths, and tell which fail.
REPLAY: Final = """
import asyncio, json, os
from pathlib import Path
from tests.replay.histories import history_of, replayer

async def main():
    failed = []
    for path in json.load(sys.stdin):
        try:
            await replayer().replay_workflow(history_of(Path(path).read_text()))
        except Exception:
            failed.append(path)
    print("FAILED", json.dumps(failed), flush=True)
    os._exit(0)  # the SDK's threads still run, and may meet the end of the interpreter

asyncio.run(main())
"""
# The version before knows no service that is an original one, and no mirror that begins late (SAGA_MIRROR_AFTER).
NEW: Final = {
    "Reconciler/order_past_its_deadline_beside_an_original_payment_service",
    "SagaMirror/begun_late",
    "SagaMirror/begun_late_and_paid_unheard",
    "SagaMirror/begun_late_and_refunded_unheard",
    "SagaMirror/begun_late_while_a_service_is_away",
    "SagaMirror/overdue_beside_an_original_order_service",
    "SagaMirror/paid_unheard_before_the_cancellation",
    "SagaMirror/refunded_after_all_by_a_payment_service_that_took_over",
}


def task_queue(path: Path) -> str:
    events = json.loads(path.read_text())["events"]
    return str(events[0]["workflowExecutionStartedEventAttributes"]["taskQueue"]["name"])


@pytest.mark.timeout(600)
def test_the_version_before_carries_on_what_this_version_began(tmp_path: Path) -> None:
    """Its workers work on two task queues. Orchestrated sagas of today are begun on another (decision 26)."""
    its_own = {str(each.path) for each in recorded() if task_queue(each.path) in (SAGA_TASK_QUEUE, MIRROR_TASK_QUEUE)}
    assert len(its_own) > 40
    told = VersionBefore(tmp_path).run(REPLAY, given=json.dumps(sorted(its_own)))
    (line,) = [each for each in told.splitlines() if each.startswith("FAILED ")]
    failed = {str(Path(path).relative_to(FOLDER).with_suffix("")) for path in json.loads(line.removeprefix("FAILED "))}
    assert failed == NEW
