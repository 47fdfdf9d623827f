"""Wait until all is at rest, and find whatever is not as SPEC section 5 wants it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx

from choreography.dead_letters import DeadLetterRecord, DeadLetters
from tests.chaos.load import Load
from tests.chaos.system import GATEWAYS, INSTANCES, System
from tests.waiting import until

AT_REST_WITHIN: Final = 240.0  # seconds
_SHOWN: Final = 20  # findings of one kind


def judge(system: System, load: Load, tell: Callable[[str], None]) -> list[str]:
    """What is wrong, once all is at rest; raises AssertionError if it never is, or if an invariant does not hold."""
    world = system.world
    for name in INSTANCES:
        world.wait_ready(name)
    tell("every process is ready again")
    world.wait_at_rest(load.accepted, within=AT_REST_WITHIN)
    tell("all is at rest, and the invariants hold")
    letters = world.dead_letters()
    tell(f"dead letters: {_summary(letters)}")
    if letters:
        asyncio.run(DeadLetters(world.amqp_url).redrive(lambda _: True))
        world.wait_at_rest(load.accepted, within=AT_REST_WITHIN)
        tell(f"redriven, and all is at rest again; left: {_summary(world.dead_letters())}")
    _wait_for_workflows(system)
    tell("no workflow is open")
    findings = [
        *load.wrong,
        *_unkept_cancellations(system, load.cancelled),
        *_failed_workflows(system),
        *_timelines(system, list(load.accepted), redriven={letter.order_id for letter in letters}),
    ]
    left = [f"dead letter {letter.reason} in {letter.queue}: {letter.error}" for letter in world.dead_letters()]
    return findings + left


def _summary(letters: Iterable[DeadLetterRecord]) -> dict[str, int]:
    return dict(Counter(f"{letter.reason} {letter.event_type} in {letter.queue}" for letter in letters))


def _wait_for_workflows(system: System) -> None:
    sagas = "WorkflowType IN ('OrderSaga', 'SagaMirror') AND ExecutionStatus = 'Running'"

    def none_open() -> bool:
        assert system.world.waiting_for_mirrors() == 0
        running = system.temporal.count(sagas)
        assert running == 0, f"{running} are open"
        return True

    until(none_open, within=AT_REST_WITHIN, what="every workflow has ended")


def _unkept_cancellations(system: System, cancelled: Collection[str]) -> list[str]:
    """A cancellation that was accepted is carried out, unless the saga failed first."""
    rows = system.world.rows("orders", "SELECT id FROM orders WHERE status = 'PAID' AND id = ANY(%s)", list(cancelled))
    return [f"order {row['id']} is PAID, though its cancellation was accepted" for row in rows]


def _failed_workflows(system: System) -> list[str]:
    failed = system.temporal.count("ExecutionStatus IN ('Failed', 'Terminated', 'TimedOut')")
    return [f"{failed} workflows have failed"] if failed else []


def _timelines(system: System, order_ids: list[str], *, redriven: Collection[str | None]) -> list[str]:
    """Every event of every saga exactly once, each after its cause, as workflow and event logs have it.

    What an operator sends back after an orchestrated saga has ended, that workflow no longer hears of: of such an order
    the event logs must tell.
    """
    world = system.world
    logged: dict[str, set[str]] = {}
    for role in ("orders", "payments"):
        for row in world.rows(role, "SELECT order_id, event_id FROM event_log"):
            logged.setdefault(str(row["order_id"]), set()).add(str(row["event_id"]))
    url = f"http://127.0.0.1:{world.ports[GATEWAYS[0]]}/api/orders"

    def check(order_id: str) -> str | None:
        fault = ""
        for _ in range(5):  # a workflow that must be loaded again may take longer than the gateway waits
            timeline = httpx.get(f"{url}/{order_id}/timeline", timeout=20).json()
            fault = _fault(timeline, logged[order_id], by_workflow=order_id not in redriven)
            if not fault:
                return None
        return f"timeline of {order_id}: {fault}"

    with ThreadPoolExecutor(4) as pool:
        found = [fault for fault in pool.map(check, order_ids) if fault]
    return [*found[:_SHOWN], f"… and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else found


def _fault(timeline: dict[str, Any], logged: set[str], *, by_workflow: bool) -> str:
    entries = timeline.get("entries", [])
    told = [entry["eventId"] for entry in entries]
    if len(set(told)) != len(told):
        return "an event is told twice"
    if set(told) != logged:
        return f"{len(logged - set(told))} events are missing, {len(set(told) - logged)} were never logged"
    for place, entry in enumerate(entries):
        if entry["cause"]["causationId"] in told[place:]:
            return f"{entry['eventType']} is told before its cause"
    if by_workflow and timeline["source"] != "workflow":
        return f"its workflow did not tell it, {timeline['source']} did"
    return ""
