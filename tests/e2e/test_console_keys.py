"""With keys configured, the console asks for one, and shows each key no more than that key may see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import UUID, uuid4

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from api.gateway.keys import Role, mint
from tests.support.axe import barriers
from tests.support.browser import PATIENCE, chromium, load, opened
from tests.support.messages import USER
from tests.support.own_stack import OwnStack
from tests.support.ports import OFFSET

expect.set_options(timeout=PATIENCE)
ROOT, SHOP = mint("root", Role.OPERATOR), mint("shop", Role.CLIENT)
BOB = mint("bob", Role.CLIENT, user_id=UUID(USER))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnStack]:
    stack = OwnStack(tmp_path_factory.mktemp("guarded"), OFFSET + 380)
    try:
        stack.up(api_keys=",".join(str(record) for _, record in (ROOT, SHOP, BOB)))
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="module")
def browser(guarded: OwnStack) -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, guarded: OwnStack) -> Iterator[Page]:
    with opened(browser) as page:
        load(page, guarded.urls["gateway"])
        yield page


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def test_without_a_key_nothing_is_shown(page: Page, guarded: OwnStack) -> None:
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_role("navigation")).to_be_empty()
    assert barriers(page) == []
    sign_in(page, "sk_saga_" + "x" * 43)
    expect(page.get_by_role("alert")).to_contain_text("No such key is configured here")
    assert page.request.get(f"{guarded.urls['gateway']}/api/orders").status == 401


def test_an_operator_signs_in_acts_and_signs_out(page: Page, guarded: OwnStack) -> None:
    sign_in(page, ROOT[0])
    expect(page.locator("#stream")).to_have_text("live")
    expect(page.locator(".who")).to_contain_text("root")
    page.get_by_role("button", name="Place the order").click()
    expect(page.locator("tr[data-order]").first).to_contain_text("OrderPaid")
    page.get_by_role("link", name="System", exact=True).click()
    expect(page.locator(".audit .verdict")).to_have_text(re.compile(r"^\d+ checks hold$"))
    assert ROOT[0] not in page.content()
    assert page.evaluate("document.cookie + JSON.stringify({...localStorage, ...sessionStorage})").count("sk_saga") == 0
    page.reload()
    expect(page.locator("#stream")).to_have_text("live")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.request.get(f"{guarded.urls['gateway']}/api/orders").status == 401


def test_a_key_with_a_customer_sees_that_customers_sagas_alone(page: Page, guarded: OwnStack) -> None:
    other = {"userId": str(uuid4()), "total": 700, "paymentMethod": "pm_card_visa"}
    headers = {"Authorization": f"Bearer {SHOP[0]}", "Prefer": "wait=20"}
    foreign = httpx.post(f"{guarded.urls['gateway']}/api/orders", json=other, headers=headers, timeout=30).json()["id"]
    sign_in(page, BOB[0])
    expect(page.locator("#stream")).to_have_text("live")
    expect(page.get_by_role("link", name="System", exact=True)).to_have_count(0)
    page.get_by_role("button", name="Place the order").click()
    expect(page.locator("tr[data-order]").first).to_contain_text("OrderPaid")
    httpx.post(f"{guarded.urls['gateway']}/api/orders", json=other, headers=headers, timeout=30)
    page.reload()
    expect(page.locator("tr[data-order]")).to_have_count(1)
    page.goto(f"{guarded.urls['gateway']}/#/orders/{foreign}")
    expect(page.get_by_role("alert")).to_contain_text(foreign)
    page.goto(f"{guarded.urls['gateway']}/#/system")
    expect(page.get_by_role("heading", name="For operators")).to_be_visible()
