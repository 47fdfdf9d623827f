"""The events of a saga alone decide what the reconciler does about it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from activities.stragglers import Place
from models.messages import Envelope, encode
from models.saga import Coordinator, derived_id
from tests.support.events import (
    APPROVED,
    CANCELLED_AS_DECLINED,
    CANCELLED_BY_USER,
    CREATED,
    DECLINED,
    FAILED,
    ORDER,
    ORDER_FAILED,
    PAID,
    PAYMENT_CANCELLED,
    REFUNDED,
)
from workflows.mirror_record import MirrorRecord
from workflows.saga_steps import CHARGE_PAYMENT, SagaStep
from workflows.sweep import CANCEL_ORDER, Part, Straggler, SweepReport, gone_by, next_step, sweep_story, told_of


def record_of(*events: Envelope) -> MirrorRecord:
    return MirrorRecord(msgspec.json.decode(encode(event)) for event in events)


@pytest.mark.parametrize(
    ("events", "step", "message"),
    [
        ([CREATED, APPROVED], "pay_order", APPROVED),
        ([CREATED, DECLINED], "decline_order", DECLINED),
        ([CREATED, FAILED], "fail_order", FAILED),
        ([CREATED, CANCELLED_BY_USER], "cancel_payment", CANCELLED_BY_USER),
        ([CREATED, APPROVED, CANCELLED_BY_USER], "cancel_payment", CANCELLED_BY_USER),
        ([CREATED, APPROVED, PAID, CANCELLED_BY_USER], "cancel_payment", CANCELLED_BY_USER),
        # A stranger made the order fail while its charge was under way, or after it went well.
        ([CREATED, ORDER_FAILED], "cancel_payment", ORDER_FAILED),
        ([CREATED, APPROVED, ORDER_FAILED], "cancel_payment", ORDER_FAILED),
        # Its void may still be due, which no event tells.
        ([CREATED, CANCELLED_BY_USER, PAYMENT_CANCELLED], "cancel_payment", CANCELLED_BY_USER),
    ],
)
@pytest.mark.parametrize("unpaid", [CANCEL_ORDER, CHARGE_PAYMENT, None])
def test_a_saga_is_taken_on_by_the_message_it_missed_under_that_message_s_own_id(
    events: list[Envelope], step: str, message: Envelope, unpaid: SagaStep | None
) -> None:
    found = next_step(record_of(*events), unpaid=unpaid)
    assert found
    assert found[0].name == step
    assert (found[1].event_id, found[1].event_type) == (str(message.event_id), message.event_type)
    assert found[1].payload == message.payload


@pytest.mark.parametrize(
    "events",
    [
        [],
        [CREATED, APPROVED, PAID],
        [CREATED, FAILED, ORDER_FAILED],
        [CREATED, DECLINED, CANCELLED_AS_DECLINED],
        [CREATED, APPROVED, PAID, CANCELLED_BY_USER, REFUNDED],
    ],
)
@pytest.mark.parametrize("unpaid", [CANCEL_ORDER, CHARGE_PAYMENT, None])
def test_nothing_is_done_about_a_saga_that_is_over_or_that_nobody_knows(
    events: list[Envelope], unpaid: SagaStep | None
) -> None:
    assert next_step(record_of(*events), unpaid=unpaid) is None


@pytest.mark.parametrize("coordinator", Coordinator)
def test_an_unpaid_order_is_cancelled_charged_or_left_as_its_finder_says(coordinator: Coordinator) -> None:
    record = record_of(replace(CREATED, coordinator=coordinator))
    cancelled = next_step(record, unpaid=CANCEL_ORDER)
    charged = next_step(record, unpaid=CHARGE_PAYMENT)
    assert cancelled
    assert charged
    assert cancelled[0].name == "cancel_order"
    assert cancelled[1].event_id == str(derived_id(ORDER, "OrderCancelRequested", "PAYMENT_TIMEOUT"))
    assert cancelled[1].payload == {"orderId": str(ORDER), "reason": "PAYMENT_TIMEOUT"}
    assert charged[0].name == "charge_payment"
    assert charged[1].event_id == str(CREATED.event_id)
    assert {cancelled[1].coordinator, charged[1].coordinator} == {coordinator}
    assert next_step(record, unpaid=None) is None


@pytest.mark.parametrize("ended", [DECLINED, FAILED, PAYMENT_CANCELLED, REFUNDED])
@pytest.mark.parametrize("unpaid", [CANCEL_ORDER, CHARGE_PAYMENT, None])
def test_a_paid_order_that_no_money_is_there_for_is_cancelled(ended: Envelope, unpaid: SagaStep | None) -> None:
    found = next_step(record_of(CREATED, PAID, ended), unpaid=unpaid)
    assert found
    assert found[0].name == "cancel_order"
    assert found[1].payload == {"orderId": str(ORDER), "reason": "USER_REQUESTED"}
    assert found[1].event_id == str(derived_id(ORDER, "OrderCancelRequested", "USER_REQUESTED"))


def test_a_payment_that_was_called_off_pays_no_order_and_its_deadline_cancels_that() -> None:
    record = record_of(CREATED, APPROVED, REFUNDED)
    assert next_step(record, unpaid=None) is None
    found = next_step(record, unpaid=CANCEL_ORDER)
    assert found
    assert (found[0].name, found[1].payload["reason"]) == ("cancel_order", "PAYMENT_TIMEOUT")


def test_what_is_due_for_a_paid_order_is_taken_up() -> None:
    for events in ([CREATED, PAID], [CREATED, APPROVED, PAID]):
        found = next_step(record_of(*events), unpaid=CHARGE_PAYMENT, due=True)
        assert found
        assert (found[0].name, found[1].event_id) == ("charge_payment", str(CREATED.event_id))


def straggler(number: int, *, over: bool, trouble: str | None = None) -> Straggler:
    return Straggler(
        order_id=str(number),
        found_among=Part.OVERDUE.value,
        steps=["cancel_order"],
        order_status="CANCELLED",
        payment_status=None,
        over=over,
        trouble=trouble,
    )


def test_a_report_counts_all_and_names_a_hundred_the_troubled_first() -> None:
    report = SweepReport()
    for page in range(3):
        report = told_of([straggler(100 * page + n, over=n > 0) for n in range(100)], report, Part.OVERDUE)
    assert (report.found, report.left) == ({Part.OVERDUE.value: 300}, 3)
    assert len(report.stragglers) == 100
    assert [each.order_id for each in report.stragglers[:4]] == ["0", "100", "200", "1"]


def test_only_cancellations_are_left_to_the_next_sweep_by_name() -> None:
    left = [straggler(1, over=False), straggler(2, over=True)]
    assert told_of(left, SweepReport(), Part.OVERDUE).unfinished == []
    report = told_of(left, SweepReport(), Part.CANCELLED)
    assert report.unfinished == ["1"]
    assert told_of(left, report, Part.AGAIN).unfinished == ["1"]


def test_the_place_stays_while_there_is_no_room_for_the_payments_whose_orders_are_not_off() -> None:
    page = [Place(at=f"2026-02-15T00:00:{n:02}Z", order_id=str(n)) for n in range(2)]
    few = told_of([straggler(1, over=False)], SweepReport(), Part.ENDED)
    assert gone_by(few, Part.ENDED, page, more=False).ended == page[-1]
    many = told_of([straggler(n, over=False) for n in range(1001)], SweepReport(ended=page[0]), Part.ENDED)
    assert gone_by(many, Part.ENDED, page, more=False).ended == page[0]


def test_a_story_tells_what_was_found_and_no_text_from_outside_is_markdown() -> None:
    assert sweep_story(SweepReport(), None) == "Nothing had fallen through.\n"
    report = told_of([straggler(1, over=False, trouble="bad `card` | **bold**")], SweepReport(), Part.OVERDUE)
    told = sweep_story(replace(report, need_operator=2), Part.DUE)
    assert told.startswith("Looking for payments that stand still.\n\nFound 1 orders past their deadline; 1 not over")
    assert "| 1 | orders past their deadline | cancel_order | CANCELLED | not known |" in told
    assert "- 1: `bad 'card' | **bold**`" in told
    assert "**2 sagas wait for an operator.**" in told
