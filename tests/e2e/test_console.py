"""People see sagas in the console, act on them, and break what they run on, in a real Chromium and on a real stack."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.axe import barriers
from tests.support.browser import PATIENCE, load, opened
from tests.support.messages import USER
from tests.support.stack import Stack, dead_letters, publish
from tests.support.waiting import until

expect.set_options(timeout=PATIENCE)
VIEWS = ("#/", "#/twins", "#/letters", "#/system")
MESSAGE = {"occurredAt": "2026-11-28T12:00:00Z", "correlationId": "a-test"}
WIDTHS = (360, 760, 1280, 2560)


@pytest.fixture(autouse=True)
def no_letter_is_left(stack: Stack) -> Iterator[None]:
    """Other tests count the dead letters of the same stack."""
    yield
    stack.saga("dead-letters", "discard", "--all", "--yes")
    until(lambda: dead_letters(stack) == [], what="no dead letter is left")


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    with opened(browser) as page:
        visit(page, stack)
        yield page


def visit(page: Page, stack: Stack, view: str = "#/") -> None:
    load(page, f"{stack.gateway}/{view}")
    expect(page.locator("#stream")).to_have_text("live")


def place(stack: Stack, method: str = "pm_card_visa", coordinator: str = "choreography") -> str:
    """An order whose saga is over."""
    body = {"userId": USER, "total": 999, "paymentMethod": method, "coordinator": coordinator}
    answer = httpx.post(f"{stack.gateway}/api/orders", json=body, headers={"Prefer": "wait=20"}, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def row_of(page: Page, order_id: str) -> Locator:
    return page.locator(f'tr[data-order="{order_id}"]')


def standing(page: Page, name: str) -> Locator:
    """The status of the order or of the payment, on a saga's own page."""
    return page.locator(".card div").filter(has=page.get_by_text(name, exact=True)).locator(".status")


