"""The console's drawing of a saga says what its event logs say, and stays readable, whatever it is given."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Page

from models.message_types import EventType
from models.saga import Coordinator
from tests.support.browser import call
from tests.support.told_sagas import CANCELLED_EARLY, FAILED, PAID, REFUNDED, REFUNDED_LATE, letters, told

BOTH = list(Coordinator)
STORIES = [PAID, REFUNDED, FAILED, CANCELLED_EARLY, REFUNDED_LATE]
WIDTHS = [340, 720, 1240, 2400]


def story(page: Page, saga: dict[str, Any], found: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    made: dict[str, Any] = call(page, "story.js", "tell", saga, found or [])
    return made


def between(story: dict[str, Any]) -> list[str]:
    """The arrows of a story, as `from>to label`."""
    return [f"{step['from']}>{step['to']} {step['label']}" for step in story["steps"] if step["kind"] == "arrow"]


@pytest.mark.parametrize("coordinator", BOTH)
@pytest.mark.parametrize("events", STORIES)
def test_each_event_is_told_once_and_in_its_order(
    page: Page, coordinator: Coordinator, events: tuple[EventType, ...]
) -> None:
    steps = story(page, told(coordinator, events))["steps"]
    assert [step["key"] for step in steps if step["key"]] == [event.value for event in events]
    assert all(step["sentence"] for step in steps)


def test_a_choreographed_saga_goes_through_the_broker_and_an_orchestrated_one_through_its_workflow(page: Page) -> None:
    choreographed = between(story(page, told(Coordinator.CHOREOGRAPHY, REFUNDED)))
    orchestrated = between(story(page, told(Coordinator.ORCHESTRATION, REFUNDED)))
    assert choreographed == [
        "client>gateway POST /api/orders",
        "gateway>broker order.create.requested",
        "broker>order order.create.requested",
        "order>broker order.created",
        "broker>payment order.created",
        "payment>provider charge 9.99 USD",
        "provider>payment captured",
        "payment>broker payment.approved",
        "broker>order payment.approved",
        "order>broker order.paid",
        "client>gateway PATCH …/cancel",
        "gateway>broker order.cancel.requested",
        "broker>order order.cancel.requested",
        "order>broker order.cancelled",
        "broker>payment order.cancelled",
        "payment>provider refund 9.99 USD",
        "provider>payment refunded",
        "payment>broker payment.refunded",
    ]
    assert orchestrated == [
        "client>gateway POST /api/orders",
        "gateway>temporal start OrderSaga",
        "temporal>order create_order",
        "order>temporal OrderCreated",
        "temporal>payment charge_payment",
        "payment>provider charge 9.99 USD",
        "provider>payment captured",
        "payment>temporal PaymentApproved",
        "temporal>order pay_order",
        "order>temporal OrderPaid",
        "client>gateway PATCH …/cancel",
        "gateway>temporal signal cancel",
        "temporal>order cancel_order",
        "order>temporal OrderCancelled",
        "temporal>payment cancel_payment",
        "payment>provider refund 9.99 USD",
        "provider>payment refunded",
        "payment>temporal PaymentRefunded",
    ]


@pytest.mark.parametrize(
    ("coordinator", "again"),
    [
        (Coordinator.CHOREOGRAPHY, ["broker>payment order.created again: attempt 3"]),
        (Coordinator.ORCHESTRATION, ["temporal>payment charge_payment again: attempt 3"]),
    ],
)
def test_attempts_that_failed_are_told_before_what_came_of_the_last(
    page: Page, coordinator: Coordinator, again: list[str]
) -> None:
    saga = told(coordinator, PAID)
    saga["events"][1]["attempt"] = 3
    steps = story(page, saga)["steps"]
    places = [index for index, step in enumerate(steps) if "again" in step["label"]]
    assert [f"{steps[index]['from']}>{steps[index]['to']} {steps[index]['label']}" for index in places] == again
    assert steps[places[0] - 1]["label"] == "charge 9.99 USD"
    assert steps[places[0] + 1]["label"] == "captured"
    assert "2 attempts had failed" in steps[places[0]]["sentence"]
    assert steps[places[0]]["recorded"]
    plan = call(page, "layout.js", "layOut", {"lanes": story(page, saga)["lanes"], "steps": steps}, 1240)
    (works,) = [bar for bar in plan["bars"] if bar["lane"] == "payment"]
    brought = next(row for row in plan["rows"] if row["to"] == "payment")
    assert works["y"] == brought["y"], "it has been at work since the first attempt"


def test_a_cancellation_that_came_first_is_told_without_a_charge(page: Page) -> None:
    late = told(Coordinator.CHOREOGRAPHY, CANCELLED_EARLY, status="CANCELLED", createdAt="2026-11-28T12:00:01Z")
    assert not [arrow for arrow in between(story(page, late)) if "provider" in arrow]
    # The charge was begun after the order was cancelled, and before the payment service heard of it.
    crossed = told(Coordinator.CHOREOGRAPHY, CANCELLED_EARLY, status="CANCELLED", createdAt="2026-11-28T12:00:00.700Z")
    assert "payment>provider charge 9.99 USD" in between(story(page, crossed))
    under_way = told(Coordinator.CHOREOGRAPHY, REFUNDED_LATE, status="REFUNDED")
    asked = [arrow for arrow in between(story(page, under_way)) if arrow.startswith("payment>provider")]
    assert asked == ["payment>provider charge 9.99 USD", "payment>provider void", "payment>provider refund 9.99 USD"]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", [0, 30])
@pytest.mark.parametrize("coordinator", BOTH)
def test_steps_run_down_without_touching_each_other(
    page: Page, coordinator: Coordinator, count: int, width: int
) -> None:
    made = story(page, told(coordinator, REFUNDED), letters(count))
    assert len(made["steps"]) == 24 + count
    plan = call(page, "layout.js", "layOut", made, width)
    heights = [row["y"] for row in plan["rows"]]
    assert all(after - before >= 28 for before, after in pairwise(heights))
    assert heights[-1] < plan["bottom"] < plan["height"]
    places = [lane["x"] for lane in plan["lanes"]]
    assert places == sorted(set(places)) and plan["gutter"] < places[0] and places[-1] < plan["width"]
    for gap in plan["gaps"]:
        assert not [y for y in heights if gap["y"] < y < gap["y"] + gap["height"]]


def test_dead_letters_are_told_in_the_order_in_which_they_were_given_up(page: Page) -> None:
    found = letters(3)
    found[0]["failedAt"], found[2]["failedAt"] = found[2]["failedAt"], found[0]["failedAt"]
    found.append({**found[0], "id": "early", "failedAt": "2026-11-28T12:00:00.100Z"})
    steps = story(page, told(Coordinator.CHOREOGRAPHY, PAID), found)["steps"]
    given = [step for step in steps if step["kind"] == "letter"]
    assert [step["letterId"] for step in given] == ["early", "letter-2", "letter-1", "letter-0"]
    assert steps.index(given[0]) < [step["key"] for step in steps].index("PaymentApproved")


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_that_is_written_is_cut_at_an_edge(page: Page, width: int) -> None:
    saga = told(Coordinator.CHOREOGRAPHY, REFUNDED, reason="x" * 80)
    saga["waitsFor"] = "the order service, which has not heard of the payment yet, and so on, and so on, for ever"
    saga["events"][-1]["elapsedMs"] = 3_612_345
    saga["events"][-1]["attempt"] = 12
    beyond = page.evaluate(
        """async ([saga, letters, width]) => {
            const [{ shorten, tell }, { draw }] = [await import("/story.js"), await import("/sequence.js")];
            const story = tell(saga, letters);
            const { svg, plan } = draw(width < 480 ? shorten(story) : story, width, { title: "A saga" });
            document.querySelector("main").append(svg);
            const isBeyond = ({ x, width }) => x < 0 || x + width > plan.width;
            const texts = [...svg.querySelectorAll("text")].filter((text) => isBeyond(text.getBBox()));
            return texts.map((text) => text.textContent);
        }""",
        [saga, letters(1), width],
    )
    assert beyond == []


@pytest.mark.parametrize("width", [530, 590, 1240])
@pytest.mark.parametrize("coordinator", BOTH)
def test_labels_are_no_wider_than_their_arrows(page: Page, coordinator: Coordinator, width: int) -> None:
    wider = page.evaluate(
        """async ([saga, width]) => {
            const [{ shorten, tell }, { draw }] = [await import("/story.js"), await import("/sequence.js")];
            const { svg } = draw(width < 1000 ? shorten(tell(saga)) : tell(saga), width, { title: "A saga" });
            document.querySelector("main").append(svg);
            const arrows = [...svg.querySelectorAll(".step.arrow")];
            if (arrows.length < 16) throw new Error("too few arrows");
            const widths = (arrow) => [".label", ".line"].map((name) => arrow.querySelector(name).getBBox().width);
            return arrows.filter((arrow) => widths(arrow)[0] > widths(arrow)[1] + 1).map((arrow) => arrow.textContent);
        }""",
        [told(coordinator, REFUNDED), width],
    )
    assert wider == []


@pytest.mark.parametrize("events", STORIES)
def test_equal_events_of_twins_lie_on_one_line(page: Page, events: tuple[EventType, ...]) -> None:
    pair = [call(page, "story.js", "shorten", story(page, told(each, events))) for each in BOTH]
    commits_at = call(page, "layout.js", "align", *pair)
    plans = [call(page, "layout.js", "layOut", each, 600, commits_at) for each in pair]
    lines = [{row["key"]: row["y"] for row in plan["rows"] if row["key"]} for plan in plans]
    assert lines[0] == lines[1]
    assert list(lines[0]) == [event.value for event in events]


def test_a_saved_drawing_stands_alone_and_what_messages_say_stays_text(page: Page) -> None:
    bad = "</text><script>alert(1)</script>"
    saga = told(Coordinator.CHOREOGRAPHY, (*CANCELLED_EARLY[:1], EventType.PAYMENT_DECLINED), reason=bad)
    with page.expect_download() as saved:
        page.evaluate(
            """async (saga) => {
                const { tell } = await import("/story.js");
                const { draw, save } = await import("/sequence.js");
                const { svg } = draw(tell(saga), 1000, { title: "A saga" });
                document.querySelector("main").append(svg);
                save(svg, "a-saga");
            }""",
            saga,
        )
    assert page.locator("main script").count() == 0
    assert saved.value.suggested_filename == "a-saga.svg"
    content = saved.value.path().read_text()
    root = ET.fromstring(content)
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert "script" not in names and {"style", "line", "text"} <= names
    assert f"declined: {bad}" in [element.text for element in root.iter()]
    assert "var(" not in content and "url(http" not in content
