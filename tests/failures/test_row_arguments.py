"""Absurd arguments of signals, updates and workflows change nothing (docs/failures.md, row 40)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.service import RPCError

from tests.support.messages import create
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import Servers, World
from workflows.naming import MIRROR_TASK_QUEUE, ORDER_TASK_QUEUE, SAGA_TASK_QUEUE, workflow_id

pytestmark = pytest.mark.temporal

Given = Sequence[Any]  # the arguments of a signal, an update or a workflow

BROKEN = RawValue(Payload(metadata={"encoding": b"json/plain"}, data=b"{"))
FOREIGN = RawValue(Payload(metadata={"encoding": b"binary/encrypted"}, data=b"\x00\xff"))
MESSAGE = RawValue(Payload(metadata={"encoding": b"json/protobuf", "messageType": b"no.such.Message"}, data=b"{}"))
UNTYPED = RawValue(Payload(data=b"no metadata at all"))
HALF_A_CHARACTER = RawValue(Payload(metadata={"encoding": b"json/plain"}, data=b'{"correlation_id": "\\ud800"}'))

SHAPELESS: list[Given] = [
    [],
    [None],
    [True],
    [-1],
    [1e308],
    ["USER_REQUESTED"],
    [b"\x00\xff"],
    [[]],
    [{}],
    [BROKEN],
    [FOREIGN],
    [MESSAGE],
    [UNTYPED],
    [FOREIGN, BROKEN],
    [None] * 50,
]
CANCELLATIONS: list[Given] = [
    *SHAPELESS,
    [HALF_A_CHARACTER],
    [{"correlation_id": ""}],
    [{"correlation_id": "c" * 300}],
    [{"correlation_id": "é" * 128}],
    [{"correlation_id": "a\0b"}],
    [{"correlation_id": 7}],
    [{"correlation_id": None}],
    [{"reason": "USER_REQUESTED"}],
    [{"correlation_id": "c", "reason": ""}],
    [{"correlation_id": "c", "reason": "PAYMENT_DECLINED"}],
    [{"correlation_id": "c", "reason": "BECAUSE" * 10_000}],
    [{"correlation_id": "c", "reason": None}],
    [{"correlation_id": "c", "reason": ["USER_REQUESTED"]}],
    [{"correlation_id": "c"}, {"correlation_id": "c"}],
    ["c", "USER_REQUESTED"],
]


@pytest.fixture(scope="module")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    server = TemporalServer(tmp_path_factory.mktemp("arguments") / "temporal")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def running(servers: Servers, temporal: TemporalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All four processes and Temporal, shared by all tests. Each test has orders of its own."""
    world = World(servers, tmp_path_factory.mktemp("world"))
    world.env["SAGA_TEMPORAL_ADDRESS"] = temporal.address
    for name in ("order", "payment", "gateway", "worker"):
        world.start(name)
    yield world
    world.close()


def signal(temporal: TemporalServer, order_id: str, name: str, givens: Sequence[Given]) -> None:
    async def send(client: Client) -> None:
        for given in givens:
            await client.get_workflow_handle(workflow_id(order_id)).signal(name, args=given)

    temporal.ask(send)


def refusals(temporal: TemporalServer, order_id: str, name: str, givens: Sequence[Given]) -> list[str]:
    """The reason for which each update is refused. An update that is accepted fails the test."""

    async def ask(client: Client) -> list[str]:
        why = []
        for given in givens:
            with pytest.raises(WorkflowUpdateFailedError) as refused:
                await client.get_workflow_handle(workflow_id(order_id)).execute_update(name, args=given)
            why.append(str(refused.value.cause))
        return why

    return temporal.ask(ask)


def ended(temporal: TemporalServer, order_id: str) -> bool:
    run = temporal.run_of(order_id)
    return run is not None and run[1] is not WorkflowExecutionStatus.RUNNING


def failed_tasks(temporal: TemporalServer, order_id: str) -> int:
    async def count(client: Client) -> int:
        history = await client.get_workflow_handle(workflow_id(order_id)).fetch_history()
        kinds = [event["eventType"] for event in history.to_json_dict()["events"]]
        return sum(kind in ("EVENT_TYPE_WORKFLOW_TASK_FAILED", "EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT") for kind in kinds)

    return temporal.ask(count)


def test_40_absurd_cancellations_of_a_saga_change_nothing_and_a_valid_one_is_carried_out(
    running: World, temporal: TemporalServer
) -> None:
    order_id = running.post("pm_slow", coordinator="orchestration")
    running.wait_status(order_id, "PENDING_PAYMENT", "PROCESSING")
    signal(temporal, order_id, "cancel", CANCELLATIONS)
    signal(temporal, order_id, "no such signal", SHAPELESS)
    why = refusals(temporal, order_id, "cancel", CANCELLATIONS)
    assert all(reason and "Traceback" not in reason for reason in why)
    assert {reason for reason in why if "CancelRequest" not in reason} == set()
    assert refusals(temporal, order_id, "no such update", SHAPELESS[:2])
    running.wait_status(order_id, "PENDING_PAYMENT", "PROCESSING")
    assert running.request("PATCH", f"/orders/{order_id}/cancel").status_code == 202
    running.wait_status(order_id, "CANCELLED", "CANCELLED")
    running.wait_at_rest([order_id])
    until(lambda: ended(temporal, order_id), what="the saga has ended")
    assert failed_tasks(temporal, order_id) == 0


