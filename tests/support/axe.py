"""Look for what keeps people out of a page, by axe-core."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def barriers(page: Page) -> list[str]:
    """Each violation of WCAG 2.2 AA or of axe's best practice: its rule, and the elements that break it."""
    found = Axe().run(page, options={"resultTypes": ["violations"], "runOnly": _RULES}).response["violations"]
    return [f"{each['id']}: {node['target']} {node['failureSummary']}" for each in found for node in each["nodes"]]
