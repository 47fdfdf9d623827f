"""Operators cut off each part from the others; it comes back by itself, and every saga ends."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.axe import barriers
from tests.support.browser import PATIENCE, chromium, load, opened
from tests.support.messages import USER
from tests.support.own_stack import OwnStack
from tests.support.ports import OFFSET
from tests.support.waiting import until

expect.set_options(timeout=PATIENCE)
PARTS = ("order", "payment", "worker", "postgres", "rabbitmq", "temporal")
SECONDS = 4.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnStack]:
    stack = OwnStack(tmp_path_factory.mktemp("cuttable"), OFFSET + 410)
    try:
        stack.saga("up", "--detach", "--cuttable", "--port-offset", str(stack.offset))
        yield stack
    finally:
        stack.down()


@pytest.fixture
def client(stack: OwnStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.urls["gateway"], timeout=30) as client:
        yield client


def part(client: httpx.Client, name: str) -> dict[str, Any]:
    parts = client.get("/api/console/parts").raise_for_status().json()["parts"]
    return next(each for each in parts if each["name"] == name)


def place(stack: OwnStack, coordinator: str) -> str:
    return stack.post(userId=USER, total=999, paymentMethod="pm_card_visa", coordinator=coordinator)


def unanswered(client: httpx.Client) -> bool:
    try:
        client.get("/healthz", timeout=0.5)
    except httpx.ReadTimeout:
        return True
    return False


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_cut_off_comes_back_and_every_saga_ends(
    client: httpx.Client, stack: OwnStack, name: str
) -> None:
    until(lambda: part(client, name)["state"] == "ok", within=60, what="it is well")
    before = part(client, name)
    placed = [place(stack, each) for each in ("choreography", "orchestration") * 3]
    began = time.monotonic()
    answer = client.post(f"/api/console/parts/{name}/cut", json={"seconds": SECONDS})
    assert answer.status_code == 200, answer.text
    assert part(client, name)["state"] == "cut off"
    until(lambda: part(client, name)["state"] != "cut off", within=20, what="it is back")
    assert time.monotonic() - began > SECONDS - 1
    until(lambda: part(client, name)["state"] == "ok", within=60, what="it is well")
    assert (part(client, name)["pid"], part(client, name)["restarts"]) == (before["pid"], before["restarts"])
    stack.wait_over(placed)


def test_nothing_is_heard_of_a_service_that_is_cut_off(client: httpx.Client, stack: OwnStack) -> None:
    """It would be heard within a moment otherwise: its provider takes a tenth of a second."""
    until(lambda: part(client, "payment")["state"] == "ok", within=60, what="it is well")
    assert client.post("/api/console/parts/payment/cut", json={"seconds": SECONDS}).status_code == 200
    order_id = place(stack, "choreography")
    until(lambda: stack.status(order_id) == "PENDING_PAYMENT", within=3, what="the order service has stored it")
    while part(client, "payment")["state"] == "cut off":
        assert stack.status(order_id) == "PENDING_PAYMENT"
    until(lambda: stack.status(order_id) == "PAID", within=60, what="the payment service goes on")


def test_a_gateway_that_is_cut_off_answers_afterwards(client: httpx.Client) -> None:
    until(lambda: part(client, "gateway")["state"] == "ok", within=60, what="it is well")
    began = time.monotonic()
    assert client.post("/api/console/parts/gateway/cut", json={"seconds": SECONDS}).status_code == 200
    until(lambda: unanswered(client), within=2, what="the gateway is cut off, once it has answered")
    assert client.get("/healthz").status_code == 200
    assert time.monotonic() - began > SECONDS - 1


def test_rabbitmq_is_cut_off_in_the_console_and_every_saga_ends(stack: OwnStack) -> None:
    with chromium() as browser, opened(browser) as page:
        load(page, f"{stack.urls['gateway']}/#/system")
        rabbitmq = page.get_by_role("region", name="rabbitmq", exact=True)
        expect(rabbitmq.locator(".state")).to_have_text("up")
        page.get_by_role("button", name="Send 20 orders").click()
        page.get_by_role("button", name="Cut off rabbitmq").click()
        page.get_by_label("Seconds").fill("6")
        page.get_by_role("button", name="Cut it off").click()
        expect(rabbitmq.locator(".state")).to_have_text("cut off")
        expect(page.get_by_role("status").filter(has_text="rabbitmq is cut off for 6 s")).to_be_visible()
        assert barriers(page) == []
        expect(rabbitmq.locator(".state")).to_have_text("up")
        expect(page.locator(".breaking")).to_contain_text("0 under way", timeout=60_000)
        expect(page.locator(".audit .verdict")).to_have_text(re.compile(r"^\d+ checks hold$"))


def test_at_the_end_the_audit_holds(stack: OwnStack) -> None:
    stack.audit_holds()