def test_40_a_saga_ends_as_it_would_have_whatever_else_it_was_told(running: World, temporal: TemporalServer) -> None:
    order_id = running.post("pm_slow", coordinator="orchestration")
    running.wait_status(order_id, "PENDING_PAYMENT", "PROCESSING")
    signal(temporal, order_id, "cancel", CANCELLATIONS)
    refusals(temporal, order_id, "cancel", CANCELLATIONS[:3])
    running.wait_status(order_id, "PAID", "APPROVED")
    running.wait_at_rest([order_id])
    until(lambda: ended(temporal, order_id), what="the saga has ended")
    assert failed_tasks(temporal, order_id) == 0


@pytest.mark.parametrize("how", ["signal", "update"])
def test_40_a_valid_cancellation_by_a_stranger_leaves_events_that_everybody_can_read(
    running: World, temporal: TemporalServer, how: str
) -> None:
    order_id = running.post(coordinator="orchestration")
    running.wait_status(order_id, "PAID", "APPROVED")
    slow = running.post("pm_slow", coordinator="orchestration")
    running.wait_status(slow, "PENDING_PAYMENT", "PROCESSING")
    longest = {"correlation_id": "é" * 127 + "c"}  # 255 bytes
    if how == "signal":
        signal(temporal, slow, "cancel", [[longest]])
    else:

        async def ask(client: Client) -> Any:
            return await client.get_workflow_handle(workflow_id(slow)).execute_update("cancel", longest)

        assert temporal.ask(ask) == "CANCELLED"
    running.wait_status(slow, "CANCELLED", "CANCELLED")
    running.wait_at_rest([order_id, slow])
    timeline = running.request("GET", f"/orders/{slow}/timeline").json()
    assert [entry["eventType"] for entry in timeline["entries"]][:2] == ["OrderCreated", "OrderCancelled"]


RECORDS: list[Given] = [
    *SHAPELESS,
    [[None, 7, "OrderPaid", [], {}]],
    [[{"eventType": "OrderCreated"}]],
    [[{"eventType": 10**30, "eventId": "e"}]],
    [[{"eventType": "x" * 100_000}]],
    [[{"eventType": "Ignored\0"}]],
    [RawValue(Payload(metadata={"encoding": b"json/plain"}, data=b'[{"eventType": "\\ud800"}]'))],
    [RawValue(Payload(metadata={"encoding": b"json/plain"}, data=b"[" * 900 + b"]" * 900))],
    [[], []],
]


def event(event_type: str, order_id: object, **payload: Any) -> dict[str, Any]:
    return {
        "eventType": event_type,
        "eventId": str(uuid4()),
        "occurredAt": "2026-02-15T01:42:19.000Z",
        "correlationId": "c",
        "payload": {"orderId": order_id, **payload},
    }


NO_ORDERS: tuple[object, ...] = (None, 7, "", "no id", {"deep": {}})


def strange_events(another: str) -> list[Given]:
    """Signals with one event each, of no order or of another one, long past the deadline."""
    events = [
        event("OrderCreated", order, userId="u", total=total)
        for order in (*NO_ORDERS, another)
        for total in (None, 10**30, 1e400, "much")
    ]
    events.append(event("OrderCancelled", another, reason="USER_REQUESTED", total=1))
    return [[[each]] for each in events]


def test_40_absurd_events_told_to_a_mirror_change_nothing_of_its_story(
    running: World, temporal: TemporalServer
) -> None:
    order_id, another = str(uuid4()), str(uuid4())
    running.publish(create(order_id, "pm_slow"))
    until(lambda: temporal.run_of(order_id), what="it has a mirror")
    signal(temporal, order_id, "record", [*RECORDS, *strange_events(another)])
    signal(temporal, order_id, "no such signal", SHAPELESS)
    running.wait_status(order_id, "PAID", "APPROVED")
    until(lambda: ended(temporal, order_id), what="the mirror has closed")
    told = [entry["eventType"] for entry in temporal.timeline(order_id)["entries"]]
    assert told == ["OrderCreated", "PaymentApproved", "OrderPaid"]
    assert failed_tasks(temporal, order_id) == 0


def test_40_a_mirror_that_only_ever_heard_of_other_orders_does_nothing_to_any(
    running: World, temporal: TemporalServer
) -> None:
    order_id, another = str(uuid4()), running.post(coordinator="choreography")
    running.wait_status(another, "PAID", "APPROVED")

    async def start(client: Client) -> None:
        id, given = workflow_id(order_id), VALID["SagaMirror"]
        await client.start_workflow("SagaMirror", given, id=id, task_queue=MIRROR_TASK_QUEUE)

    temporal.ask(start)
    signal(temporal, order_id, "record", [*strange_events(another), *RECORDS])
    assert temporal.timeline(order_id)["entries"] == []  # it has read the signals before the query
    assert failed_tasks(temporal, order_id) == 0
    assert running.find_order(order_id) is None
    running.wait_status(another, "PAID", "APPROVED")


