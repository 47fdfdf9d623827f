"""The console's server on a real stack: what moves, what a saga has cost, and parts that are broken under load."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from embedded.state import runs
from tests.support.messages import USER
from tests.support.own_stack import OwnStack
from tests.support.ports import OFFSET
from tests.support.waiting import until

PARTS = ("gateway", "order", "payment", "worker", "postgres", "rabbitmq", "temporal")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnStack]:
    """A stack of its own, since others don't expect theirs to be broken."""
    stack = OwnStack(tmp_path_factory.mktemp("broken"), OFFSET + 370)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture
def client(broken: OwnStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=broken.urls["gateway"], timeout=30) as client:
        yield client


def place(client: httpx.Client, **more: Any) -> str:
    body = {"userId": USER, "total": 999, "paymentMethod": "pm_card_visa", **more}
    return str(client.post("/api/orders", json=body).raise_for_status().json()["orderId"])


def saga_of(client: httpx.Client, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/console/sagas/{order_id}").raise_for_status().json()
    return found


def parts(client: httpx.Client) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in client.get("/api/console/parts").raise_for_status().json()["parts"]}


@contextmanager
def streamed(client: httpx.Client, last_id: str | None = None) -> Iterator[Iterator[tuple[str, str, Any]]]:
    """The events of the console's stream: id, name and data."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    with client.stream("GET", "/api/console/stream", headers=headers, timeout=30) as answer:
        assert answer.status_code == 200
        yield _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[tuple[str, str, Any]]:
    found: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            found[name] = value
        elif "event" in found:
            yield found["id"], found["event"], json.loads(found["data"])
            found = {}


def until_paid(events: Iterator[tuple[str, str, Any]], *order_ids: str) -> tuple[str, dict[str, Any]]:
    """The last id, and each of these orders as it was told, once all of them are paid.

    Events of the two services arrive in any order: order.paid may come before payment.approved.
    """
    seen: dict[str, Any] = {}
    for last_id, _, data in events:
        seen |= {saga["orderId"]: saga for saga in data.get("sagas", ())}
        if all((saga := seen.get(each)) and (saga["status"], saga["events"]) == ("PAID", 3) for each in order_ids):
            return last_id, {each: seen[each] for each in order_ids}
    raise AssertionError("the stream ended")


def test_sagas_of_both_coordinators_are_streamed_and_a_viewer_goes_on_where_it_stopped(client: httpx.Client) -> None:
    with streamed(client) as events:
        _, first, _ = next(events)
        assert first == "hello"
        twins = {each: place(client, coordinator=each) for each in ("choreography", "orchestration")}
        last_id, seen = until_paid(events, *twins.values())
    for coordinator, order_id in twins.items():
        saga = seen[order_id]
        assert (saga["coordinator"], saga["amount"], saga["userId"]) == (coordinator, 999, USER)
        assert (saga["paymentStatus"], saga["events"], saga["lastEvent"]) == ("APPROVED", 3, "OrderPaid")
    meanwhile = place(client)
    until(lambda: saga_of(client, meanwhile)["order"]["status"] == "PAID", within=30, what="it is paid meanwhile")
    with streamed(client, last_id) as events:
        assert next(events)[1] == "hello"
        until_paid(events, meanwhile)


def test_twins_have_the_same_facts_and_each_its_price(client: httpx.Client) -> None:
    twins = {each: place(client, coordinator=each) for each in ("choreography", "orchestration")}
    told, first_runs = {}, {}

    def is_priced(order_id: str) -> bool:
        saga = saga_of(client, order_id)
        return saga["order"]["status"] != "PENDING_PAYMENT" and saga["cost"]["historyEvents"] is not None

    for coordinator, order_id in twins.items():
        done = {"order": "CANCELLED", "payment": "REFUNDED"}
        until(lambda id=order_id: is_priced(id), within=60, what="its workflow's first run is over")  # type: ignore[misc]
        first_runs[coordinator] = saga_of(client, order_id)["cost"]["historyEvents"]
        client.patch(f"/api/orders/{order_id}/cancel").raise_for_status()

        def is_over(id: str = order_id, done: dict[str, str] = done) -> bool:
            saga = saga_of(client, id)
            statuses = {part: saga[part] and saga[part]["status"] for part in done}
            return statuses == done and len(saga["events"]) == 5 and all(each["published"] for each in saga["events"])

        until(is_over, within=60, what="it is refunded")
        until(lambda id=order_id: is_priced(id), within=60, what="its workflow's second run is over")  # type: ignore[misc]
        told[coordinator] = saga_of(client, order_id)
    choreographed, orchestrated = told["choreography"], told["orchestration"]
    facts = [[(each["eventType"], each["service"]) for each in saga["events"]] for saga in told.values()]
    assert facts[0] == facts[1]
    for coordinator, saga in told.items():
        assert saga["waitsFor"] is None
        # created, paid, cancelled; begun, approved, refund due, refunded
        assert (saga["cost"]["transactions"], saga["cost"]["rows"]) == (7, {"orders": 4, "payments": 3})
        assert saga["cost"]["durationMs"] == saga["events"][-1]["elapsedMs"] > 0
        # Each has two runs: one until the order was paid, one for the cancellation.
        assert saga["cost"]["historyEvents"] == first_runs[coordinator] + saga["workflow"]["historyEvents"]
        assert httpx.get(saga["workflow"]["url"]).status_code == 200
    assert (choreographed["cost"]["messages"], orchestrated["cost"]["messages"]) == (7, 5)
    assert (choreographed["workflow"]["type"], orchestrated["workflow"]["type"]) == ("SagaMirror", "OrderSaga")


def test_a_saga_under_way_says_what_it_waits_for(client: httpx.Client) -> None:
    order_id = place(client, paymentMethod="pm_slow")
    until(lambda: saga_of(client, order_id)["payment"], within=20, what="its payment is stored")
    until(lambda: saga_of(client, order_id)["waitsFor"], within=5, what="it waits")
    assert saga_of(client, order_id)["waitsFor"].startswith(("the payment, until", "the provider's answer"))


def test_totals_are_those_of_the_orders(client: httpx.Client) -> None:
    totals = client.get("/api/console/totals").raise_for_status().json()
    assert totals["total"] == client.get("/api/orders").json()["meta"]["total"] == sum(totals["byStatus"].values())
    assert all(counts for counts in totals["byCoordinator"].values())


def test_the_gateway_says_that_parts_may_be_broken(client: httpx.Client, broken: OwnStack) -> None:
    told = client.get("/api/console/session").raise_for_status().json()
    assert (told["breakIt"], told["keysRequired"], told["temporalUi"]) == (True, False, broken.urls["temporal_ui"])
    assert {name: (each["state"], bool(each["pid"])) for name, each in parts(client).items()} == dict.fromkeys(
        PARTS, ("ok", True)
    )


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_killed_comes_back_and_no_order_is_lost(
    client: httpx.Client, broken: OwnStack, name: str
) -> None:
    placed = [place(client, coordinator=each) for each in ("choreography", "orchestration") * 3]
    before = parts(client)[name]
    family = [psutil.Process(before["pid"]), *psutil.Process(before["pid"]).children(recursive=True)]
    assert client.post(f"/api/console/parts/{name}/kill").status_code == 200
    until(lambda: not any(map(runs, family)), within=20, what="all of its processes are gone")

    def is_back() -> bool:
        now = parts(client)[name]
        return (now["state"], now["restarts"]) == ("ok", before["restarts"] + 1)

    until(lambda: _without_errors(is_back), within=120, what=f"{name} is back")
    broken.wait_ready()
    broken.wait_over(placed)


@pytest.mark.parametrize("name", ["payment", "rabbitmq", "gateway"])
def test_a_part_that_is_frozen_goes_on_by_itself(client: httpx.Client, broken: OwnStack, name: str) -> None:
    before = parts(client)[name]
    placed = [place(client, coordinator=each) for each in ("choreography", "orchestration")]
    began = time.monotonic()
    assert client.post(f"/api/console/parts/{name}/freeze", json={"seconds": 3}).status_code == 200
    until(lambda: psutil.Process(before["pid"]).status() == psutil.STATUS_STOPPED, within=20, what="it stands still")
    if name != "gateway":
        assert parts(client)[name]["state"] == "frozen"
    until(lambda: psutil.Process(before["pid"]).status() != psutil.STATUS_STOPPED, within=20, what="it goes on")
    assert time.monotonic() - began > 2
    until(lambda: _without_errors(lambda: parts(client)[name]["state"] == "ok"), within=60, what="it is well")
    assert (parts(client)[name]["pid"], parts(client)[name]["restarts"]) == (before["pid"], before["restarts"])
    broken.wait_over(placed)


def test_while_all_is_broken_at_once_the_audit_holds(client: httpx.Client, broken: OwnStack) -> None:
    def order(number: int) -> str | None:
        coordinator = ("choreography", "orchestration")[number % 2]
        try:
            return place(client, coordinator=coordinator, userId=str(uuid4()))
        except (httpx.HTTPError, KeyError):
            return None  # it was refused, or nobody knows

    with ThreadPoolExecutor(4) as pool:
        placed = pool.map(order, range(60))
        for name in ("payment", "worker", "postgres"):
            client.post(f"/api/console/parts/{name}/kill")
        answered = [each for each in placed if each is not None]
    assert answered
    broken.wait_ready()
    broken.wait_over(answered)
    assert client.get("/api/operator/audit").raise_for_status().json()["holds"] is True
    broken.audit_holds()


def _without_errors(condition: Any) -> bool:
    try:
        return bool(condition())
    except httpx.HTTPError:
        return False
