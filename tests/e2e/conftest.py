"""All tests of this folder bear the marker `e2e`. One embedded stack, started as a user would start it, serves them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import chromium, modules, opened
from tests.support.command_lines import CommandLines
from tests.support.ports import OFFSET
from tests.support.stack import Stack, run_saga


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker("e2e")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of a module alone, since its loop keeps the thread from running another one."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page with the console's styles and modules, and without any gateway."""
    with opened(browser) as page:
        modules(page)
        yield page


@pytest.fixture(scope="session")
def started() -> CommandLines:
    """The command lines that were seen while the stack started."""
    return CommandLines()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, started: CommandLines) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("stack")
    with started:
        run_saga("up", "--detach", "--data", str(data), "--port-offset", str(OFFSET + 200))
    try:
        status = json.loads(run_saga("status", "--json", "--data", str(data)).stdout)
        yield Stack(data, status["urls"])
    finally:
        run_saga("down", "--data", str(data))
