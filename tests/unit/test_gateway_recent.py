"""An order that was accepted a moment ago is waited for, and never called unknown."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import httpx
import pytest

from models.ids import uuid7
from tests.support.events import APPROVED, CREATED, PAID
from tests.support.fakes.gateway import Asked, Neighbours
from tests.support.gateway_http import BODY, problem, told

pytestmark = pytest.mark.anyio

READS = ("/api/orders/{}", "/api/payments/order/{}", "/api/orders/{}/timeline")


async def accepted(client: httpx.AsyncClient, around: Neighbours) -> UUID:
    """The id of an order that was just answered with 202, and that no service knows yet."""
    order_id = UUID((await client.post("/api/orders", json=BODY)).json()["orderId"])
    around.orders.log(f"/orders/{order_id}/events")
    around.payments.log(f"/payments/order/{order_id}/events")
    return order_id


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("later", [0, 2, 600])
async def test_an_accepted_order_that_is_still_not_stored_is_a_503_and_no_404(
    client: httpx.AsyncClient, around: Neighbours, path: str, later: float
) -> None:
    order_id = await accepted(client, around)
    around.pass_time(later)

    answer = await client.get(path.format(order_id))

    assert "is accepted, but" in problem(answer, 503)["detail"]
    assert answer.headers["retry-after"] == "1"
    assert around.feed.idle


async def test_another_gateway_of_the_same_system_knows_that_it_was_accepted(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    order_id = await accepted(client, around)

    async with around.client() as another:
        problem(await another.get(f"/api/orders/{order_id}"), 503)


async def test_the_gateway_of_another_system_does_not(client: httpx.AsyncClient, around: Neighbours) -> None:
    order_id = await accepted(client, around)
    around.secret = b"another token"

    async with around.client() as another:
        problem(await another.get(f"/api/orders/{order_id}"), 404)


async def test_an_accepted_order_is_unknown_once_it_must_have_been_stored(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    order_id = await accepted(client, around)
    around.pass_time(around.limits.unstored)

    problem(await client.get(f"/api/orders/{order_id}"), 404)
    assert len(around.orders.asked) == 1  # and is not waited for


async def test_the_payment_of_an_accepted_order_is_waited_for(client: httpx.AsyncClient, around: Neighbours) -> None:
    order_id = await accepted(client, around)
    reading = asyncio.create_task(client.get(f"/api/payments/order/{order_id}"))
    await around.feed.subscribed(order_id)
    around.payments.tell(f"/payments/order/{order_id}", {"status": "PROCESSING"})

    assert (await reading).json() == {"status": "PROCESSING"}
    assert around.feed.idle


async def test_while_the_feed_opens_slowly_the_service_is_asked_all_the_same(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    order_id = await accepted(client, around)
    around.feed.hangs = True

    def stored_by_now(_: Asked) -> None:
        if len(around.orders.asked) == 2:
            around.orders.tell(f"/orders/{order_id}", {"status": "PAID"})

    around.orders.on_request = stored_by_now

    assert (await client.get(f"/api/orders/{order_id}")).json() == {"status": "PAID"}


async def test_ids_that_only_look_new_take_no_more_than_their_places(around: Neighbours) -> None:
    around.limits = replace(around.limits, waits_for_strangers=2)
    async with around.client() as client:
        strangers = [uuid7(around.now) for _ in range(3)]
        waiting = [asyncio.create_task(client.get(f"/api/orders/{each}")) for each in strangers[:2]]
        for each in strangers[:2]:
            await around.feed.subscribed(each)

        problem(await client.get(f"/api/orders/{strangers[2]}"), 404)
        assert not any(each.done() for each in waiting)  # the third was not waited for

        order_id = await accepted(client, around)  # and an accepted one still is
        reading = asyncio.create_task(client.get(f"/api/orders/{order_id}"))
        await around.feed.subscribed(order_id)
        around.orders.tell(f"/orders/{order_id}", {"status": "PAID"})
        assert (await reading).status_code == 200
        for answer in await asyncio.gather(*waiting):
            problem(answer, 404)


async def test_where_too_many_wait_already_an_accepted_order_is_a_503_at_once(around: Neighbours) -> None:
    around.limits = replace(around.limits, waits=0)
    async with around.client() as client:
        order_id = await accepted(client, around)

        problem(await client.get(f"/api/orders/{order_id}"), 503)
        assert len(around.orders.asked) == 1


async def test_the_stream_of_an_accepted_order_begins_before_it_is_stored(
    client: httpx.AsyncClient, around: Neighbours
) -> None:
    order_id = await accepted(client, around)
    events = [replace(each, payload={**each.payload, "orderId": str(order_id)}) for each in (CREATED, APPROVED, PAID)]
    reading = asyncio.create_task(client.get(f"/api/orders/{order_id}/stream"))
    await around.feed.subscribed(order_id)
    around.feed.push(order_id, *events)

    assert told(await reading) == ["OrderCreated", "PaymentApproved", "OrderPaid"]
    assert around.feed.idle


async def test_the_stream_of_a_stranger_that_looks_new_is_a_404(client: httpx.AsyncClient, around: Neighbours) -> None:
    order_id = uuid7(around.now)
    around.orders.log(f"/orders/{order_id}/events")
    around.payments.log(f"/payments/order/{order_id}/events")

    problem(await client.get(f"/api/orders/{order_id}/stream"), 404)
    assert around.feed.idle