def poison(stack: Stack, routing_key: str, body: bytes) -> None:
    """Publish in a thread of its own: Playwright keeps a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(publish, stack, routing_key, body).result()


def pid_of(stack: Stack, name: str) -> int:
    (found,) = [each["pid"] for each in stack.json("status")["processes"] if each["name"] == name]
    return int(found)


def test_an_order_is_placed_and_watched_to_its_end(page: Page) -> None:
    page.get_by_label("Amount").fill("12.34")
    page.get_by_role("button", name="Place the order").click()
    page.get_by_role("link", name="Watch its saga").click()
    expect(standing(page, "Order")).to_have_text("PAID")
    expect(standing(page, "Payment")).to_have_text("APPROVED")
    expect(page.locator(".card")).to_contain_text("12.34 USD")
    told = page.locator(".story tbody tr.recorded")
    expect(told).to_have_count(4)
    drawn = page.locator(".seq .commit.recorded tspan:first-child").all_text_contents()
    assert drawn == ["OrderCreated", "charge is due", "PaymentApproved", "OrderPaid"]
    page.get_by_role("link", name="← All sagas").click()
    expect(page.locator("tr[data-order]").first).to_contain_text("OrderPaid")


@pytest.mark.parametrize("coordinator", ["choreography", "orchestration"])
def test_a_paid_order_is_cancelled_and_its_money_comes_back(page: Page, stack: Stack, coordinator: str) -> None:
    order_id = place(stack, coordinator=coordinator)
    visit(page, stack, f"#/orders/{order_id}")
    page.get_by_role("button", name="Cancel the order").click()
    page.get_by_role("button", name="Leave it").click()
    expect(page.get_by_role("button", name="Cancel the order")).to_be_focused()
    expect(standing(page, "Order")).to_have_text("PAID")
    page.get_by_role("button", name="Cancel the order").click()
    page.get_by_role("button", name="Cancel and refund").click()
    expect(standing(page, "Order")).to_have_text("CANCELLED")
    expect(standing(page, "Payment")).to_have_text("REFUNDED")
    expect(page.locator(".story")).to_contain_text("has the provider refund 9.99 USD")
    expect(page.get_by_role("button", name="Cancel the order")).to_have_count(0)


@pytest.mark.parametrize(
    ("coordinator", "message"), [("choreography", "order.created"), ("orchestration", "charge_payment")]
)
def test_a_charge_whose_first_answer_was_lost_is_drawn_with_its_attempts(
    page: Page, stack: Stack, coordinator: str, message: str
) -> None:
    visit(page, stack, f"#/orders/{place(stack, 'pm_timeout_then_approve', coordinator)}")
    told = page.locator(".story tbody tr").filter(has_text=f"has handled {message} at attempt 2")
    expect(told).to_contain_text("1 attempt had failed")
    expect(told).to_contain_text("recorded")
    expect(page.locator(".seq .step.recorded .line")).to_have_count(1)


def test_an_order_that_nobody_knows_leads_back_to_all_sagas(page: Page, stack: Stack) -> None:
    visit(page, stack, f"#/orders/{uuid4()}")
    expect(page.get_by_role("alert")).to_contain_text("There is no order")
    expect(page.get_by_role("list", name="Legend")).to_have_count(0)
    page.get_by_role("alert").get_by_role("link", name="All sagas").click()
    expect(page.get_by_role("heading", name="Sagas", exact=True)).to_be_attached()


def test_twins_end_with_equal_facts_and_with_prices(page: Page, stack: Stack) -> None:
    page.get_by_role("link", name="Twins", exact=True).click()
    page.get_by_label("Cancel it once it is paid").check()
    page.get_by_role("button", name="Run both").click()
    expect(page.locator(".clock")).to_have_text([re.compile(r"^[1-9]")] * 2)
    expect(page.get_by_role("list", name="Legend")).to_be_visible()
    facts = page.get_by_role("region", name="What they leave is equal", exact=True)
    expect(facts).to_be_visible()
    rows = [re.split(r"\s*[\n\t]+\s*", text.strip()) for text in facts.locator("tbody tr").all_inner_texts()]
    assert [row[2] for row in rows] == ["="] * len(rows)
    assert {row[0]: row[1] for row in rows} == {
        "Order": "CANCELLED",
        "Reason": "USER_REQUESTED",
        "Payment": "REFUNDED",
        "Amount": "9.99 USD",
        "Events of the order": "OrderCreated, OrderPaid, OrderCancelled",
        "Events of the payment": "PaymentApproved, PaymentRefunded",
    }
    lines = page.get_by_role("list", name="Events that both have logged").get_by_role("listitem").all_inner_texts()
    told = ["OrderCreated", "PaymentApproved", "OrderPaid", "OrderCancelled", "PaymentRefunded"]
    assert [line.removeprefix("=").strip() for line in lines] == told
    for lane, hub in (("choreography", "RabbitMQ"), ("orchestration", "Temporal")):
        expect(page.get_by_role("region", name=lane, exact=True).locator(".head.hub .name")).to_have_text(hub)
    prices = page.get_by_role("region", name="What each cost", exact=True)
    expect(prices.get_by_role("row", name=re.compile("Messages published"))).to_contain_text(re.compile(r"\d"))
    history = prices.get_by_role("row", name=re.compile("histories of its workflow"))
    expect(history.locator(".figure")).to_have_text([re.compile(r"^\d+$")] * 2)
    counted = history.locator(".figure").all_inner_texts()
    for figure, order_id in zip(counted, page.url.split("/")[-2:], strict=True):
        saga = httpx.get(f"{stack.gateway}/api/console/sagas/{order_id}").json()
        assert int(figure) == saga["cost"]["historyEvents"] >= saga["workflow"]["historyEvents"] > 0
    expect(prices.get_by_role("row", name=re.compile("^CPU not known: both sagas ran"))).to_be_visible()
    page.reload()
    expect(page.get_by_role("region", name="What they leave is equal", exact=True)).to_be_visible()
    expect(history.locator(".figure")).to_have_text(counted)


def test_a_dead_letter_is_seen_fails_again_and_is_handled_when_its_cause_is_mended(page: Page, stack: Stack) -> None:
    order_id = str(uuid4())
    early = {**MESSAGE, "eventType": "OrderCancelRequested", "eventId": str(uuid4()), "payload": {"orderId": order_id}}
    poison(stack, "order.cancel.requested", json.dumps(early).encode())
    page.get_by_role("link", name="Dead letters", exact=True).click()
    group = page.get_by_role("region", name=re.compile("OrderCancelRequested"))
    expect(group).to_be_visible()
    group.get_by_text("Show 1 letter").click()
    group.get_by_role("link", name="OrderCancelRequested").click()
    expect(page.locator("pre")).to_contain_text(order_id)
    expect(page.locator(".waits.bad")).to_contain_text(order_id)
    page.get_by_role("button", name="Redrive it").click()
    page.get_by_role("dialog").get_by_role("button", name="Redrive").click()
    expect(page.get_by_role("region", name="Redriven from here")).to_contain_text("failed again")

    payload = {"orderId": order_id, "userId": USER, "total": 500, "paymentMethod": "pm_card_visa"}
    create = {**MESSAGE, "eventType": "CreateOrderRequested", "eventId": str(uuid4()), "payload": payload}
    poison(stack, "order.create.requested", json.dumps(create).encode())
    until(lambda: httpx.get(f"{stack.gateway}/api/orders/{order_id}").json().get("status") == "PAID")
    group.get_by_role("button", name="Redrive all").click()
    page.get_by_role("dialog").get_by_role("button", name="Redrive").click()
    expect(page.get_by_role("region", name="Redriven from here")).to_contain_text("handled: OrderCancelled")
    visit(page, stack, f"#/orders/{order_id}")
    expect(standing(page, "Payment")).to_have_text("REFUNDED")


def test_a_message_that_nobody_can_read_is_discarded_only_after_a_question(page: Page, stack: Stack) -> None:
    poison(stack, "order.create.requested", b"<script>alert(1)</script>")
    known = {**MESSAGE, "eventType": "CreateOrderRequested", "eventId": str(uuid4()), "payload": {"total": "ten"}}
    poison(stack, "order.create.requested", json.dumps(known).encode())
    page.get_by_role("link", name="Dead letters", exact=True).click()
    group = page.get_by_role("region", name=re.compile("unknown type"))
    group.get_by_role("button", name="Discard all").click()
    page.keyboard.press("Escape")
    expect(group).to_be_visible()
    group.get_by_role("button", name="Discard all").click()
    page.get_by_role("button", name="Discard for good").click()
    expect(group).to_have_count(0)
    expect(page.get_by_role("region", name="MALFORMED, CreateOrderRequested")).to_be_visible()


def test_the_payment_service_is_killed_in_mid_flight_and_every_saga_ends(page: Page, stack: Stack) -> None:
    page.get_by_role("link", name="System", exact=True).click()
    parts = httpx.get(f"{stack.gateway}/api/console/parts").json()["parts"]
    (restarts,) = [each["restarts"] for each in parts if each["name"] == "payment"]
    page.get_by_role("button", name="Send 20 orders").click()
    page.get_by_role("button", name="Kill payment").click()
    page.get_by_role("button", name="Kill it").click()
    part = page.get_by_role("region", name="payment", exact=True)
    expect(part).to_contain_text(f"started again {restarts + 1} time")
    expect(part.locator(".state")).to_have_text("up")
    expect(page.locator(".breaking")).to_contain_text("0 under way", timeout=60_000)
    expect(page.locator(".audit .verdict")).to_have_text(re.compile(r"^\d+ checks hold$"))


def test_the_audit_says_that_it_waits_while_a_service_is_frozen(page: Page) -> None:
    page.get_by_role("link", name="System", exact=True).click()
    expect(page.locator(".audit .verdict")).to_have_text(re.compile(r"^\d+ checks hold$"))
    page.get_by_role("button", name="Freeze payment").click()
    page.get_by_label("Seconds").fill("8")
    page.get_by_role("button", name="Freeze it").click()
    expect(page.get_by_role("region", name="payment", exact=True).locator(".state")).to_have_text("frozen")
    page.get_by_role("button", name="Audit now").click()
    expect(page.locator(".audit .verdict")).to_have_text(re.compile("Waiting for a service"))
    expect(page.get_by_role("region", name="payment", exact=True).locator(".state")).to_have_text("up")
    expect(page.locator(".audit .verdict")).to_have_text(re.compile(r"^\d+ checks hold$"))


def test_a_stack_whose_parts_reach_each_other_directly_says_why_nothing_can_be_cut_off(page: Page) -> None:
    page.get_by_role("link", name="System", exact=True).click()
    page.get_by_role("button", name="Cut off payment").click()
    expect(page.get_by_role("status").filter(has_text="saga up --cuttable")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_stream_that_is_cut_is_taken_up_again(page: Page, stack: Stack) -> None:
    page.context.set_offline(True)
    expect(page.locator("#stream")).to_have_text(re.compile("cut off"))
    order_id = place(stack)
    assert row_of(page, order_id).count() == 0
    page.context.set_offline(False)
    expect(page.locator("#stream")).to_have_text("live")
    expect(row_of(page, order_id)).to_contain_text("APPROVED")


def test_a_page_whose_scripts_did_not_arrive_says_what_to_do(browser: Browser, stack: Stack) -> None:
    with opened(browser) as page:
        page.route("**/console/rows.*.js", lambda route: route.abort())
        page.goto(stack.gateway)
        expect(page.locator("main")).to_have_text("Loading the console … If this stays, load the page again.")
        page.unroute_all()
        page.reload()
        expect(page.get_by_role("heading", name="Sagas", exact=True)).to_be_attached()
        expect(page.locator("main > .loading")).to_have_count(0)


def test_a_gateway_that_is_killed_under_the_page_comes_back_to_it(page: Page, stack: Stack) -> None:
    os.kill(pid_of(stack, "gateway"), signal.SIGKILL)
    expect(page.locator("#stream")).to_have_text(re.compile("cut off"))
    expect(page.locator("#stream")).to_have_text("live")
    order_id = place(stack)
    expect(row_of(page, order_id)).to_contain_text("OrderPaid")


def test_all_of_it_can_be_done_by_keyboard(page: Page) -> None:
    page.locator("tr[data-order]").first.wait_for()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    before = page.locator("tr[data-order]").first.get_attribute("data-order")
    page.get_by_label("Amount").focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("5")
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="orchestration").last).to_be_checked()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Place the order")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("tr[data-order]").first).not_to_have_attribute("data-order", before or "")
    expect(page.locator("tr[data-order]").first).to_contain_text("orchestration")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_keeps_anybody_out(browser: Browser, stack: Stack, scheme: Literal["light", "dark"]) -> None:
    pair = [place(stack, coordinator=each) for each in ("choreography", "orchestration")]
    poison(stack, "order.create.requested", b"nobody can read this")
    letter = httpx.get(f"{stack.gateway}/api/operator/dead-letters").json()["data"][0]["id"]
    with opened(browser, scheme=scheme, width=360 if scheme == "dark" else 1280) as page:
        for view in (
            *VIEWS,
            f"#/letters/{quote(letter, safe='')}",
            f"#/orders/{pair[0]}",
            f"#/orders/{pair[1]}",
            f"#/twins/{'/'.join(pair)}",
            "#/nowhere",
        ):
            visit(page, stack, view)
            settle(page, view)
            assert barriers(page) == [], view
        visit(page, stack, f"#/orders/{pair[0]}")
        page.get_by_role("button", name="Cancel the order").click()
        assert barriers(page) == [], "a question"


@pytest.mark.parametrize("width", WIDTHS)
def test_no_view_is_wider_than_its_window(browser: Browser, stack: Stack, width: int) -> None:
    pair = [place(stack, coordinator=each) for each in ("choreography", "orchestration")]
    with opened(browser, width=width) as page:
        for view in (*VIEWS, f"#/orders/{pair[0]}", f"#/twins/{'/'.join(pair)}"):
            visit(page, stack, view)
            settle(page, view)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, view


def settle(page: Page, view: str) -> None:
    """Wait until a view shows what it has read."""
    kind = view.split("/")[1] if "/" in view else ""
    shown = {
        "": "tr[data-order]",
        "orders": ".seq",
        "twins": ".comparison.prices" if view.count("/") > 1 else ".empty",
        "letters": "pre" if view.count("/") > 1 else ".group, .empty",
        "system": ".part.ok",
        "nowhere": ".words",
    }
    page.locator(shown[kind]).first.wait_for()
    expect(page.locator("main .loading")).to_have_count(0)
