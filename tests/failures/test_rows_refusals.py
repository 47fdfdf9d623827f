"""docs/failures.md, row 18: a command that is refused while the answer that would have accepted it is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from tests.chaos.proxy import Proxy
from tests.support.messages import USER
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.long

COORDINATORS = pytest.mark.parametrize("coordinator", ["choreography", "orchestration"])
SOON = 2.0  # seconds


@contextmanager
def way_of_the_gateway(world: World, temporal: TemporalServer, coordinator: str) -> Iterator[Proxy]:
    """Everything runs; the gateway reaches the coordinator's server by a proxy, and nobody else does."""
    world.env["SAGA_TEMPORAL_ADDRESS"] = temporal.address
    target = temporal.address if coordinator == "orchestration" else urlsplit(world.amqp_url).netloc
    proxy = Proxy(int(target.rpartition(":")[2]))
    try:
        world.start("order", "payment", "worker")
        if coordinator == "orchestration":
            world.start("gateway", temporal_address=f"127.0.0.1:{proxy.port}")
        else:
            world.start("gateway", amqp_url=proxy.leading_to(world.amqp_url))
        yield proxy
    finally:
        proxy.close()


def place(world: World, coordinator: str) -> httpx.Response:
    body = {"userId": USER, "total": 999, "paymentMethod": "pm_card_visa", "coordinator": coordinator}
    return world.request("POST", "/orders", json=body)


def accepted(world: World, coordinator: str, may_be: set[str]) -> str:
    """The order, once one is accepted; those that may be placed all the same are added."""

    def placed() -> str:
        answer = place(world, coordinator)
        if answer.status_code == 202:
            return str(answer.json()["orderId"])
        may_be.add(what_may_be(answer)[0])
        return ""

    return until(placed, what="an order is accepted")


def refused(act: Callable[[], httpx.Response]) -> tuple[str, str]:
    """What comes of it, which must be a refusal, and soon."""
    began = time.monotonic()
    answer = act()
    assert time.monotonic() - began < SOON
    return what_may_be(answer)


def what_may_be(answer: httpx.Response) -> tuple[str, str]:
    """The order that a refusal names as one that may be placed, or cancelled, all the same; and what it says."""
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    named, detail = answer.headers.get("location", "").removeprefix("/api/orders/"), answer.json()["detail"]
    assert ("nothing will come of it" in detail) is not bool(named), detail
    return named, detail


@COORDINATORS
def test_18_a_command_whose_confirmation_is_lost_is_refused_with_what_may_still_come_of_it(
    world: World, temporal: TemporalServer, coordinator: str
) -> None:
    may_be: set[str] = set()
    with way_of_the_gateway(world, temporal, coordinator) as proxy:
        first = accepted(world, coordinator, may_be)
        world.wait_status(first, "PAID", "APPROVED")

        proxy.mute()
        placed, detail = refused(lambda: place(world, coordinator))
        assert f"order {placed} may still be placed" in detail
        cancelled, detail = refused(lambda: world.request("PATCH", f"/orders/{first}/cancel"))
        assert cancelled == first
        assert f"order {first} may still be cancelled" in detail
        proxy.heal()
        proxy.reset()

        world.wait_status(placed, "PAID", "APPROVED")
        world.wait_status(first, "CANCELLED", "REFUNDED")
        known = {first, placed, accepted(world, coordinator, may_be)}
        world.wait_at_rest(known)
    assert known <= stored(world) <= known | may_be


@COORDINATORS
def test_18_what_was_refused_becomes_an_order_only_if_the_refusal_says_that_it_may(
    world: World, temporal: TemporalServer, coordinator: str
) -> None:
    """The connection is reset again and again while orders are placed, and then there is none."""
    known: set[str] = set()
    may_be: set[str] = set()
    with way_of_the_gateway(world, temporal, coordinator) as proxy:
        known.add(accepted(world, coordinator, may_be))
        for mute in (False, True) * 5:
            if mute:
                proxy.mute()
            proxy.reset()
            answer = place(world, coordinator)
            if answer.status_code == 202:
                known.add(answer.json()["orderId"])
            else:
                may_be.add(what_may_be(answer)[0])
            proxy.heal()
        proxy.cut()
        may_be.add(refused(lambda: place(world, coordinator))[0])
        proxy.heal()
        known.add(accepted(world, coordinator, may_be))
        world.wait_at_rest(known)
    assert known <= stored(world) <= known | may_be


def stored(world: World) -> set[str]:
    return {str(row["id"]) for row in world.rows("orders", "SELECT id FROM orders")}
