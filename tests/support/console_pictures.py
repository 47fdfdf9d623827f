"""Take the pictures of the console: `python -m tests.support.console_pictures`, from a stack that really ran."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Final, Literal

from playwright.sync_api import Browser, Page, expect

from tests.support.browser import PATIENCE, chromium, opened
from tests.support.messages import USER
from tests.support.own_stack import OwnStack
from tests.support.ports import OFFSET
from tests.support.stack import Stack, publish
from tests.support.waiting import until

ALL: Final = Path("build/console")
DOCS: Final = Path("docs/images")
# Each picture of the documents, and the one of all pictures that it is.
CHOSEN: Final = {
    "console-light.png": "paid-1400-light.png",
    "console-dark.png": "paid-1400-dark.png",
    "console-twins.png": "twins-1280-light.png",
    "console-sagas.png": "sagas-1280-dark.png",
    "console-saga.png": "saga-1280-light.png",
    "console-system.png": "system-1280-light.png",
    "console-narrow.png": "saga-360-light.png",
    "console-wide.png": "twins-2560-dark.png",
}
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
WIDTHS: Final = (360, 1280, 1400, 2560)
HEIGHTS: Final = {"sagas": 700, "saga": 1000, "twins": 1180, "paid": 1440, "letters": 700, "system": 660}
METHODS: Final = ("pm_card_visa", "pm_card_visa", "pm_card_chargeDeclined", "pm_error", "pm_timeout_then_approve")


def main() -> None:
    """Bring up a stack, have sagas of all kinds run, and take a picture of each view in both schemes and all widths."""
    ALL.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        stack = OwnStack(Path(folder) / "data", OFFSET + 600)
        try:
            stack.up(provider_latency_ms="900", payment_timeout="9")
            _fill(stack)
            with chromium() as browser:
                views = _views(browser, stack)
                for width in WIDTHS:
                    for scheme in SCHEMES:
                        _take(browser, stack, views, width, scheme)
        finally:
            stack.down()
    for name, source in CHOSEN.items():
        copyfile(ALL / source, DOCS / name)


def _fill(stack: OwnStack) -> None:
    """Sagas of every kind, one after the other as people place them."""
    orders = []
    with ThreadPoolExecutor(4) as pool:
        for index in range(36):
            coordinator = "orchestration" if index % 3 == 1 else "choreography"
            body = {"userId": USER, "total": 499 + 731 * (index % 7), "paymentMethod": METHODS[index % 5]}
            orders.append(pool.submit(stack.post, coordinator=coordinator, **body))
    stack.wait_over([each.result() for each in orders])
    poison = Stack(stack.data, stack.urls)
    publish(
        poison, "order.create.requested", b'{"eventType": "CreateOrderRequested", "payload": {"total": "ten"}}', b"{"
    )


def _views(browser: Browser, stack: OwnStack) -> dict[str, str]:
    """The address of each view; twins are run by a click, as a visitor runs them."""
    with opened(browser) as page:
        paid, twins = (_run_both(page, stack, cancel=cancel) for cancel in (False, True))
    one = twins.split("/")[2]
    orders = {"saga": f"/orders/{one}", "twins": twins, "paid": paid}
    return {"sagas": "/", **orders, "letters": "/letters", "system": "/system"}


def _run_both(page: Page, stack: OwnStack, *, cancel: bool) -> str:
    page.goto(f"{stack.urls['gateway']}/#/twins")
    page.reload()
    page.get_by_label("Cancel it once it is paid").set_checked(cancel)
    page.get_by_role("button", name="Run both").click()
    expect(page.locator(".comparison.prices")).to_be_visible(timeout=PATIENCE)
    return page.url.partition("#")[2]


def _take(
    browser: Browser, stack: OwnStack, views: dict[str, str], width: int, scheme: Literal["light", "dark"]
) -> None:
    with opened(browser, width=width, scheme=scheme) as page:
        for name, view in views.items():
            page.set_viewport_size({"width": width, "height": HEIGHTS[name]})
            page.goto(f"{stack.urls['gateway']}/#{view}")
            if name == "sagas":
                _under_way(stack)
            _settle(page, name)
            page.screenshot(path=ALL / f"{name}-{width}-{scheme}.png")


def _under_way(stack: OwnStack) -> None:
    for coordinator, method in (
        ("choreography", "pm_slow"),
        ("orchestration", "pm_slow"),
        ("choreography", "pm_card_visa"),
    ):
        stack.post(userId=USER, total=2599, paymentMethod=method, coordinator=coordinator)


def _settle(page: Page, name: str) -> None:
    shown = {
        "sagas": "tr.open",
        "saga": ".seq",
        "twins": ".comparison.prices",
        "paid": ".comparison.prices",
        "letters": ".group",
        "system": ".part.ok",
    }
    page.locator(shown[name]).first.wait_for(timeout=PATIENCE)
    expect(page.locator("#stream")).to_have_text("live", timeout=PATIENCE)
    if name == "system":
        expect(page.locator(".audit.holds")).to_be_visible(timeout=PATIENCE)
    until(lambda: page.evaluate("document.getAnimations().every((each) => each.playState !== 'running')"))


if __name__ == "__main__":
    main()
