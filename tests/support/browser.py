"""Debian's Chromium, driven by Playwright, with a fresh folder of data for each run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, Route, sync_playwright

CHROMIUM: Final = "/usr/bin/chromium"
CONSOLE: Final = Path(__file__).parents[2] / "api" / "console"
PATIENCE: Final = 30_000  # milliseconds: only a failure waits so long
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_CHANGED: Final = "ERR_NETWORK_CHANGED"
_LOADS: Final = 5
_MODULES: Final = "http://console.test/"
_TYPES: Final = {".js": "text/javascript", ".css": "text/css"}


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser. Playwright keeps a loop running in this thread meanwhile, so `asyncio.run` needs another one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, *, width: int = 1280, scheme: Literal["light", "dark"] = "light") -> Iterator[Page]:
    """A page of a visitor that the console has not seen before. Fails at the end if a script or the policy failed."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.extend(_broken(message)))
    try:
        yield page
        assert not wrong, wrong
    finally:
        context.close()


def _broken(message: ConsoleMessage) -> list[str]:
    """What a script complains of. An answer such as 404 or 401 is no fault of the page, which says it in words."""
    faulty = message.type == "error" and "Failed to load resource" not in message.text
    return [message.text] if faulty else []


def load(page: Page, url: str) -> None:
    """Open a page, and again if Chromium gave up some of its files because the machine's network changed meanwhile."""
    given_up: list[str] = []

    def note(request: Request) -> None:
        if _CHANGED in (request.failure or ""):
            given_up.append(request.url)

    page.on("requestfailed", note)
    try:
        for _ in range(_LOADS):
            given_up.clear()
            try:
                page.goto(url)
            except Error as error:
                if _CHANGED not in str(error):
                    raise
            if not given_up:
                return
            page.goto("about:blank")  # an address that differs in its view alone would not be loaded again
    finally:
        page.remove_listener("requestfailed", note)
    raise AssertionError(f"not loaded, since the network changed each time: {given_up}")


def modules(page: Page) -> None:
    """Open an empty page that has the console's styles, and may import its modules, without any gateway."""

    def answer(route: Route) -> None:
        name = route.request.url.removeprefix(_MODULES)
        if not name:
            body = '<!doctype html><title>modules</title><link rel="stylesheet" href="/console.css"><main></main>'
            return route.fulfill(body=body, content_type="text/html")
        path = CONSOLE / name
        return route.fulfill(body=path.read_text(), content_type=_TYPES[path.suffix])

    page.route(f"{_MODULES}**", answer)
    page.goto(_MODULES)


def call(page: Page, module: str, function: str, *arguments: Any) -> Any:
    """What a function of a module returns for these values, as JSON."""
    script = "async ([module, name, given]) => (await import(`/${module}`))[name](...given)"
    return page.evaluate(script, [module, function, arguments])
