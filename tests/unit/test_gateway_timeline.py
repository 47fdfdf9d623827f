"""The gateway tells a timeline from the workflow if it lacks nothing, and else from the event logs."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from api.gateway.dependencies import Limits
from models.ids import uuid7
from models.messages import Envelope
from tests.support.events import APPROVED, CANCELLED_BY_USER, CREATED, ORDER, PAID
from tests.support.fakes.gateway import Neighbours
from tests.support.gateway_http import problem
from workflows.timeline import build, timeline_as_json

pytestmark = pytest.mark.anyio

TIMELINE = f"/api/orders/{ORDER}/timeline"
SAGA = (CREATED, APPROVED, PAID)
WORKFLOW, LOGS = "workflow", "event logs"


def log(around: Neighbours, *events: Envelope) -> None:
    """Put events into the event logs of the services they are from."""
    of_payment = [event for event in events if event.event_type.startswith("Payment")]
    around.orders.log(f"/orders/{ORDER}/events", *(event for event in events if event not in of_payment))
    around.payments.log(f"/payments/order/{ORDER}/events", *of_payment)


def told(source: str, *events: Envelope) -> Any:
    """The body of a timeline of these events."""
    return msgspec.json.decode(msgspec.json.encode(timeline_as_json(build(events, source=source))))


async def test_the_workflow_tells_what_the_event_logs_have(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.timelines.tell(ORDER, *SAGA)
    log(around, *SAGA)

    assert (await client.get(TIMELINE)).json() == told(WORKFLOW, *SAGA)


async def test_what_the_workflow_heard_a_moment_after_the_logs_were_read_is_told(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.timelines.tell(ORDER, *SAGA)
    log(around, CREATED, APPROVED)

    assert (await client.get(TIMELINE)).json() == told(WORKFLOW, *SAGA)


@pytest.mark.parametrize("known", [(), (CREATED,), (CREATED, APPROVED), (APPROVED, PAID)])
async def test_a_workflow_that_lacks_an_event_is_not_believed(
    client: httpx.AsyncClient, around: Neighbours, known: tuple[Envelope, ...]
) -> None:
    around.timelines.tell(ORDER, *known)
    log(around, *SAGA)

    assert (await client.get(TIMELINE)).json() == told(LOGS, *SAGA)


@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_without_temporal_the_event_logs_tell(client: httpx.AsyncClient, around: Neighbours, how: str) -> None:
    around.timelines.tell(ORDER, *SAGA)
    log(around, *SAGA)
    setattr(around.timelines, how, True)

    assert (await client.get(TIMELINE)).json() == told(LOGS, *SAGA)


def test_a_workflow_is_waited_for_a_second_at_most() -> None:
    assert Limits().workflow <= 1.0


async def test_both_are_asked_at_once(around: Neighbours) -> None:
    # One after the other they would take twice the limit.
    around.limits = Limits(query=1.0, workflow=1.0)
    around.timelines.hangs = around.orders.hangs = True
    async with around.client() as client:
        began = time.monotonic()
        problem(await client.get(TIMELINE), 503)
        assert time.monotonic() - began < 1.9


async def test_an_order_without_a_workflow_is_told_from_the_event_logs(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    log(around, *SAGA)

    assert (await client.get(TIMELINE)).json() == told(LOGS, *SAGA)


@pytest.mark.parametrize("form", [{}, {"entries": 1}, {"entries": [{"eventType": "OrderCreated"}]}])
async def test_a_workflow_that_answers_in_another_form_is_not_believed(
    client: httpx.AsyncClient, around: Neighbours, form: Any
) -> None:
    around.timelines.told[ORDER] = form
    log(around, *SAGA)

    assert (await client.get(TIMELINE)).json() == told(LOGS, *SAGA)


# With a service away


@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_with_both_services_away_the_workflow_tells(
    client: httpx.AsyncClient, around: Neighbours, how: str
) -> None:
    around.timelines.tell(ORDER, *SAGA)
    setattr(around.orders, how, True)
    setattr(around.payments, how, True)

    assert (await client.get(TIMELINE)).json() == told(WORKFLOW, *SAGA)


@pytest.mark.parametrize(
    "known",
    [
        pytest.param((CREATED, PAID), id="a payment is missing that the order was paid by"),
        pytest.param((CANCELLED_BY_USER,), id="the order is missing that was cancelled"),
    ],
)
async def test_with_both_services_away_a_story_with_a_gap_is_not_told(
    client: httpx.AsyncClient, around: Neighbours, known: tuple[Envelope, ...]
) -> None:
    around.timelines.tell(ORDER, *known)
    around.orders.away = around.payments.away = True

    problem(await client.get(TIMELINE), 503)


async def test_with_one_service_away_the_workflow_must_have_what_the_other_logged(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    log(around, *SAGA)
    around.payments.away = True

    around.timelines.tell(ORDER, CREATED)
    problem(await client.get(TIMELINE), 503)

    around.timelines.tell(ORDER, *SAGA)
    assert (await client.get(TIMELINE)).json() == told(WORKFLOW, *SAGA)


async def test_with_neither_services_nor_temporal_the_answer_is_a_503(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.orders.away = around.payments.away = around.timelines.away = True

    problem(await client.get(TIMELINE), 503)


# Unknown and new orders


async def test_an_order_that_nobody_knows_is_a_404(client: httpx.AsyncClient) -> None:
    problem(await client.get(TIMELINE), 404)


async def test_a_workflow_that_has_heard_of_nothing_yet_makes_no_order_known(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.timelines.tell(ORDER)

    problem(await client.get(TIMELINE), 404)


async def test_an_order_accepted_a_moment_ago_is_waited_for(client: httpx.AsyncClient, around: Neighbours) -> None:
    order_id = UUID(str(uuid7(around.now)))
    reading = asyncio.create_task(client.get(f"/api/orders/{order_id}/timeline"))
    await around.feed.subscribed(order_id)
    around.orders.tell(f"/orders/{order_id}", {"id": str(order_id)})
    around.orders.log(f"/orders/{order_id}/events", CREATED)
    around.feed.push(order_id, CREATED)

    assert [entry["eventType"] for entry in (await reading).json()["entries"]] == ["OrderCreated"]
