"""Histories are files with one event a line, readable payloads, and nothing about the machine that recorded them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from workflows.arguments import DATA_CONVERTER
from workflows.worker import WORKFLOWS, runner

FOLDER: Final = Path(__file__).parent / "histories"
RETAINED: Final = "retained"  # in each workflow's folder: histories that today's code would not write any more
RECORD: Final = "make histories"

# Fields that no replay compares, and that change with every recording or tell of a machine.
_LEFT_OUT: Final = frozenset({"taskId", "requestId", "workerVersion", "meteringMetadata", "stackTrace"})
_READABLE: Final = "json/plain"
_ENCODING: Final = base64.b64encode(_READABLE.encode()).decode()
_REVEALING: Final = (
    (re.compile(r"[\w~.-]*/[\w/.-]+\.(?:py|so)\b"), "the path of a file"),
    (re.compile(r"(?<![\w/])/(?:home|root|tmp|usr|opt|var|private|Users|work)\b[\w/.-]*"), "a path"),
    (re.compile(r"\b\d+@[\w.-]+"), "a process and its machine"),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b|\blocalhost\b"), "an address"),
)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A history in the repository. Earlier code wrote the `retained` ones."""

    workflow: str
    scenario: str
    retained: bool
    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(FOLDER).with_suffix(""))


def path_of(workflow: str, scenario: str) -> Path:
    """Where the newest history of a scenario is kept."""
    return FOLDER / workflow / f"{scenario}.json"


def recorded() -> list[Recorded]:
    """All histories, the newest and the retained ones."""
    return [
        Recorded(
            workflow=path.relative_to(FOLDER).parts[0],
            scenario=path.name.split(".")[0],
            retained=path.parent.name == RETAINED,
            path=path,
        )
        for path in sorted(FOLDER.rglob("*.json"))
    ]


def history_of(text: str) -> WorkflowHistory:
    """Read a history from our own text, or from a download of the Temporal UI or command line."""
    events = [_standard(event) for event in json.loads(text)["events"]]
    workflow_id = events[0]["workflowExecutionStartedEventAttributes"]["workflowId"]
    return WorkflowHistory.from_json(workflow_id, {"events": events})


def text_of(history: WorkflowHistory) -> str:
    """A history as it is kept in a file."""
    events = map(_plain, history.to_json_dict()["events"])
    lines = (json.dumps(event, ensure_ascii=False, sort_keys=True) for event in events)
    return '{"events": [\n' + ",\n".join(lines) + "\n]}\n"


def revealed(text: str) -> list[str]:
    """The parts of a text that tell of the machine that it comes from."""
    return [f"{what}: {found.group()}" for pattern, what in _REVEALING for found in pattern.finditer(text)]


def shape(history: WorkflowHistory) -> list[str]:
    """The kinds of events and steps that a replay compares or is told, without ids and times."""
    return list(_shape(history))


def _shape(history: WorkflowHistory) -> Iterator[str]:
    for event in history.to_json_dict()["events"]:
        kind = event["eventType"].removeprefix("EVENT_TYPE_")
        if not kind.startswith("WORKFLOW_TASK_"):
            scheduled = event.get("activityTaskScheduledEventAttributes", {})
            details = event.get("markerRecordedEventAttributes", {}).get("details", {})
            patch = "".join(map(_decoded, details.get("patch-data", {}).get("payloads", [])))
            step = "".join(
                json.loads(_decoded(each))["activity_type"] for each in details.get("data", {}).get("payloads", [])
            )
            more = scheduled.get("activityType", {}).get("name") or patch or step
            yield f"{kind} {more}".strip()


def workers_of(history: WorkflowHistory) -> Sequence[type[Any]]:
    """The workflows of the worker that carries this history on: that of the task queue on which it was begun."""
    began = history.to_json_dict()["events"][0]["workflowExecutionStartedEventAttributes"]
    return WORKFLOWS[began["taskQueue"]["name"]]


async def replay(history: WorkflowHistory, workflows: Sequence[type[Any]] | None = None, **options: Any) -> None:
    """Replay a history as its own worker does, or with other workflows. Raises what stops it."""
    await replayer(workers_of(history) if workflows is None else workflows, **options).replay_workflow(history)


def replayer(workflows: Sequence[type[Any]], **options: Any) -> Replayer:
    """A replayer as the workers run their workflows."""
    return Replayer(workflows=workflows, workflow_runner=runner(), data_converter=DATA_CONVERTER, **options)


def _plain(value: Any) -> Any:
    """The history without ignored fields, and with payloads as the JSON that they carry."""
    if isinstance(value, dict):
        if value.get("metadata", {}).get("encoding") == _ENCODING:
            more = {key: text for key, text in value["metadata"].items() if key != "encoding"}
            return {_READABLE: json.loads(_decoded(value)), **({"metadata": more} if more else {})}
        if value.get("kind") == "TASK_QUEUE_KIND_STICKY":
            return {"kind": value["kind"], "normalName": value["normalName"]}  # its name is that of one process
        return {key: _plain(each) for key, each in value.items() if key not in _LEFT_OUT}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _standard(value: Any) -> Any:
    """The form that Temporal reads."""
    if isinstance(value, dict):
        if _READABLE in value:
            data = json.dumps(value[_READABLE], separators=(",", ":")).encode()
            metadata = {**value.get("metadata", {}), "encoding": _ENCODING}
            return {"metadata": metadata, "data": base64.b64encode(data).decode()}
        return {key: _standard(each) for key, each in value.items()}
    return [_standard(each) for each in value] if isinstance(value, list) else value


def _decoded(payload: dict[str, Any]) -> str:
    return base64.b64decode(payload["data"]).decode()
