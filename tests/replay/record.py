"""Record histories anew: `python -m tests.replay.record [WORKFLOW[/SCENARIO] …]`, or all of them without arguments."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHistory

from tests.replay.histories import FOLDER, RETAINED, history_of, path_of, replay, revealed, shape, text_of
from tests.replay.scenarios import SCENARIOS
from tests.replay.stage import temporal


async def play(
    client: Client, workflow: type[Any], scenario: str, workflows: Sequence[type[Any]] = ()
) -> WorkflowHistory:
    """What Temporal records while these workflows, or those of the scenario's task queue, play a scenario."""
    repertoire = SCENARIOS[workflow]
    stage = repertoire.stage(client, f"{workflow.__name__}/{scenario}", workflows)
    async with stage.playing():
        run = await repertoire.by_name[scenario](stage) or await stage.run()
        return await run.fetch_history()


def write(path: Path, text: str) -> Path | None:
    """Write a history. If it replaces one of another shape, keep the old one as retained, and return its path.

    Sagas that began with earlier code may still be under way, and run as the retained history does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    retained = None
    if path.exists() and shape(history_of(path.read_text())) != shape(history_of(text)):
        retained = path.parent / RETAINED / f"{path.stem}.{_recorded_at(path)}.json"
        retained.parent.mkdir(exist_ok=True)
        path.rename(retained)
    path.write_text(text)
    return retained


def _recorded_at(path: Path) -> str:
    """When a history began, to the second: 20261123T022338."""
    began: str = json.loads(path.read_text())["events"][0]["eventTime"]
    return re.sub(r"[:-]|\..*", "", began)


async def record(client: Client, workflow: type[Any], scenario: str) -> str:
    """Play a scenario, prove that its history replays and names no machine, write it, and say what was done."""
    text = text_of(await play(client, workflow, scenario))
    name = f"{workflow.__name__}/{scenario}"
    if found := revealed(text) + ["this machine's name"] * (socket.gethostname() in text):
        raise ValueError(f"The history of {name} can't be committed: it contains {'; '.join(found)}")
    await replay(history_of(text))
    retained = write(path_of(workflow.__name__, scenario), text)
    return f"{name}, and what it was as {retained.relative_to(FOLDER)}" if retained else name


async def main(wanted: Sequence[str]) -> None:
    """Record the named scenarios, or all scenarios of the named workflows, or all."""
    chosen = [
        (workflow, scenario)
        for workflow, repertoire in SCENARIOS.items()
        for scenario in repertoire.by_name
        if not wanted or {workflow.__name__, f"{workflow.__name__}/{scenario}"} & set(wanted)
    ]
    if not chosen:
        raise SystemExit(f"There is no scenario {', '.join(wanted)}; tests/replay/scenarios.py lists all there are.")
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)  # steps fail in some scenarios, as they should
    async with temporal() as client:
        for workflow, scenario in chosen:
            print(await record(client, workflow, scenario), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
