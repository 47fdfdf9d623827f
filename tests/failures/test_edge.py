"""A client sees clear refusals and no half-done orders at the gateway (docs/failures.md, rows 18 and 28)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.messages import BODY, USER
from tests.support.waiting import until
from tests.support.world import World


def test_18_without_a_broker_a_post_is_refused_within_two_seconds_and_leaves_nothing(world: World) -> None:
    world.start("order", "payment", "gateway")
    paid = world.post()
    world.wait_status(paid, "PAID", "APPROVED")
    world.servers.kill("rabbitmq")
    for method, path in (("POST", "/orders"), ("PATCH", f"/orders/{paid}/cancel")):
        began = time.monotonic()
        answer = world.request(method, path, json=BODY if method == "POST" else None)
        assert time.monotonic() - began < 2
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
    assert world.request("GET", f"/orders/{paid}").json()["status"] == "PAID"
    for process in ("gateway", "order", "payment"):
        world.wait_ready(process)
    assert [str(row["id"]) for row in world.rows("orders", "SELECT id FROM orders")] == [paid]
    again = world.post()
    world.wait_status(again, "PAID", "APPROVED")
    world.wait_at_rest([paid, again])


def test_28_one_key_stands_for_one_order_on_every_gateway_and_for_good(world: World) -> None:
    world.start("order", "payment", "gateway", "gateway2")
    key = {"Idempotency-Key": "checkout-4711"}

    def post(port: int, body: Mapping[str, Any] = BODY) -> httpx.Response:
        return httpx.post(f"http://127.0.0.1:{port}/api/orders", json=body, headers=key, timeout=20)

    ports = [world.ports["gateway"], world.ports["gateway2"]] * 8
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(post, ports))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    order_id = answers[0].json()["orderId"]
    world.wait_status(order_id, "PAID", "APPROVED")

    conflict = post(ports[0], {**BODY, "total": 1000})
    assert conflict.status_code == 409
    assert order_id in conflict.json()["detail"]

    world.kill("gateway", "order")
    world.start("order", "gateway")
    assert post(world.ports["gateway"]).json() == answers[0].json()
    world.wait_at_rest([order_id])
    assert world.rows("orders", "SELECT count(*) FROM orders")[0]["count"] == 1
    assert world.books(order_id) == (999, 0)


def test_28_a_crash_between_keeping_the_key_and_publishing_is_healed_by_the_same_request(world: World) -> None:
    """The key was kept and nothing published. The client's next try publishes under the same order id."""
    world.start("order", "payment", "gateway")
    key = {"Idempotency-Key": str(uuid4())}
    world.servers.kill("rabbitmq")
    assert world.request("POST", "/orders", json=BODY, headers=key).status_code == 503
    (kept,) = world.rows("orders", "SELECT order_id FROM idempotency_keys")
    for process in ("gateway", "order", "payment"):
        world.wait_ready(process)
    assert world.request("POST", "/orders", json=BODY, headers=key).json()["orderId"] == str(kept["order_id"])
    world.wait_status(str(kept["order_id"]), "PAID", "APPROVED")
    world.wait_at_rest()


def test_commands_need_only_the_broker(world: World) -> None:
    world.has_run("order")
    world.start("payment", "gateway")
    created, cancelled = world.post(), world.post()
    assert world.request("PATCH", f"/orders/{cancelled}/cancel").status_code == 202
    keyed = world.request("POST", "/orders", json=BODY, headers={"Idempotency-Key": "k"})
    assert (keyed.status_code, keyed.headers["retry-after"].isdigit()) == (503, True)
    query = world.request("GET", f"/orders/{created}")
    assert (query.status_code, query.headers["retry-after"].isdigit()) == (503, True)
    world.start("order")
    world.wait_status(created, "PAID", "APPROVED")
    world.wait_status(cancelled, "CANCELLED")
    world.wait_at_rest([created, cancelled])


def test_500_orders_at_once_are_over_soon_though_the_provider_takes_one_and_a_half_seconds_for_each(
    world: World,
) -> None:
    world.start("order", "payment", "gateway", provider_latency_ms=1500, provider_timeout=15)
    with ThreadPoolExecutor(16) as pool, httpx.Client(base_url=f"http://127.0.0.1:{world.ports['gateway']}") as client:
        bodies = [{"userId": USER, "total": 1 + n} for n in range(500)]
        answers = list(pool.map(lambda body: client.post("/api/orders", json=body, timeout=20), bodies))
    last_post = time.monotonic()
    assert {answer.status_code for answer in answers} == {202}
    counts = "SELECT count(*) n FROM orders WHERE status <> 'PENDING_PAYMENT'"
    until(lambda: world.rows("orders", counts)[0]["n"] == 500, what="all 500 are over")
    # 4 to 6 s on two cores. With 32 charges at a time they would take 23 s.
    assert time.monotonic() - last_post < 20
    world.wait_at_rest([answer.json()["orderId"] for answer in answers])


@pytest.mark.parametrize("stopped", ["gateway", "order", "payment"])
def test_readiness_says_what_is_missing(world: World, stopped: str) -> None:
    world.start(stopped)
    url = f"http://127.0.0.1:{world.ports[stopped]}"
    assert httpx.get(f"{url}/healthz").status_code == 200
    world.servers.kill("rabbitmq")

    def not_ready() -> httpx.Response | None:
        answer = httpx.get(f"{url}/readyz")
        return answer if answer.status_code == 503 else None

    answer = until(not_ready, what="it is not ready")
    assert answer.json()["ready"] is False
    assert answer.json()["checks"]["broker"] != "ok"
    assert httpx.get(f"{url}/healthz").status_code == 200
    world.wait_ready(stopped)
