"""More orders come than can be worked on, and those that would wait too long are refused (docs/failures.md, row 54)."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
import pytest

from tests.support.messages import BODY
from tests.support.waiting import until
from tests.support.world import World

LONGEST = 3.0  # seconds that an order may wait
CLIENTS = 8  # who order at most 13 times a second
COME = 20.0  # seconds for which orders come
AT_ONCE = 8  # charges under way, each of 1.5 s: some five orders a second at most


@pytest.mark.timeout(120)
def test_54_orders_that_would_wait_too_long_are_refused_and_the_others_are_soon_over(world: World) -> None:
    world.start("order", "gateway", longest_wait=LONGEST)
    world.start("payment", prefetch=AT_ONCE, provider_latency_ms=1500)
    enough = Event()
    accepted: list[str] = []
    refused: list[httpx.Response] = []

    def keep_ordering(_: int) -> None:
        while not enough.is_set():
            answer = world.request("POST", "/orders", json=BODY)
            if answer.status_code == 202:
                accepted.append(answer.json()["orderId"])
                time.sleep(0.6)  # the pace of a client …
            else:
                refused.append(answer)
                time.sleep(0.5)  # … and of one that was refused

    with ThreadPoolExecutor(CLIENTS) as clients:
        working = clients.map(keep_ordering, range(CLIENTS))
        try:
            until(lambda: refused, within=COME, what="an order is refused")
            time.sleep(COME / 4)  # the pace of the load: they go on trying
        finally:
            enough.set()
        list(working)
    last = time.monotonic()
    world.wait_at_rest(accepted)
    assert time.monotonic() - last < 4 * LONGEST, "what was accepted is over soon"
    assert {answer.status_code for answer in refused} == {503}
    assert {answer.headers["retry-after"] for answer in refused} == {"10"}
    assert "would wait" in refused[0].json()["detail"]
    assert world.log("gateway").count("orders_refused") <= 3, "once for each time, not for each order"
    until(lambda: world.request("POST", "/orders", json=BODY).status_code == 202, what="orders are taken again")
    assert world.dead_letters() == []
