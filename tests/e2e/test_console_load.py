"""The list of sagas stays quick and small, however many sagas move and however long it is open."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import CDPSession, Page, expect

from tests.support.browser import PATIENCE

expect.set_options(timeout=PATIENCE)
FRAMES = 300  # as many as a minute has, each with as many sagas as a frame takes
FRAME = 1000 / 60  # milliseconds of one frame of the screen
_LIST = """async () => {
    const { Store } = await import("/store.js");
    const { list } = await import("/list.js");
    const live = Object.assign(new EventTarget(), { state: "live" });
    const empty = { data: [], meta: { total: 0 }, total: 0, byStatus: {}, byCoordinator: {} };
    const api = { session: { coordinators: [] }, get: async () => empty };
    const store = new Store(api, live);
    const page = list({ api, live, store, notices: null });
    document.querySelector("main").append(page.element);
    window.console_ = { live, store, next: 0 };
}"""
# Frames at the pace of the stream, as fast as the screen can show them; returns the time that each drawing took.
_FLOOD = """async ([frames, started]) => {
    const { live, store } = window.console_;
    const took = [];
    for (let frame = 0; frame < frames; frame += 1) {
        const sagas = Array.from({ length: 100 }, () => {
            const number = String((window.console_.next += 1)).padStart(12, "0");
            const now = new Date(1.8e12 + window.console_.next).toISOString();
            return { orderId: `01a20000-0000-7000-8000-${number}`, coordinator: "choreography", status: "PAID",
                     paymentStatus: "APPROVED", amount: 999, currency: "USD", userId: "", lastEvent: "OrderPaid",
                     at: now, startedAt: now, events: 3 };
        });
        const began = performance.now();
        live.dispatchEvent(new CustomEvent("sagas", { detail: {
            sagas, rates: { started, ended: started, events: 3 * started, seconds: 0.2 }, dropped: 0 } }));
        await new Promise((shown) => requestAnimationFrame(() => { void document.body.offsetHeight; shown(); }));
        took.push(performance.now() - began);
    }
    return took.sort((a, b) => a - b);
}"""


@pytest.fixture
def page(page: Page) -> Page:
    page.evaluate(_LIST)
    return page


def heap(session: CDPSession) -> float:
    """Bytes that scripts hold, after what nobody holds any more has been swept."""
    session.send("HeapProfiler.collectGarbage")
    metrics: list[dict[str, Any]] = session.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "JSHeapUsedSize"))


def test_ten_thousands_of_sagas_leave_a_hundred_rows_and_a_flat_heap(page: Page) -> None:
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.evaluate(_FLOOD, [100, 0])
    before = heap(session)
    page.evaluate(_FLOOD, [FRAMES, 0])
    assert page.evaluate("window.console_.next") == 100 * (100 + FRAMES)
    assert heap(session) < before + 2_000_000
    assert page.locator("tr[data-order]").count() == 100
    assert page.evaluate("window.console_.store.sagas.size") <= 300


def test_a_thousand_sagas_a_second_are_figures_and_not_rows(page: Page) -> None:
    page.evaluate(_FLOOD, [1, 1])
    expect(page.locator("tr[data-order]")).to_have_count(100)
    took = page.evaluate(_FLOOD, [60, 200])
    assert took[len(took) // 2] < 2 * FRAME  # a frame of the stream comes twelve times as rarely as one of the screen
    assert page.locator("tr[data-order]").count() == 0
    assert re.search(r"[1-9][0-9 \u202f]* sagas begin a second", page.locator(".busy").inner_text())
    expect(page.locator("tr[data-order]")).to_have_count(100)  # a few seconds later, when it is calm again
