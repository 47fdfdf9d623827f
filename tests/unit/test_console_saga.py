"""The console is told of one saga what its services and Temporal know, and null for what nobody answers."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api import examples
from api.gateway.console.one_saga import messages, waits_for
from api.gateway.keys import Role, mint
from models.lifecycle import Due, OrderStatus, PaymentStatus, at_rest, over
from models.messages import Envelope
from models.saga import Coordinator
from tests.support.events import APPROVED, CANCELLED_BY_USER, CREATED, ORDER, PAID, REFUNDED, TIMED_OUT
from tests.support.fakes.gateway import Neighbours
from tests.support.gateway_http import problem
from tests.support.messages import USER
from workflows.timeline import build, timeline_as_json
from workflows.timeline_queries import WorkflowFacts

pytestmark = pytest.mark.anyio

SAGA = f"/api/console/sagas/{ORDER}"
STORED = examples.PAID_ORDER | {"id": str(ORDER), "userId": USER, "status": "PENDING_PAYMENT"}
PAYMENT = examples.PAYMENT | {"orderId": str(ORDER), "status": "PROCESSING"}
RUNNING = WorkflowFacts(
    namespace="default",
    id=f"order-{ORDER}",
    run_id="r",
    type="SagaMirror",
    status="RUNNING",
    history_events=12,
    history_of_all_runs=None,
    waiting_for="the payment, until noon",
)


@pytest.fixture
def around(around: Neighbours) -> Neighbours:
    """A saga under way: its payment is being charged."""
    around.temporal_ui = "http://ui.example/"
    around.orders.tell(f"/orders/{ORDER}", STORED)
    around.orders.log(f"/orders/{ORDER}/events", CREATED)
    around.orders.tell(f"/orders/{ORDER}/costs", {"transactions": 1, "rows": 2, "unpublished": [], "due": None})
    around.payments.tell(f"/payments/order/{ORDER}", PAYMENT)
    around.payments.log(f"/payments/order/{ORDER}/events", APPROVED)
    around.payments.tell(
        f"/payments/order/{ORDER}/costs",
        {
            "transactions": 2,
            "rows": 3,
            "unpublished": [str(APPROVED.event_id)],
            "attempts": {str(APPROVED.event_id): 3},
            "due": "charge",
        },
    )
    around.timelines.known[ORDER] = RUNNING
    return around


async def test_everything_that_is_known_of_a_saga_is_told(client: httpx.AsyncClient) -> None:
    told = (await client.get(SAGA)).json()
    assert (told["order"], told["payment"]) == (STORED, PAYMENT)
    assert [(each["eventType"], each["service"], each["published"], each["attempt"]) for each in told["events"]] == [
        ("OrderCreated", "order", True, None),  # a service of the version before tells no attempts
        ("PaymentApproved", "payment", False, 3),
    ]
    assert (told["waitsFor"], told["away"]) == ("the payment, until noon", [])
    assert told["workflow"] == {
        "id": f"order-{ORDER}",
        "runId": "r",
        "type": "SagaMirror",
        "status": "RUNNING",
        "historyEvents": 12,
        "url": f"http://ui.example/namespaces/default/workflows/order-{ORDER}/r/history",
    }
    assert told["cost"] == {
        "durationMs": 1500,
        "messages": 3,
        "rows": {"orders": 2, "payments": 3},
        "transactions": 3,
        "historyEvents": None,  # the workflow's histories still grow
    }


async def test_the_price_in_temporal_is_that_of_all_runs(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.timelines.known[ORDER] = replace(RUNNING, status="COMPLETED", history_of_all_runs=31)
    around.timelines.tell(ORDER, CREATED, APPROVED)
    told = (await client.get(SAGA)).json()
    assert (told["workflow"]["historyEvents"], told["cost"]["historyEvents"]) == (12, 31)


async def test_there_is_no_price_in_temporal_while_a_workflow_lacks_an_event(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.timelines.known[ORDER] = replace(RUNNING, status="COMPLETED", history_of_all_runs=31)
    around.timelines.tell(ORDER, CREATED)  # another run begins when the mirror hears of the other event
    assert (await client.get(SAGA)).json()["cost"]["historyEvents"] is None


async def test_without_temporal_the_services_tell_the_rest(client: httpx.AsyncClient, around: Neighbours) -> None:
    for around.timelines.away, around.timelines.hangs in ((True, False), (False, True)):
        told = (await client.get(SAGA)).json()
        assert (told["workflow"], told["cost"]["historyEvents"], len(told["events"])) == (None, None, 2)
        assert told["waitsFor"] == "the provider's answer to the charge"


async def test_without_the_payment_service_the_others_tell_the_rest(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.payments.away = True
    around.timelines.tell(ORDER, CREATED)
    told = (await client.get(SAGA)).json()
    assert (told["order"]["status"], told["payment"], told["cost"]["transactions"]) == ("PENDING_PAYMENT", None, None)
    assert [(each["eventType"], each["published"]) for each in told["events"]] == [("OrderCreated", None)]
    assert told["cost"]["rows"] == {"orders": 2, "payments": None}
    assert (told["away"], told["waitsFor"]) == (["payment"], "the payment, until noon")
    around.timelines.known.clear()
    told = (await client.get(SAGA)).json()
    assert (told["away"], told["waitsFor"]) == (["payment"], None), "nobody knows whether it has taken up the order"


async def test_without_the_order_service_the_others_tell_the_rest(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.orders.away = True
    told = (await client.get(SAGA)).json()
    assert (told["order"], told["payment"]["status"], told["events"]) == (None, "PROCESSING", [])
    assert (told["away"], told["waitsFor"]) == (["order"], "the payment, until noon")


async def test_an_unknown_order_is_a_404(client: httpx.AsyncClient) -> None:
    assert problem(await client.get(f"/api/console/sagas/{UUID(int=1)}"), 404)
    assert problem(await client.get("/api/console/sagas/1"), 422)


async def test_totals_are_a_users_own(around: Neighbours) -> None:
    alice, record = mint("alice", Role.CLIENT, UUID(USER))
    shop, shops = mint("shop", Role.CLIENT)
    around.keys = (record, shops)
    around.orders.tell("/totals", {"total": 7})
    async with around.client() as client:
        for key in (alice, shop):
            answer = await client.get("/api/console/totals", headers={"Authorization": f"Bearer {key}"})
            assert answer.json() == {"total": 7}
    assert [asked.params for asked in around.orders.asked] == [{"userId": USER}, {}]


@pytest.mark.parametrize(
    ("coordinator", "events", "reason", "number"),
    [
        (Coordinator.CHOREOGRAPHY, [CREATED, APPROVED, PAID], None, 4),  # and the command to create
        (Coordinator.ORCHESTRATION, [CREATED, APPROVED, PAID], None, 3),
        (Coordinator.CHOREOGRAPHY, [CREATED, APPROVED, PAID, CANCELLED_BY_USER, REFUNDED], "USER_REQUESTED", 7),
        (Coordinator.CHOREOGRAPHY, [CREATED, TIMED_OUT], "PAYMENT_TIMEOUT", 3),  # a timer cancels by a transaction
    ],
)
async def test_messages_are_events_and_the_commands_that_they_answer(
    coordinator: Coordinator, events: list[Envelope], reason: str | None, number: int
) -> None:
    own = {event.event_id: uuid4() for event in events if event.causation_id == CREATED.causation_id}
    timeline: dict[str, Any] = timeline_as_json(build(events)) | {"coordinator": coordinator}
    for entry in timeline["entries"]:  # each command has an id of its own
        if entry["eventId"] in own:
            entry["cause"] = {**entry["cause"], "causationId": own[entry["eventId"]]}
    assert messages(timeline, {"cancelReason": reason}) == number


async def test_every_saga_that_is_not_at_rest_waits_for_something() -> None:
    for order, payment, due in itertools.product(OrderStatus, [None, *PaymentStatus], [None, *Due]):
        if due is not None or not over(order, payment):
            assert waits_for(order, payment, due), (order, payment, due)
        elif at_rest(order, payment, due):
            assert waits_for(order, payment, due) is None
