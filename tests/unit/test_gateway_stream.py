"""A saga can be followed by server-sent events, and by POST with `Prefer: wait`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from models.ids import uuid7
from models.messages import Envelope
from tests.support.events import (
    APPROVED,
    CANCELLED_BY_USER,
    CREATED,
    LATE_REFUND,
    ORDER,
    PAID,
    PAYMENT_CANCELLED,
    REFUNDED,
)
from tests.support.fakes.gateway import Neighbours
from tests.support.gateway_http import BODY, problem, told

pytestmark = pytest.mark.anyio

STREAM = f"/api/orders/{ORDER}/stream"
ORDER_EVENTS = f"/orders/{ORDER}/events"
PAYMENT_EVENTS = f"/payments/order/{ORDER}/events"


@pytest.fixture
def around() -> Neighbours:
    around = Neighbours()
    around.orders.tell(f"/orders/{ORDER}", {"id": str(ORDER)})
    around.orders.log(ORDER_EVENTS, CREATED)
    around.payments.log(PAYMENT_EVENTS)
    return around


async def follow(client: httpx.AsyncClient, around: Neighbours, *live: Envelope | None) -> httpx.Response:
    """The whole stream, when these events come while it is open."""
    reading = asyncio.create_task(client.get(STREAM))
    await around.feed.subscribed(ORDER)
    around.feed.push(ORDER, *live)
    answer = await reading
    assert around.feed.idle
    return answer


async def test_a_stream_tells_what_is_known_then_what_happens_and_ends_with_the_saga(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    assert told(await follow(client, around, APPROVED, PAID)) == ["OrderCreated", "PaymentApproved", "OrderPaid"]


async def test_an_event_that_is_logged_and_arrives_as_well_is_told_once(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    answer = await follow(client, around, CREATED, CREATED, APPROVED, APPROVED, PAID)

    assert told(answer) == ["OrderCreated", "PaymentApproved", "OrderPaid"]


async def test_an_event_without_its_cause_sends_the_reader_back_to_the_event_logs(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.payments.log(PAYMENT_EVENTS)
    reading = asyncio.create_task(client.get(STREAM))
    await around.feed.subscribed(ORDER)
    await until_asked(around, 1)
    around.payments.log(PAYMENT_EVENTS, APPROVED)
    around.feed.push(ORDER, PAID)

    assert told(await reading) == ["OrderCreated", "PaymentApproved", "OrderPaid"]


async def until_asked(around: Neighbours, times: int) -> None:
    """Wait until the payment service was asked so often."""
    asked = asyncio.Event()
    around.payments.on_request = lambda _: asked.set() if len(around.payments.asked) >= times else None
    if len(around.payments.asked) < times:
        await asked.wait()


async def test_after_an_interruption_of_the_feed_the_event_logs_fill_the_gap(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    reading = asyncio.create_task(client.get(STREAM))
    await around.feed.subscribed(ORDER)
    await until_asked(around, 1)
    around.orders.log(ORDER_EVENTS, CREATED, PAID)
    around.payments.log(PAYMENT_EVENTS, APPROVED)
    around.feed.push(ORDER, None)

    assert told(await reading) == ["OrderCreated", "PaymentApproved", "OrderPaid"]


async def test_an_entry_is_the_timelines_own(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.orders.log(ORDER_EVENTS, CREATED, PAID)
    around.payments.log(PAYMENT_EVENTS, APPROVED)
    stream = (await client.get(STREAM)).text
    timeline = (await client.get(f"/api/orders/{ORDER}/timeline")).json()

    entries = [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line.startswith("data: ")]
    ids = [line.removeprefix("id: ") for line in stream.splitlines() if line.startswith("id: ")]

    assert timeline["entries"] == entries
    assert [entry["eventId"] for entry in entries] == ids


async def test_a_stream_goes_on_behind_the_last_event_received(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.orders.log(ORDER_EVENTS, CREATED, PAID)
    around.payments.log(PAYMENT_EVENTS, APPROVED)

    answer = await client.get(STREAM, headers={"Last-Event-ID": str(APPROVED.event_id)})

    assert told(answer) == ["OrderPaid"]


async def test_what_came_late_is_told_after_a_resumption_though_it_stands_earlier_in_the_timeline(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    """The reader heard of the cancellation first. The approval was committed before it, and published after it."""
    cancelled = replace(CANCELLED_BY_USER, occurred_at=APPROVED.occurred_at + timedelta(milliseconds=5))
    around.orders.log(ORDER_EVENTS, CREATED, cancelled)
    around.payments.log(PAYMENT_EVENTS, APPROVED)

    reading = asyncio.create_task(client.get(STREAM, headers={"Last-Event-ID": str(cancelled.event_id)}))
    await around.feed.subscribed(ORDER)
    around.payments.log(PAYMENT_EVENTS, APPROVED, REFUNDED)
    around.feed.push(ORDER, REFUNDED)

    assert told(await reading) == ["PaymentApproved", "PaymentRefunded"]


async def test_a_last_event_that_is_not_known_starts_the_stream_from_the_beginning(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.orders.log(ORDER_EVENTS, CREATED, PAID)
    around.payments.log(PAYMENT_EVENTS, APPROVED)

    assert len(told(await client.get(STREAM, headers={"Last-Event-ID": "nonsense"}))) == 3


async def test_a_reader_who_has_seen_the_end_is_told_to_stop(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.orders.log(ORDER_EVENTS, CREATED, PAID)
    around.payments.log(PAYMENT_EVENTS, APPROVED)

    answer = await client.get(STREAM, headers={"Last-Event-ID": str(PAID.event_id)})

    assert (answer.status_code, answer.content) == (204, b"")
    assert around.feed.idle


async def test_a_cancelled_paid_order_is_followed_until_its_refund(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.orders.log(ORDER_EVENTS, CREATED, PAID, CANCELLED_BY_USER)
    around.payments.log(PAYMENT_EVENTS, APPROVED)

    assert told(await follow(client, around, REFUNDED))[-1] == "PaymentRefunded"


async def test_a_stream_ends_with_the_cancelled_payment_though_a_refund_may_follow(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    answer = await follow(client, around, CANCELLED_BY_USER, PAYMENT_CANCELLED, LATE_REFUND)

    assert told(answer) == ["OrderCreated", "OrderCancelled", "PaymentCancelled"]


async def test_an_idle_stream_shows_signs_of_life(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.limits = replace(around.limits, heartbeat=0.01)
    async with around.client() as client:
        reading = asyncio.create_task(client.get(STREAM))
        await around.feed.subscribed(ORDER)
        asyncio.get_running_loop().call_later(1.0, around.feed.push, ORDER, APPROVED, PAID)
        answer = await reading

    assert ": still here" in answer.text
    assert len(told(answer)) == 3


async def test_a_stream_without_the_broker_is_a_503(client: httpx.AsyncClient, around: Neighbours) -> None:
    around.feed.away = True

    problem(await client.get(STREAM), 503)


async def test_a_reader_who_leaves_is_forgotten(client: httpx.AsyncClient, around: Neighbours) -> None:
    reading = asyncio.create_task(client.get(STREAM))
    await around.feed.subscribed(ORDER)
    reading.cancel()
    await asyncio.wait([reading])

    assert around.feed.idle


async def test_a_stream_ends_when_a_service_goes_away_so_that_the_reader_comes_back(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    reading = asyncio.create_task(client.get(STREAM))
    await around.feed.subscribed(ORDER)
    await until_asked(around, 1)
    around.payments.away = True
    around.feed.push(ORDER, None)

    assert told(await reading) == ["OrderCreated"]


# Prefer: wait


class Saga:
    """Runs a saga by itself as soon as its command is published."""

    def __init__(self, around: Neighbours, *kinds: Envelope) -> None:
        self._around = around
        self._events = kinds
        around.broker.on_publish = self._run

    def _run(self, command: Envelope) -> None:
        order_id = UUID(str(command.payload["orderId"]))
        self._around.orders.tell(f"/orders/{order_id}", {"id": str(order_id), "status": "PAID"})
        self._around.feed.push(order_id, *self._events)


async def place(client: httpx.AsyncClient, *prefer: str, **headers: str) -> httpx.Response:
    preferences = [("Prefer", value) for value in prefer]
    return await client.post("/api/orders", json=BODY, headers=[*preferences, *headers.items()])


async def test_with_wait_the_answer_is_the_order_once_its_saga_is_over(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    Saga(around, CREATED, APPROVED, PAID)

    answer = await place(client, "wait=10")

    assert (
        answer.status_code,
        answer.json()["status"],
        answer.headers["preference-applied"],
    ) == (200, "PAID", "wait=10")
    assert around.feed.idle


async def test_with_wait_the_answer_is_202_when_the_time_is_up(client: httpx.AsyncClient, around: Neighbours) -> None:
    Saga(around, CREATED)

    answer = await place(client, "wait=0")

    assert (
        answer.status_code,
        answer.json()["status"],
        answer.headers["preference-applied"],
    ) == (202, "PENDING_PAYMENT", "wait=0")
    assert around.feed.idle


async def test_with_wait_an_order_is_accepted_with_both_services_down(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.orders.away = around.payments.away = True

    assert (await place(client, "wait=1")).status_code == 202


async def test_with_wait_a_repeated_order_that_is_over_is_answered_at_once(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    order_id = str(uuid7(around.now))
    first = await client.post("/api/orders", json=BODY, headers={"Idempotency-Key": "k"})
    order_id = first.json()["orderId"]
    around.orders.log(f"/orders/{order_id}/events", CREATED, PAID)
    around.payments.log(f"/payments/order/{order_id}/events", APPROVED)
    around.orders.tell(f"/orders/{order_id}", {"id": order_id, "status": "PAID"})

    answer = await client.post("/api/orders", json=BODY, headers={"Idempotency-Key": "k", "Prefer": "wait=10"})

    assert (200, order_id) == (answer.status_code, answer.json()["id"])


@pytest.mark.parametrize(("status", "answers"), [("PAID", 200), ("FAILED", 200), ("PENDING_PAYMENT", 202)])
async def test_with_wait_a_repeated_order_whose_events_are_removed_is_answered_at_once(
    client: httpx.AsyncClient, around: Neighbours, status: str, answers: int
) -> None:
    order_id = (await client.post("/api/orders", json=BODY, headers={"Idempotency-Key": "k"})).json()["orderId"]
    around.orders.log(f"/orders/{order_id}/events")
    around.payments.log(f"/payments/order/{order_id}/events")
    around.orders.tell(f"/orders/{order_id}", {"id": order_id, "status": status})

    wait = "wait=30" if answers == 200 else "wait=1"  # the one that is pending is waited for
    async with asyncio.timeout(20):  # less than the wait that is asked for
        answer = await client.post("/api/orders", json=BODY, headers={"Idempotency-Key": "k", "Prefer": wait})

    assert (answer.status_code, answer.json()["status"]) == (answers, status)


async def test_with_wait_a_service_that_is_away_may_come_back_in_time(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    first = await client.post("/api/orders", json=BODY, headers={"Idempotency-Key": "k"})
    order_id = first.json()["orderId"]
    around.orders.log(f"/orders/{order_id}/events", CREATED, PAID)
    around.payments.log(f"/payments/order/{order_id}/events", APPROVED)
    around.orders.tell(f"/orders/{order_id}", {"id": order_id, "status": "PAID"})
    around.payments.away = True

    waiting = asyncio.create_task(
        client.post("/api/orders", json=BODY, headers={"Idempotency-Key": "k", "Prefer": "wait=20"})
    )
    while not around.payments.asked:  # noqa: ASYNC110 - the fake tells nobody
        await asyncio.sleep(0.01)
    around.payments.away = False

    assert ((await waiting).status_code, waiting.result().json()["status"]) == (200, "PAID")


async def test_with_wait_and_without_the_broker_an_orchestrated_order_is_accepted_all_the_same(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.feed.away = around.broker.away = True

    body = BODY | {"coordinator": "orchestration"}
    answer = await client.post("/api/orders", json=body, headers={"Prefer": "wait=10"})

    assert answer.status_code == 202
    assert [str(started.command.order_id) for started in around.orchestration.started] == [answer.json()["orderId"]]


async def test_with_wait_and_without_the_broker_nothing_is_accepted(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    around.feed.away = around.broker.away = True

    problem(await place(client, "wait=10"), 503)


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        (["wait=31"], "wait=30"),
        (["wait=7"], "wait=7"),
        (['WAIT = "7"'], "wait=7"),
        (["respond-async, wait=7; foo=bar"], "wait=7"),
        (["respond-async", "wait=7"], "wait=7"),
        (["wait=7, wait=9"], "wait=7"),
    ],
)
async def test_the_first_wait_counts_and_thirty_seconds_are_the_most(
    client: httpx.AsyncClient, around: Neighbours, prefer: list[str], applied: str
) -> None:
    Saga(around, CREATED, APPROVED, PAID)

    assert applied == (await place(client, *prefer)).headers["preference-applied"]


@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=-1", "wait=1.5", "wait=soon", "respond-async", "", "=,;"])
async def test_a_preference_that_makes_no_sense_is_ignored(
    client: httpx.AsyncClient, around: Neighbours, prefer: str
) -> None:
    answer: Any = await place(client, prefer)

    assert (answer.status_code, "preference-applied" in answer.headers) == (202, False)
