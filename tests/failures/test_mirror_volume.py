"""A thousand choreographed sagas have a thousand closed mirrors, and each tells its whole story."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.client import Client

from tests.support.messages import create
from tests.support.operating import replay
from tests.support.paths import METHODS, PATHS
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World
from workflows.naming import workflow_id

pytestmark = [pytest.mark.temporal, pytest.mark.timeout(900)]
SAGAS = 1000
_ASKED_AT_ONCE = 20  # a mirror that has closed is replayed to be asked


def test_a_thousand_sagas_have_a_thousand_closed_mirrors_and_none_ran_twice(
    world: World, temporal: TemporalServer
) -> None:
    world.env["SAGA_TEMPORAL_ADDRESS"] = temporal.address
    world.start("order", "payment", "worker")
    kinds = list(PATHS)
    orders = {str(uuid4()): kinds[n % len(kinds)] for n in range(SAGAS)}
    world.publish(*(create(order_id, METHODS[kind]) for order_id, kind in orders.items()))
    world.wait_at_rest(orders, within=240)
    wait_mirrored(world, temporal)

    assert runs(temporal) == {workflow_id(order_id): ["COMPLETED"] for order_id in orders}
    timelines = told(temporal, orders)
    logged = logs(world)
    for order_id, kind in orders.items():
        prove(timelines[order_id], PATHS[kind], logged[UUID(order_id)])

    replay(world, "order", "payment")  # each event comes once more, to a mirror that has closed
    wait_mirrored(world, temporal)
    assert runs(temporal) == {workflow_id(order_id): ["COMPLETED"] for order_id in orders}
    assert world.dead_letters() == []


def wait_mirrored(world: World, temporal: TemporalServer) -> None:
    """Wait until every event is with its mirror, and all mirrors have closed."""
    mirrors = "WorkflowType = 'SagaMirror'"

    def done() -> bool:
        waiting = world.waiting_for_mirrors()
        closed, opened = (temporal.count(f"{mirrors} AND ExecutionStatus {is_} 'Running'") for is_ in ("!=", "="))
        assert (waiting, opened) == (0, 0), f"{waiting} events wait, {opened} mirrors are open, {closed} closed"
        return closed >= SAGAS

    until(done, within=240, what="all mirrors have closed")


def prove(timeline: Mapping[str, Any], path: list[str], logged: Mapping[UUID, Mapping[str, Any]]) -> None:
    """Prove that the timeline has every logged event once, behind its cause, and as it was logged."""
    entries = timeline["entries"]
    assert [entry["eventType"] for entry in entries] == path
    assert Counter(UUID(entry["eventId"]) for entry in entries) == Counter(logged.keys())
    told_before: set[str] = set()
    for place, entry in enumerate(entries):
        row = logged[UUID(entry["eventId"])]
        cause = entry["cause"]["causationId"]
        assert (entry["eventType"], cause) == (row["event_type"], str(row["causation_id"]))
        assert place == 0 or cause in told_before  # the first answers a command
        told_before.add(entry["eventId"])
    assert timeline["over"] is True
    assert timeline["source"] == "workflow"


def runs(temporal: TemporalServer) -> dict[str, list[str]]:
    """The states of all runs of all mirrors, by workflow id."""

    async def question(client: Client) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        async for run in client.list_workflows("WorkflowType = 'SagaMirror'", page_size=1000):
            found.setdefault(run.id, []).append(run.status.name if run.status else "?")
        return found

    return temporal.ask(question)


def told(temporal: TemporalServer, orders: Mapping[str, Any]) -> dict[str, Any]:
    """The timelines of all orders, as their mirrors tell them."""

    async def question(client: Client) -> dict[str, Any]:
        slots = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def ask(order_id: str) -> Any:
            async with slots:
                return await client.get_workflow_handle(workflow_id(order_id)).query("timeline")

        return dict(zip(orders, await asyncio.gather(*map(ask, orders)), strict=True))

    return temporal.ask(question)


def logs(world: World) -> dict[UUID, dict[UUID, dict[str, Any]]]:
    """All that both services have logged, by order and event id."""
    found: dict[UUID, dict[UUID, dict[str, Any]]] = {}
    for role in ("orders", "payments"):
        for row in world.rows(role, "SELECT order_id, event_id, event_type, causation_id FROM event_log"):
            found.setdefault(row["order_id"], {})[row["event_id"]] = row
    return found
