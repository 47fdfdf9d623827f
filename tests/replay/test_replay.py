"""Every recorded history replays, and every path of every workflow has one."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dis import findlinestarts
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.workflow import _Definition

from models.message_types import EventType
from tests.replay.histories import FOLDER, RECORD, Recorded, history_of, path_of, recorded, replay, revealed, shape
from tests.replay.scenarios import SCENARIOS
from tracing.tracing import Tracing
from workflows.mirror_record import MirrorRecord, MirrorState
from workflows.worker import WORKFLOWS

ALL: tuple[type[Any], ...] = tuple(dict.fromkeys(each for queue in WORKFLOWS.values() for each in queue))
# Lines that no history reaches: they serve the type checker, or a worker that forgets a run.
UNREACHABLE = (
    "raise  # only the worker cancels them, when it drops this run from its cache",
    "return  # only OrderCreated makes an order PENDING_PAYMENT",
    "return  # only OrderCancelled makes an order CANCELLED",
    "case Watch.EVENTS:",
    "pass  # has no deadline to miss",
    "case _ as never:",
    "assert_never(never)",
)


def load(each: Recorded) -> WorkflowHistory:
    return history_of(each.path.read_text())


@pytest.mark.parametrize("each", recorded(), ids=str)
def test_a_recorded_history_replays(each: Recorded) -> None:
    asyncio.run(replay(load(each)))


@pytest.mark.parametrize("each", recorded(), ids=str)
def test_a_recorded_history_replays_in_a_worker_that_traces_and_leaves_no_span(each: Recorded) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    asyncio.run(replay(load(each), interceptors=Tracing(provider).interceptors))
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize("each", recorded(), ids=str)
def test_a_recorded_history_tells_nothing_of_the_machine_it_comes_from(each: Recorded) -> None:
    assert revealed(each.path.read_text()) == []


def test_what_closed_mirrors_ended_with_can_still_be_read() -> None:
    mirrors = [load(each) for each in recorded() if each.workflow == "SagaMirror"]
    ends = [each.events[-1].workflow_execution_completed_event_attributes.result.payloads for each in mirrors]
    # SagaMirrors reads the result of a closed mirror, however old, and begins a successor with it.
    states = [DataConverter.default.payload_converter.from_payloads(end, [MirrorState])[0] for end in ends if end]
    assert all(MirrorRecord(state.events).last(EventType.ORDER_CREATED) for state in states)
    assert len(states) > len(mirrors) / 2


def test_every_workflow_of_the_worker_has_scenarios() -> None:
    without = {name_of(workflow) for workflow in ALL} ^ {name_of(workflow) for workflow in SCENARIOS}
    assert not without, (
        f"{', '.join(sorted(without))}: list what can happen to it in tests/replay/scenarios.py, then run `{RECORD}`"
    )


def test_every_scenario_has_a_history_and_every_history_a_scenario() -> None:
    named = {path_of(workflow.__name__, each) for workflow, it in SCENARIOS.items() for each in it.by_name}
    missing = sorted(str(path.relative_to(FOLDER)) for path in named if not path.exists())
    assert not missing, f"not recorded: {', '.join(missing)}; run `{RECORD}` and commit what it writes"
    left = sorted(
        str(each.path.relative_to(FOLDER)) for each in recorded() if not each.retained and each.path not in named
    )
    assert not left, f"no scenario has these names any more: {', '.join(left)}; move them to retained/, or delete them"


@pytest.mark.parametrize("workflow", ALL, ids=lambda workflow: workflow.__name__)
def test_the_histories_of_a_workflow_reach_every_line_of_it(workflow: type[Any]) -> None:
    module = Path(inspect.getfile(workflow))
    ended = [load(each) for each in recorded() if each.workflow == name_of(workflow) and has_ended(load(each))]
    source = module.read_text().splitlines()
    missed = replayable_lines(module) - asyncio.run(replayed_lines(module, ended))
    shown = [f"{module.name}:{line}: {source[line - 1].strip()}" for line in sorted(missed)]
    assert [line for line in shown if not line.endswith(UNREACHABLE)] == [], (
        f"no history comes here: add a scenario that does to tests/replay/scenarios.py, then run `{RECORD}`"
    )


def name_of(workflow: type[Any]) -> str:
    """The name under which Temporal knows it."""
    return str(_Definition.must_from_class(workflow).name)


def has_ended(history: WorkflowHistory) -> bool:
    """Whether the run has ended. The end of a replay cuts an open run short, on lines that are no path of its own."""
    return shape(history)[-1].removeprefix("WORKFLOW_EXECUTION_") in (
        "COMPLETED",
        "FAILED",
        "CANCELED",
        "CONTINUED_AS_NEW",
    )


def replayable_lines(module: Path) -> set[int]:
    """Lines of all functions except queries and validators, which are never replayed."""
    source = module.read_text()
    heads = [line.strip() for line in source.splitlines()]

    def lines(code: CodeType) -> Iterator[int]:
        head = heads[code.co_firstlineno - 1]
        if head.startswith("@workflow.query") or head.endswith(".validator"):
            return
        if code.co_flags & inspect.CO_OPTIMIZED:  # a function, not the body of a class or module
            yield from (line for _, line in findlinestarts(code) if line and line != code.co_firstlineno)
        for const in code.co_consts:
            if isinstance(const, CodeType):
                yield from lines(const)

    return set(lines(compile(source, str(module), "exec")))


async def replayed_lines(module: Path, histories: list[WorkflowHistory]) -> set[int]:
    """Lines that are run while histories are replayed."""
    reached: set[int] = set()

    def note(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            reached.add(frame.f_lineno)
        return note

    def enter(frame: FrameType, _event: str, _arg: Any) -> Any:
        return note if frame.f_code.co_filename == str(module) else None

    with ThreadPoolExecutor(initializer=lambda: sys.settrace(enter)) as threads:
        for history in histories:
            await replay(history, workflow_task_executor=threads)
    return reached
