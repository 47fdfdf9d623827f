"""The gateway takes a timeline from the workflow while it answers, and else from the event logs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from temporalio.client import Client

from api.gateway.dependencies import Limits
from api.gateway.orchestration import Orchestration
from models.ids import uuid7
from models.messages import Envelope, decode
from models.saga import CreateOrderRequested, OrderId, UserId, derived_id
from tests.support.fakes.gateway import Neighbours
from tests.support.fakes.saga_services import FakeServices
from tests.support.fakes.sagas import Story
from tests.support.temporal import TemporalServer
from workflows import worker
from workflows.mirrors import SagaMirrors
from workflows.naming import workflow_id
from workflows.temporal_client import connect
from workflows.timeline_queries import WorkflowTimelines


@dataclass
class Stage:
    """Temporal with its worker, and a gateway with fake services."""

    server: TemporalServer
    client: Client
    around: Neighbours
    services: FakeServices
    workers: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def timeline(self, order_id: object) -> Any:
        async with self.around.client() as client:
            answer = await client.get(f"/api/orders/{order_id}/timeline")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def log(self, order_id: object, *events: Envelope) -> None:
        of_payment = [event for event in events if event.event_type.startswith("Payment")]
        self.around.orders.log(f"/orders/{order_id}/events", *(each for each in events if each not in of_payment))
        self.around.payments.log(f"/payments/order/{order_id}/events", *of_payment)

    def services_away(self, away: bool) -> None:
        self.around.orders.away = self.around.payments.away = away

    async def mirrored(self) -> tuple[str, list[Envelope]]:
        """A choreographed saga whose mirror has closed."""
        story = Story(datetime.now(UTC))
        events = [story.created, story.approved, story.paid]
        mirrors = SagaMirrors(self.client, payment_timeout=900, compensation_timeout=60)
        await mirrors.record(story.order_id, events)
        await self.client.get_workflow_handle(workflow_id(story.order_id)).result()
        return story.order_id, [decode(msgspec.json.encode(event)) for event in events]

    async def orchestrated(self) -> tuple[str, list[Envelope]]:
        """An orchestrated saga that has ended."""
        order_id = OrderId(uuid7(datetime.now(UTC)))
        command = CreateOrderRequested(order_id=order_id, user_id=UserId(UUID(int=7)), total=999)
        orchestration = Orchestration(self.client, payment_timeout=900, retry_delays=(0.5,))
        event_id = derived_id(order_id, "CreateOrderRequested")
        await orchestration.start(command, event_id=event_id, correlation_id="trace-7")
        assert await self.client.get_workflow_handle(workflow_id(order_id)).result() == "PAID"
        return str(order_id), self.services.log


def play(server: TemporalServer, test: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        client = await Client.connect(server.address)
        await worker.register(client)
        around = Neighbours(real_timelines=WorkflowTimelines(await connect(server.address, "default")), limits=Limits())
        stage = Stage(server, client, around, FakeServices())
        async with stage.workers:
            sagas = worker.order_worker(client, stage.services.order_steps, limit=100, grace=5.0)
            for each in (sagas, worker.mirror_worker(client), stage.services.payment_worker(client)):
                await stage.workers.enter_async_context(each)
            await test(stage)

    asyncio.run(run())


def facts(timeline: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in timeline.items() if name != "source"}


def test_both_workflows_tell_what_the_event_logs_tell_and_do_so_without_the_services(temporal: TemporalServer) -> None:
    async def test(stage: Stage) -> None:
        for order_id, events in (await stage.mirrored(), await stage.orchestrated()):
            stage.services_away(True)
            alone = await stage.timeline(order_id)
            stage.services_away(False)
            stage.log(order_id, *events)
            beside = await stage.timeline(order_id)
            assert (alone["source"], beside["source"]) == ("workflow", "workflow")
            assert alone == beside
            assert [entry["eventType"] for entry in alone["entries"]] == [
                "OrderCreated",
                "PaymentApproved",
                "OrderPaid",
            ]

    play(temporal, test)


def test_a_mirror_behind_the_event_logs_is_not_believed_until_it_has_caught_up(temporal: TemporalServer) -> None:
    async def test(stage: Stage) -> None:
        story = Story(datetime.now(UTC))
        mirrors = SagaMirrors(stage.client, payment_timeout=900, compensation_timeout=60)
        events = [story.created, story.declined, story.turned_down]
        stage.log(story.order_id, *(decode(msgspec.json.encode(event)) for event in events))
        by_logs = await stage.timeline(story.order_id)
        await mirrors.record(story.order_id, events[:2])
        still_by_logs = await stage.timeline(story.order_id)
        await mirrors.record(story.order_id, events[2:])
        by_workflow = await stage.timeline(story.order_id)

        assert [each["source"] for each in (by_logs, still_by_logs, by_workflow)] == ["event logs"] * 2 + ["workflow"]
        assert facts(by_logs) == facts(still_by_logs) == facts(by_workflow)

    play(temporal, test)


def test_the_histories_of_all_runs_are_counted_once_all_are_closed(temporal: TemporalServer) -> None:
    async def test(stage: Stage) -> None:
        queries = WorkflowTimelines(stage.client)
        story = Story(datetime.now(UTC))
        handle = stage.client.get_workflow_handle(workflow_id(story.order_id))
        mirrors = SagaMirrors(stage.client, payment_timeout=900, compensation_timeout=60)
        lengths = {}
        for events in ([story.created, story.approved, story.paid], [story.cancelled, story.refunded]):
            await mirrors.record(story.order_id, events[:1])
            under_way = await queries.facts(UUID(story.order_id))
            assert under_way is not None and (under_way.status, under_way.history_of_all_runs) == ("RUNNING", None)
            await mirrors.record(story.order_id, events[1:])
            await handle.result()
            told = await handle.describe()
            lengths[told.run_id] = told.history_length
        assert len(lengths) == 2
        async with asyncio.timeout(30):
            while (facts := await queries.facts(UUID(story.order_id))) and facts.history_of_all_runs is None:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)  # until the list of runs has both
        assert facts is not None and facts.history_of_all_runs == sum(lengths.values())

    play(temporal, test)


def test_without_a_worker_and_without_temporal_the_event_logs_tell(temporal: TemporalServer) -> None:
    async def test(stage: Stage) -> None:
        order_id, events = await stage.mirrored()
        stage.log(order_id, *events)
        by_workflow = await stage.timeline(order_id)
        await stage.workers.aclose()
        without_worker = await stage.timeline(order_id)
        stage.server.kill()
        without_temporal = await stage.timeline(order_id)

        assert by_workflow["source"] == "workflow"
        assert without_worker["source"] == without_temporal["source"] == "event logs"
        assert facts(by_workflow) == facts(without_worker) == facts(without_temporal)

    play(temporal, test)