INPUTS: dict[str, list[dict[str, Any]]] = {  # what is changed of a valid input
    "OrderSaga": [
        {"correlation_id": ""},
        {"correlation_id": "c" * 300},
        {"payment_timeout": -1},
        {"payment_timeout": 1e300},
        {"payment_timeout": "long"},
        {"retry_delays": []},
        {"retry_delays": [0]},
        {"retry_delays": [1e-300, 1e300]},
        {"order_id": "no id"},
        {"order_id": str(uuid4())},
        {"order": {"user_id": "u"}},
        {"order": {"user_id": "u", "total": 1, "currency": "USD", "payment_method": None, "event_id": "e"}},
        {"order": {"user_id": "u", "total": -5, "currency": "X", "payment_method": "y", "event_id": str(uuid4())}},
        {},
    ],
    "SagaMirror": [
        {"payment_timeout": -1},
        {"compensation_timeout": 1e300},
        {"republished": 10**9},
        {"next_try": "tomorrow"},
        {"next_try": "2026-01-01T00:00:00"},
        {"events": 7},
        {"unknown": 7},
    ],
    "Reconciler": [
        {"part": "all of it"},
        {"page": 0},
        {"grace": -1},
        {"after": {"at": 1}},
        {"so_far": 7},
    ],
}
QUEUES = {"OrderSaga": ORDER_TASK_QUEUE, "SagaMirror": MIRROR_TASK_QUEUE, "Reconciler": SAGA_TASK_QUEUE}
VALID: dict[str, dict[str, Any]] = {
    "OrderSaga": {"correlation_id": "c", "order": None, "payment_timeout": 900},
    "SagaMirror": {"payment_timeout": 900, "compensation_timeout": 60},
    "Reconciler": {"payment_timeout": 900, "grace": 1, "payment_patience": 1, "compensation_patience": 1},
}


@pytest.mark.parametrize("workflow", INPUTS)
def test_40_a_workflow_started_with_an_absurd_input_fails_at_once_and_moves_nothing(
    running: World, temporal: TemporalServer, workflow: str
) -> None:
    async def start_each(client: Client) -> list[str]:
        queue = QUEUES[workflow]
        order_ids = []
        for change in [*SHAPELESS, *INPUTS[workflow]]:
            order_ids.append(order_id := str(uuid4()))
            ours = {"order_id": order_id} if workflow == "OrderSaga" else {}
            given = [{**VALID[workflow], **ours, **change}] if isinstance(change, dict) else list(change)
            await client.start_workflow(workflow, args=given, id=workflow_id(order_id), task_queue=queue)
        return order_ids

    order_ids = temporal.ask(start_each)
    until(lambda: all(ended(temporal, each) for each in order_ids), what="all have ended")
    for order_id in order_ids:
        assert failed_tasks(temporal, order_id) == 0
        assert running.find_order(order_id) is None
        assert running.find_payment(order_id) is None
    # A worker that had to fail tasks for ever would have no time for anybody else.
    running.wait_status(running.post(coordinator="orchestration"), "PAID", "APPROVED")
    running.wait_at_rest()


def test_40_a_saga_under_another_orders_workflow_id_is_refused(running: World, temporal: TemporalServer) -> None:
    order_id = running.post(coordinator="orchestration")
    running.wait_status(order_id, "PAID", "APPROVED")

    async def start(client: Client) -> WorkflowExecutionStatus | None:
        given = {**VALID["OrderSaga"], "order_id": order_id}
        handle = await client.start_workflow("OrderSaga", given, id="another-id", task_queue=ORDER_TASK_QUEUE)
        with pytest.raises(Exception, match="Workflow execution failed"):
            await handle.result()
        return (await handle.describe()).status

    assert temporal.ask(start) is WorkflowExecutionStatus.FAILED
    running.wait_status(order_id, "PAID", "APPROVED")


def test_40_queries_ignore_arguments_that_they_do_not_take_and_an_unknown_one_is_refused(
    running: World, temporal: TemporalServer
) -> None:
    order_id = running.post(coordinator="orchestration")
    running.wait_status(order_id, "PAID", "APPROVED")

    async def ask(client: Client) -> Any:
        handle = client.get_workflow_handle(workflow_id(order_id))
        for given in ([7], [FOREIGN], [None, BROKEN]):
            for name in ("status", "timeline"):
                assert await handle.query(name, args=given) == await handle.query(name)
            with pytest.raises((RPCError, WorkflowQueryFailedError)):
                await handle.query("no such query", args=given)
        return await handle.query("status")

    assert temporal.ask(ask)["orderStatus"] == "PAID"
