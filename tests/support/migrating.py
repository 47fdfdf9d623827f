"""Follow the procedure of docs/migrating.md as it is written: its steps, its commands, and what it says of queues."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from typer.testing import CliRunner

from cli.app import app
from takeover.queues import QueueState, look, queues_of
from tests.support.original_databases import OriginalDatabases
from tests.support.waiting import until
from tests.support.world import World

PAGE: Final = Path(__file__).parents[2] / "docs" / "migrating.md"
Service = Literal["order", "payment"]
Outcome = tuple[int, Any]  # exit code, and the answer as JSON

_TABLES: Final = {"forwards": "### The order service or the payment service", "back": "### Back, from ours"}
# What the page calls the state of queues.
STATES: Final[Mapping[str, Callable[[Sequence[QueueState]], bool]]] = {
    "none": lambda queues: all(queue.messages is None for queue in queues),
    "empty": lambda queues: all(queue.messages == 0 and not queue.consumers for queue in queues),
    "drained": lambda queues: all(queue.messages == 0 for queue in queues) and _is_read(queues),
    "read": lambda queues: all(queue.messages is not None for queue in queues) and _is_read(queues),
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """A row of the page's table. `deeds` are its sentences that tell to stop, start or set something by hand."""

    number: int
    deeds: Sequence[str]
    commands: Sequence[str]
    original_queues: str
    our_queues: str


def steps(direction: Literal["forwards", "back"], service: Service) -> list[Step]:
    """The steps of the page for a service; the page itself has those of the order service."""
    page = PAGE.read_text()
    _, _, rest = page.partition(_TABLES[direction])
    rows = [row.strip("|").split(" | ") for row in rest.partition("\n### ")[0].splitlines() if re.match(r"\| \d", row)]
    found = []
    for number, do, theirs, ours in ([cell.strip() for cell in row] for row in rows):
        if service == "payment":  # the page has those of the order service
            do = re.sub(r"\b(orders|order)\b", lambda name: {"orders": "payments", "order": "payment"}[name[0]], do)
        commands = re.findall(r"`saga (migrate [^`]+)`", do)
        deeds = re.findall(r"\b((?:Stop|Start|Take|Put|Restart) [^.]+)\.", do)
        step = Step(number=int(number), deeds=deeds, commands=commands, original_queues=theirs, our_queues=ours)
        found.append(step)
    assert [step.number for step in found] == list(range(1, 9)), "the page's table has eight steps"
    return found


def saga(world: World, theirs: OriginalDatabases, command: str) -> Outcome:
    """Run a command of ours, in this process, since starting one takes two seconds of CPU."""
    done = CliRunner().invoke(app, [*shlex.split(command), "--json"], env={**world.env, **theirs.environ})
    assert done.exit_code in (0, 1), (command, done.output, done.exception)
    return done.exit_code, json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else done.output


def migrate(world: World, theirs: OriginalDatabases, *arguments: str, code: int = 0) -> Any:
    """What `saga migrate` answers when it ends with this exit code."""
    ended, answer = saga(world, theirs, " ".join(("migrate", *arguments)))
    assert ended == code, answer
    return answer


def wait_for_state(world: World, names: Sequence[str], state: str, *, what: str) -> None:
    """Wait until these queues are in a state that the page has a word for."""

    def reached() -> bool:
        found = asyncio.run(look(world.amqp_url, names))
        assert STATES[state](found), found
        return True

    until(reached, within=120, what=f"{what}: {state}")


def our_queues(world: World, service: Service) -> list[str]:
    return queues_of(service, tuple(map(float, world.env["SAGA_RETRY_DELAYS"].split(","))))


def _is_read(queues: Sequence[QueueState]) -> bool:
    return any(queue.consumers for queue in queues)
