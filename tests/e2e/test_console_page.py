"""The console's page keeps what it was told last, asks no more than it must, and forgets with the session."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.browser import CONSOLE, PATIENCE

expect.set_options(timeout=PATIENCE)
ORDER, OTHER = "01a20000-0000-7000-8000-000000000001", "01a20000-0000-7000-8000-000000000002"
START = "2026-11-28T12:00:00.000Z"
PAID = {"id": ORDER, "status": "PAID", "total": 999, "currency": "USD", "userId": OTHER, "coordinator": "choreography"}
PAID |= {"createdAt": START, "updatedAt": "2026-11-28T12:00:01.000Z", "cancelReason": None}

# A store whose readings answer when the test says so: `window.answers` are those that wait, with `yes` and `no`.
_STORE = """async () => {
    const { Store } = await import("/store.js");
    const live = Object.assign(new EventTarget(), { state: "live" });
    window.answers = [];
    const get = (path) => new Promise((yes, no) => {
        if (path.startsWith("/api/orders")) window.answers.push({ yes, no });
        else yes(path.includes("payments") ? { data: [] } : { total: 0, byStatus: {} });
    });
    window.live = live;
    window.store = new Store({ get }, live);
    window.settled = () => new Promise((next) => setTimeout(next, 20));
}"""

# The page of twins, or of one saga, over an API that tells what `window.told` has of each order.
_VIEW = """async ([module, make, ids, told]) => {
    const made = await import(`/${module}`);
    const store = new EventTarget();
    Object.assign(window, { told, asked: 0, store });
    const get = async (path) => {
        if (path.includes("dead-letters")) return { data: [] };
        window.asked += 1;
        const found = window.told[path.split("/").pop()];
        if (!found) throw Object.assign(new Error("unknown"), { status: 404 });
        const answer = structuredClone(found);
        const held = window.held;
        window.held = null;
        await held;
        return answer;
    };
    let placed = 0;
    const post = async () => {
        if (window.refusing && placed++ % 2) throw Object.assign(new Error("refused"), { status: 503 });
        return { orderId: ids[window.refusing ? 0 : placed++ % 2] };
    };
    window.notices = [];
    const tell = (text, { link }) => window.notices.push(`${text} ${link.href}`);
    const notices = { tell, complain: (error) => window.notices.push(error.message) };
    const api = { session: { coordinators: ["orchestration"] }, operator: true, get, post, patch: async () => null };
    const shown = window.placing ? [] : ids;
    window.view = made[make]({ api, store, live: new EventTarget(), notices }, ...shown);
    document.querySelector("main").append(window.view.element);
}"""


@pytest.fixture
def store(page: Page) -> Page:
    page.evaluate(_STORE)
    return page


def saga(status: str, payment: str | None, coordinator: str = "choreography", **more: Any) -> dict[str, Any]:
    """A saga as the gateway tells it, without events."""
    found = {"amount": 999, "currency": "USD", "status": payment, "reason": None, "createdAt": START}
    return {
        "order": {**PAID, "status": status, "coordinator": coordinator},
        "payment": found if payment else None,
        "events": [],
        "waitsFor": None,
        "away": [],
        "workflow": None,
        "cost": {"durationMs": 1000, "messages": 4, "rows": {}, "transactions": 4, "historyEvents": 9},
        **more,
    }


def open_twins(page: Page, one: dict[str, Any] | None, other: dict[str, Any] | None, *, placing: bool = False) -> None:
    told = {order: found for order, found in ((ORDER, one), (OTHER, other)) if found}
    page.evaluate("(placing) => { window.placing = placing; }", placing)
    page.evaluate(_VIEW, ["twins.js", "twins", [ORDER, OTHER], told])


# what the page keeps


def test_what_was_read_for_one_session_is_not_shown_to_the_next(store: Page) -> None:
    found = store.evaluate(
        """async (order) => {
            const { store, answers, settled } = window;
            store.read();
            store.forgetAll();
            store.read();
            answers[0].yes({ data: [order] });
            await settled();
            const late = store.sagas.size;
            answers[1].yes({ data: [] });
            await settled();
            return [late, store.sagas.size, store.loaded, store.behind, answers.length];
        }""",
        PAID,
    )
    assert found == [0, 0, True, False, 2]


def test_who_asks_during_a_reading_gets_one_more_after_it(store: Page) -> None:
    found = store.evaluate(
        """async (order) => {
            const { store, live, answers, settled } = window;
            store.read();
            live.dispatchEvent(new Event("hello"));
            live.dispatchEvent(new Event("gap"));
            const before = answers.length;
            answers[0].yes({ data: [] });
            await settled();
            const behind = store.behind;
            answers[1].yes({ data: [order] });
            await settled();
            return [before, behind, answers.length, store.sagas.size, store.behind];
        }""",
        PAID,
    )
    assert found == [1, True, 2, 1, False]


def test_a_reading_that_failed_is_made_again(store: Page) -> None:
    found = store.evaluate(
        """async () => {
            const { store, answers, settled } = window;
            store.read();
            store.catchUp();
            answers[0].no(new Error("away"));
            await settled();
            const behind = store.behind;
            store.catchUp();
            answers[1].yes({ data: [] });
            await settled();
            store.catchUp();
            return [behind, store.behind, answers.length];
        }"""
    )
    assert found == [True, False, 2]


@pytest.mark.parametrize(
    ("known", "told", "then"),
    [
        # The order's row is older than the change of its payment.
        (("CANCELLED", "APPROVED", 5), ("CANCELLED", "REFUNDED", 3), ("CANCELLED", "REFUNDED", 5)),
        (("CANCELLED", "REFUNDED", 5), ("PAID", "APPROVED", 6), ("CANCELLED", "REFUNDED", 6)),
        (("PAID", None, 5), (None, "APPROVED", 4), ("PAID", "APPROVED", 5)),
        (("PENDING_PAYMENT", "PROCESSING", 5), ("PAID", None, 6), ("PAID", "PROCESSING", 6)),
    ],
)
def test_a_status_gives_way_to_a_later_one_of_its_lifecycle_alone(
    store: Page, known: Any, told: Any, then: Any
) -> None:
    def standing(status: str | None, payment: str | None, second: int) -> dict[str, Any]:
        return {"orderId": ORDER, "status": status, "paymentStatus": payment, "at": f"2026-11-28T12:00:0{second}Z"}

    found = store.evaluate(
        "([known, told]) => { store.merge(known); store.merge(told); return [...store.sagas.values()][0]; }",
        [standing(*known), standing(*told)],
    )
    assert (found["status"], found["paymentStatus"], int(found["at"][18])) == then


def test_a_saga_whose_beginning_is_not_known_is_the_last(store: Page) -> None:
    found = store.evaluate(
        """() => {
            const told = [["a", "1"], ["b", null], ["c", "3"], ["d", "2"]];
            for (const [orderId, startedAt] of told) store.merge({ orderId, startedAt });
            return store.newest().map((saga) => saga.orderId);
        }"""
    )
    assert found == ["c", "d", "a", "b"]


# what one session may see


def test_a_gateway_that_asks_for_keys_now_leads_to_the_sign_in_and_what_was_shown_is_forgotten(page: Page) -> None:
    state = {"keys": False, "signed_in": False, "orders": [PAID]}

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix("http://console.test").partition("?")[0]
        if path == "/api/console/session":
            state["signed_in"] = state["signed_in"] or route.request.method == "POST"
            key = {"name": "k" * 40, "role": "client", "userId": None} if state["signed_in"] else None
            return route.fulfill(json={"keysRequired": state["keys"], "key": key, "coordinators": ["choreography"]})
        if state["keys"] and not state["signed_in"]:
            return route.fulfill(status=401, json={"detail": "Show a key"})
        if path == "/api/console/stream":
            return route.fulfill(content_type="text/event-stream", body="id: 1\nevent: hello\ndata: {}\n\n")
        found = {"/api/orders": {"data": state["orders"], "meta": {"total": 1}}, "/api/payments": {"data": []}}
        return route.fulfill(json=found.get(path, {"total": 0, "byStatus": {}}))

    page.route("http://console.test/api/**", answer)
    body = re.search(r"<body>(.*)</body>", (CONSOLE / "index.html").read_text(), re.DOTALL)
    assert body
    page.evaluate("async (body) => { document.body.innerHTML = body; await import('/main.js'); }", body[1])
    expect(page.locator("tr[data-order]")).to_have_count(1)
    page.evaluate("location.hash = '#/letters/%'")
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
    state["keys"] = True
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_text("This gateway asks for a key now.")
    state["orders"] = []
    page.evaluate("location.hash = '#/'")
    page.get_by_label("API key").fill("sk_saga_x")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="No saga has run yet")).to_be_visible()
    expect(page.locator("tr[data-order]")).to_have_count(0)
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360, "also with the longest name of a key"
    handle = page.locator(".empty").element_handle()
    page.get_by_role("button", name="Place a single order").focus()
    page.wait_for_timeout(3500)  # the totals are read anew
    assert handle.evaluate("element => element.isConnected")
    expect(page.get_by_role("button", name="Place a single order")).to_be_focused()


# twins


def test_twins_of_which_one_did_not_get_paid_are_over_and_are_not_cancelled(page: Page) -> None:
    open_twins(page, saga("PAID", "APPROVED"), saga("FAILED", "FAILED", "orchestration"), placing=True)
    assert page.locator("#twin-method option").evaluate_all("all => all.filter((each) => !each.value).length") == 0
    page.get_by_label("Cancel it once it is paid").check()
    page.get_by_role("button", name="Run both").click()
    expect(page.get_by_role("region", name="What they leave is equal", exact=True)).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="Both sagas are over")).to_be_attached()
    page.get_by_role("button", name="Run both").click()  # what the run before has drawn goes without an error
    expect(page.locator(".lane")).to_have_count(2)


def test_a_twin_whose_other_was_refused_goes_on_alone(page: Page) -> None:
    page.evaluate("window.refusing = true")
    open_twins(page, None, None, placing=True)
    page.get_by_role("button", name="Run both").click()
    page.wait_for_function("window.notices.length === 2")
    refused, alone = page.evaluate("window.notices")
    assert refused == "refused"
    assert alone.endswith(f"goes on alone. #/orders/{ORDER}")


def test_twins_that_nobody_knows_are_unknown(page: Page) -> None:
    open_twins(page, saga("PAID", "APPROVED"), None)
    expect(page.get_by_role("alert")).to_contain_text("There are no two such orders")
    asked = page.evaluate("window.asked")
    page.wait_for_timeout(700)
    assert page.evaluate("window.asked") == asked


def test_twins_that_hang_are_asked_ever_more_rarely_and_the_lane_is_that_of_its_coordinator(page: Page) -> None:
    late = saga("PENDING_PAYMENT", None, order=None)
    open_twins(page, late, late)
    expect(page.locator(".head.hub .name")).to_have_text(["RabbitMQ", "Temporal"])
    page.wait_for_timeout(4000)
    assert page.evaluate("window.asked") < 20
    page.evaluate("told => { window.told = told; }", {ORDER: saga("PAID", "APPROVED"), OTHER: saga("PAID", "APPROVED")})
    page.evaluate("id => store.dispatchEvent(new CustomEvent('change', { detail: [id] }))", ORDER)
    expect(page.get_by_role("region", name="What each cost", exact=True)).to_be_visible()


def test_twins_that_were_over_show_a_later_cancellation(page: Page) -> None:
    open_twins(page, saga("PAID", "APPROVED"), saga("PAID", "APPROVED", "orchestration"))
    facts = page.get_by_role("region", name="What they leave is equal", exact=True)
    expect(facts).to_contain_text("PAID")
    page.evaluate("saga => { window.told[Object.keys(window.told)[0]] = saga; }", saga("CANCELLED", "REFUNDED"))
    page.evaluate("id => store.dispatchEvent(new CustomEvent('change', { detail: [id] }))", ORDER)
    expect(facts).to_contain_text("CANCELLED")
    expect(page.locator(".lane.choreography p.line")).to_contain_text("REFUNDED")


# one saga


def test_a_saga_whose_order_service_is_away_is_drawn_by_its_workflow_and_its_order_is_unknown(page: Page) -> None:
    workflow = {"type": "OrderSaga", "url": None}
    away = saga("PAID", "APPROVED", order=None, away=["order"], workflow=workflow)
    page.evaluate("window.placing = false")
    page.evaluate(_VIEW, ["saga.js", "saga", [ORDER], {ORDER: away}])
    expect(page.locator(".card")).to_contain_text("unknown: the order service does not answer")
    expect(page.locator(".card")).not_to_contain_text("PENDING_PAYMENT")
    expect(page.locator(".card")).not_to_contain_text("So far")
    expect(page.locator(".head.hub .name")).to_have_text("Temporal")


def test_no_answer_about_a_saga_overtakes_a_newer_one(page: Page) -> None:
    page.evaluate("window.placing = false")
    page.evaluate(_VIEW, ["saga.js", "saga", [ORDER], {ORDER: saga("PENDING_PAYMENT", None)}])
    expect(page.locator(".card")).to_contain_text("PENDING_PAYMENT")
    found = page.evaluate(
        """async ([id, processing, approved]) => {
            const changed = () => store.dispatchEvent(new CustomEvent("change", { detail: [id] }));
            const past = (milliseconds) => new Promise((next) => setTimeout(next, milliseconds));
            window.told[id] = processing;
            window.held = new Promise((go) => (window.go = go));
            changed();
            await past(400);
            window.told[id] = approved;
            changed();
            await past(400);
            window.go();
            await past(400);
            return document.querySelector(".card").textContent;
        }""",
        [ORDER, saga("PENDING_PAYMENT", "PROCESSING"), saga("PAID", "APPROVED")],
    )
    assert "APPROVED" in found


# the connection

_LIVE = """async () => {
    const { Live } = await import("/live.js");
    const made = (window.connections = []);
    window.states = [];
    window.fetch = async (path, { headers, signal }) => {
        const body = new ReadableStream({
            start(controller) {
                const tell = (text) => controller.enqueue(new TextEncoder().encode(text));
                tell(`id: ${made.length}\\nevent: hello\\ndata: {}\\n\\n`);
                const last = headers["Last-Event-ID"] ?? null;
                made.push({ last, beat: () => tell(":\\n\\n"), end: () => controller.close() });
                signal.addEventListener("abort", () => controller.error(signal.reason));
            },
        });
        return new Response(body);
    };
    const live = (window.live = new Live({ headers: (more) => more, onSignedOut: () => {} }));
    live.addEventListener("state", () => window.states.push(live.state));
    live.start();
    await new Promise((next) => live.addEventListener("hello", next));
}"""
_HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_stream_that_ends_in_order_after_a_while_is_taken_up_again_without_alarm(page: Page) -> None:
    page.clock.install()
    page.evaluate(_LIVE)
    page.clock.run_for(6000)
    page.evaluate("connections[0].end()")
    page.wait_for_function("connections.length === 2")
    assert page.evaluate("[states, connections[1].last]") == [["connecting", "live", "live"], "0"]
    page.evaluate("connections[1].end()")  # at once: something is wrong
    page.wait_for_function("states.at(-1) === 'cut'")


def test_a_tab_that_nobody_sees_leaves_its_connection_and_asks_nothing_until_it_is_seen(page: Page) -> None:
    page.clock.install()
    page.evaluate(_LIVE)
    page.evaluate(
        """async () => {
            window.polled = 0;
            (await import("/attention.js")).poll(() => (window.polled += 1), 10_000);
        }"""
    )
    page.evaluate(_HIDE, True)
    page.clock.run_for(30_000)
    page.evaluate("connections[0].beat()")
    page.clock.run_for(31_000)
    polled = page.evaluate("polled")
    page.clock.run_for(120_000)
    assert page.evaluate("[polled, connections.length, states.includes('cut')]") == [polled, 1, False]
    page.evaluate(_HIDE, False)
    page.wait_for_function("connections.length === 2")
    assert page.evaluate("[polled, connections[1].last, states.at(-1)]") == [polled + 1, "0", "live"]


# forms


def test_an_order_that_got_no_answer_keeps_its_key_and_ids_need_no_secure_page(page: Page) -> None:
    made = page.evaluate(
        """async () => {
            const { Attempt, randomId } = await import("/place.js");
            const attempt = new Attempt();
            const keys = [attempt.keyOf({ total: 1 })];
            for (const error of [{ status: 0 }, { status: 503 }, { status: 422 }, null]) {
                attempt.end(error);
                keys.push(attempt.keyOf({ total: 1 }));
            }
            keys.push(attempt.keyOf({ total: 2 }));
            return [keys.map((key) => keys.indexOf(key)), randomId()];
        }"""
    )
    assert made[0] == [0, 0, 0, 3, 4, 5]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", made[1])


def test_letters_that_are_redriven_while_the_history_is_read_are_kept(page: Page) -> None:
    found = page.evaluate(
        """async () => {
            const { History } = await import("/redriven.js");
            History.add([{ id: "first" }]);
            const reading = History.look({ get: async () => ({ data: [] }) });
            History.add([{ id: "second" }]);
            const seen = (await reading).map(({ letter }) => letter.id);
            return [seen, JSON.parse(sessionStorage.getItem("saga.redriven")).map(({ letter }) => letter.id)];
        }"""
    )
    assert found == [["second", "first"]] * 2


# the rows


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_a_row_that_changes_is_marked_for_a_moment_unless_less_motion_is_asked_for(page: Page, motion: Any) -> None:
    page.emulate_media(reduced_motion=motion)
    marked = page.evaluate(
        """async (order) => {
            const { Rows } = await import("/rows.js");
            const rows = new Rows();
            document.querySelector("main").append(rows.element);
            const told = { ...order, orderId: order.id, startedAt: order.createdAt, at: order.updatedAt };
            rows.show([{ ...told, status: "PENDING_PAYMENT" }]);
            rows.show([{ ...told, status: "PAID" }]);
            return rows.element.querySelectorAll(".glow").length;
        }""",
        PAID,
    )
    assert marked == (1 if motion == "no-preference" else 0)
    expect(page.locator("tr.glow")).to_have_count(0)
