"""The reconciler ends each kind of straggler, and leaves alone what is none."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import (
    Client,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleOverlapPolicy,
)

from activities.order_stragglers import OFF, OVERDUE
from activities.payment_stragglers import DUE, OF_ORDERS
from activities.stragglers import Place, Search, parameters
from models.outcome import Unanswered
from models.saga import (
    CancelReason,
    Coordinator,
    derived_id,
)
from tests.support.sweeping import SWEEP, On, Stage, found, id_of, play
from tests.support.world import Servers
from workflows.naming import RECONCILER_ID, SAGA_TASK_QUEUE, workflow_id
from workflows.reconciler import Reconciler
from workflows.reconciler_schedule import schedule_reconciler
from workflows.search_attributes import NEEDS_OPERATOR
from workflows.sweep import Part, SweepReport

CHOREOGRAPHY, ORCHESTRATION = Coordinator.CHOREOGRAPHY, Coordinator.ORCHESTRATION
HISTORY = ("--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=40")


@pytest.fixture
def on(servers: Servers) -> On:
    return partial(play, servers)


# Orders past their deadline


@pytest.mark.parametrize("coordinator", [CHOREOGRAPHY, ORCHESTRATION])
@pytest.mark.parametrize("heard_of", [False, True])
def test_an_order_past_its_deadline_is_cancelled_and_its_payment_too(
    on: On, coordinator: Coordinator, heard_of: bool
) -> None:
    async def test(stage: Stage) -> None:
        created = await stage.create(coordinator)
        if heard_of:
            await stage.begin(created)
        await stage.age()
        report = await stage.sweep()
        assert await stage.statuses(created) == ("CANCELLED", "CANCELLED")
        assert await stage.cancel_reason(created) == "PAYMENT_TIMEOUT"
        assert await stage.books(created) == (0, 0)
        assert found(report) == {Part.OVERDUE.value: 1}
        assert (report.left, report.troubles) == (0, [])
        [straggler] = report.stragglers
        assert straggler.steps == ["cancel_order", "cancel_payment"]
        assert (straggler.order_id, straggler.over) == (str(id_of(created)), True)
        # The same command that the timer of a mirror or a saga would have sent.
        command = derived_id(id_of(created), "OrderCancelRequested", CancelReason.PAYMENT_TIMEOUT)
        [_, cancelled, payment_cancelled] = await stage.events(created)
        assert cancelled == ("OrderCancelled", command, coordinator)
        assert payment_cancelled == (
            "PaymentCancelled", derived_id(id_of(created), "OrderCancelled", str(command)), coordinator
        )  # fmt: skip

    on(test)


@pytest.mark.parametrize(
    ("method", "ends"),
    [
        ("pm_card_visa", ("PAID", "APPROVED")),
        ("pm_card_chargeDeclined", ("CANCELLED", "DECLINED")),
        ("pm_error", ("FAILED", "FAILED")),
    ],
)
def test_an_order_that_missed_how_its_payment_ended_is_told_instead_of_cancelled(
    on: On, method: str, ends: tuple[str, str]
) -> None:
    async def test(stage: Stage) -> None:
        created = await stage.create(method=method)
        await stage.charge(created)
        await stage.age()
        report = await stage.sweep()
        assert await stage.statuses(created) == ends
        assert await stage.books(created) == (999 if ends[0] == "PAID" else 0, 0)
        assert report.left == 0

    on(test)


def test_an_order_within_its_deadline_by_either_clock_is_left_alone(on: On) -> None:
    async def test(stage: Stage) -> None:
        jumped = await stage.create()
        # The database's clock was set forward since then. By Temporal's clock the order is new.
        await stage.order_database.query("UPDATE orders SET created_at = created_at - interval '1 hour'")
        young = await stage.create()
        before = await stage.everything()
        report = await stage.sweep()
        assert [await stage.statuses(each) for each in (jumped, young)] == [("PENDING_PAYMENT", None)] * 2
        assert await stage.everything() == before
        assert (found(report), report.left) == ({Part.OVERDUE.value: 1}, 1)

    on(test)


# Payments that stand still


@pytest.mark.parametrize("coordinator", [CHOREOGRAPHY, ORCHESTRATION])
def test_25_a_payment_that_stands_still_is_charged_once_and_its_order_paid(on: On, coordinator: Coordinator) -> None:
    async def test(stage: Stage) -> None:
        created = await stage.create(coordinator)
        await stage.begin(created)
        await stage.age(400)
        report = await stage.sweep()
        assert await stage.statuses(created) == ("PAID", "APPROVED")
        assert await stage.books(created) == (999, 0)
        [straggler] = report.stragglers
        assert straggler.found_among == Part.DUE.value
        assert straggler.steps == ["charge_payment", "pay_order"]
        approved = derived_id(id_of(created), "PaymentApproved", str(created.event_id))
        assert [event[1:] for event in (await stage.events(created))[1:]] == [
            (approved, coordinator), (created.event_id, coordinator)
        ]  # fmt: skip

    on(test)


def test_a_payment_whose_order_is_cancelled_is_never_charged(on: On) -> None:
    async def test(stage: Stage) -> None:
        created = await stage.create()
        await stage.begin(created)
        await stage.cancel(created)
        await stage.age(400)
        report = await stage.sweep()
        assert await stage.statuses(created) == ("CANCELLED", "CANCELLED")
        assert await stage.books(created) == (0, 0)
        assert [straggler.steps for straggler in report.stragglers] == [["cancel_payment"]]

    on(test)


def test_a_charge_that_gets_no_answer_is_voided_in_the_end(on: On) -> None:
    async def test(stage: Stage) -> None:
        created = await stage.create(method="pm_unavailable")
        await stage.begin(created)
        await stage.age(400)
        await stage.sweep()
        assert await stage.statuses(created) == ("FAILED", "FAILED")
        written = await stage.payment_database.query("SELECT outcome FROM provider_charges")
        assert written == [{"outcome": "Voided"}]
        assert await stage.books(created) == (0, 0)

    on(test)


def test_a_void_and_a_refund_that_stand_still_are_done(on: On) -> None:
    async def test(stage: Stage) -> None:
        given_up, captured = await stage.create(), await stage.create()
        await stage.begin(given_up)
        unanswered = Unanswered(order_id=given_up.message.order_id, error="no answer")
        await stage.payments.submit(replace(given_up, message=unanswered))
        await stage.pay(captured)
        await stage.cancel(captured)
        [cancelled] = await stage.order_database.query(
            "SELECT event_id FROM event_log WHERE event_type = 'OrderCancelled'"
        )
        await stage.payment_database.query(
            "UPDATE payments SET due = 'refund', reason = 'USER_REQUESTED' WHERE order_id = %s", [id_of(captured)]
        )
        await stage.age(320)  # too short for a look at cancellations
        assert found(await stage.sweep()) == {Part.DUE.value: 2}
        assert await stage.statuses(given_up) == ("FAILED", "FAILED")
        assert await stage.statuses(captured) == ("CANCELLED", "REFUNDED")
        assert await stage.books(captured) == (999, 999)
        assert ("PaymentRefunded", cancelled["event_id"], CHOREOGRAPHY) in await stage.events(captured)

    on(test)


def test_a_payment_that_somebody_is_at_is_charged_once(on: On) -> None:
    async def test(stage: Stage) -> None:
        created = [await stage.create(method="pm_timeout_then_approve") for _ in range(10)]
        for each in created:
            await stage.begin(each)
        await stage.age(400)
        charging = [stage.charging.apply(each, last_try=False) for each in created]
        charges = asyncio.gather(*charging, return_exceptions=True)
        report, again = await asyncio.gather(stage.sweep(), stage.sweep())  # neither knows of the other
        await charges
        assert [await stage.statuses(each) for each in created] == [("PAID", "APPROVED")] * 10
        assert [await stage.books(each) for each in created] == [(999, 0)] * 10
        assert [len(await stage.events(each)) for each in created] == [3] * 10
        assert (report.left, again.left) == (0, 0)

    on(test)


def test_a_payment_that_is_not_waited_for_too_long_yet_is_left_alone(on: On) -> None:
    async def test(stage: Stage) -> None:
        created = await stage.create()
        await stage.begin(created)
        await stage.age(290)
        before = await stage.everything()
        assert found(await stage.sweep()) == {}
        assert await stage.everything() == before

    on(test)


def test_a_payment_for_an_order_that_nobody_knows_is_told_and_not_charged(on: On) -> None:
    async def test(stage: Stage) -> None:
        stranger = await stage.create()
        await stage.order_database.query("TRUNCATE orders, event_log, outbox")
        await stage.begin(stranger)
        await stage.age()
        report = await stage.sweep()
        assert await stage.books(stranger) == (0, 0)
        assert report.left == 1
        assert report.stragglers[0].trouble == "the order service's event log knows no such order"

    on(test)


# Cancelled orders


@pytest.mark.parametrize("coordinator", [CHOREOGRAPHY, ORCHESTRATION])
def test_a_cancelled_order_whose_payment_is_approved_is_refunded_once(on: On, coordinator: Coordinator) -> None:
    async def test(stage: Stage) -> None:
        created = await stage.create(coordinator)
        await stage.pay(created)
        await stage.cancel(created)
        await stage.age()
        assert found(await stage.sweep()) == {Part.CANCELLED.value: 1}
        assert await stage.statuses(created) == ("CANCELLED", "REFUNDED")
        assert await stage.books(created) == (999, 999)
        before = await stage.everything()
        assert found(await stage.sweep()) == {}
        assert await stage.everything() == before

    on(test)


def test_a_cancelled_order_that_no_payment_is_known_of_gets_its_tombstone(on: On) -> None:
    async def test(stage: Stage) -> None:
        created = await stage.create()
        await stage.cancel(created)
        await stage.age()
        await stage.sweep()
        assert await stage.statuses(created) == ("CANCELLED", "CANCELLED")
        await stage.charge(created)  # order.created, late
        assert await stage.books(created) == (0, 0)

    on(test)


def test_a_cancellation_that_is_under_way_is_left_alone(on: On) -> None:
    async def test(stage: Stage) -> None:
        created = await stage.create()
        await stage.pay(created)
        await stage.cancel(created)
        await stage.age(350)
        assert found(await stage.sweep()) == {}
        assert await stage.statuses(created) == ("CANCELLED", "APPROVED")

    on(test)


# A sweep as a whole


def test_a_sweep_that_finds_nothing_does_nothing(on: On) -> None:
    async def test(stage: Stage) -> None:
        for method in ("pm_card_visa", "pm_card_chargeDeclined", "pm_error"):
            created = await stage.create(method=method)
            await stage.charge(created)
        await stage.age()
        await stage.sweep()
        before = await stage.everything()
        report = await stage.sweep()
        assert (found(report), report.left, report.stragglers, report.troubles) == ({}, 0, [], [])
        assert await stage.everything() == before

    on(test)


def test_more_stragglers_than_a_page_holds_are_ended_page_by_page_in_runs_of_bounded_history(servers: Servers) -> None:
    async def test(stage: Stage) -> None:
        overdue = [await stage.create() for _ in range(5)]
        paid = [await stage.create() for _ in range(5)]
        for each in paid:
            await stage.pay(each)
            await stage.cancel(each)
        await stage.age()
        report = await stage.sweep(replace(SWEEP, page=2))
        assert found(report) == {Part.OVERDUE.value: 5, Part.CANCELLED.value: 5}
        assert report.left == 0
        assert [await stage.statuses(each) for each in overdue] == [("CANCELLED", "CANCELLED")] * 5
        assert [await stage.statuses(each) for each in paid] == [("CANCELLED", "REFUNDED")] * 5
        runs = [run async for run in stage.client.list_workflows("WorkflowType = 'Reconciler'")]
        assert len(runs) > 2
        assert max(run.history_length for run in runs) < 150

    play(servers, test, *HISTORY)


def test_a_straggler_that_cannot_be_helped_holds_up_nobody(on: On) -> None:
    async def test(stage: Stage) -> None:
        hopeless, fine = await stage.create(), await stage.create()
        await stage.pay(hopeless)
        await stage.cancel(hopeless)
        await stage.payment_database.query("DELETE FROM provider_charges")  # the provider knows of no capture
        await stage.begin(fine)
        await stage.age(400)
        report = await stage.sweep(replace(SWEEP, page=1))
        assert await stage.statuses(fine) == ("PAID", "APPROVED")
        assert report.left == 1
        assert report.unfinished == [str(id_of(hopeless))]
        assert "so nothing can be given back" in str(report.stragglers[0].trouble)

    on(test)


@pytest.mark.parametrize("named", [True, False])
def test_a_cancellation_left_unfinished_is_taken_up_by_the_next_sweep_by_name_or_in_the_round(
    on: On, named: bool
) -> None:
    async def test(stage: Stage) -> None:
        created = await stage.create()
        await stage.pay(created)
        await stage.cancel(created)
        await stage.age()
        beyond = Place(at=(datetime.now(UTC) + timedelta(days=1)).isoformat(), order_id=str(id_of(created)))
        before = SweepReport(checked=beyond, unfinished=[str(id_of(created))] if named else [])
        report = await stage.sweep(replace(SWEEP, so_far=before))
        assert found(report) == {(Part.CANCELLED if named else Part.AGAIN).value: 1}
        assert (report.unfinished, report.checked) == ([], beyond)
        assert await stage.statuses(created) == ("CANCELLED", "REFUNDED")

    on(test)


def test_a_service_that_is_away_is_told_of_and_waited_for_once(servers: Servers) -> None:
    async def test(stage: Stage) -> None:
        overdue = [await stage.create() for _ in range(3)]
        paid = await stage.create()
        await stage.pay(paid)
        await stage.cancel(paid)
        await stage.age()
        report = await stage.sweep(replace(SWEEP, away_after=1))
        assert [await stage.statuses(each) for each in overdue] == [("CANCELLED", None)] * 3
        assert await stage.statuses(paid) == ("CANCELLED", "APPROVED")
        assert report.left == 3
        assert {each.trouble for each in report.stragglers} == {"payment-service has not answered before"}
        assert [trouble.split(":")[0] for trouble in report.troubles] == [
            Part.DUE,
            Part.CANCELLED,
            Part.AGAIN,
            Part.ENDED,
        ]
        assert report.checked is None  # nobody has looked at the cancellations

    play(servers, test, away=True)


def test_the_page_of_a_sweep_tells_what_was_found_and_who_waits_for_an_operator(on: On) -> None:
    async def test(stage: Stage) -> None:
        created = await stage.create()
        await stage.age()
        for number in range(2):
            await stage.client.start_workflow(
                "SagaMirror", {"payment_timeout": 1, "compensation_timeout": 1}, id=workflow_id(f"flagged{number}"),
                task_queue="nobody's", search_attributes=flagged(),
            )  # fmt: skip
        await until_counted(stage.client, 2)
        handle = await stage.client.start_workflow(Reconciler.run, SWEEP, id="told", task_queue=SAGA_TASK_QUEUE)
        assert (await handle.result()).need_operator == 2
        metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        told = metadata.current_details
        assert "Found 1 orders past their deadline; 0 not over yet." in told
        assert "**2 sagas wait for an operator.**" in told
        assert f"| {id_of(created)} | orders past their deadline | cancel_order, cancel_payment | CANCELLED |" in told

    on(test)


def flagged() -> Any:
    from temporalio.common import SearchAttributePair, TypedSearchAttributes

    return TypedSearchAttributes([SearchAttributePair(NEEDS_OPERATOR, True)])


async def until_counted(client: Client, count: int) -> None:
    async with asyncio.timeout(60):
        while (await client.count_workflows("NeedsOperator = true")).count != count:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


# The schedule


def test_the_schedule_is_made_once_and_follows_the_configuration_but_stays_paused(on: On) -> None:
    async def test(stage: Stage) -> None:
        client, handle = stage.client, stage.client.get_schedule_handle(RECONCILER_ID)
        await asyncio.gather(*(schedule_reconciler(client, SWEEP, every=3600) for _ in range(3)))
        made = await handle.describe()
        assert made.schedule.policy.overlap is ScheduleOverlapPolicy.SKIP
        assert [each.every for each in made.schedule.spec.intervals] == [timedelta(hours=1)]
        await schedule_reconciler(client, SWEEP, every=3600)
        assert (await handle.describe()).info.last_updated_at == made.info.last_updated_at
        await handle.pause(note="an operator looks into it")
        await schedule_reconciler(client, replace(SWEEP, grace=1), every=1800)
        changed = (await handle.describe()).schedule
        assert [each.every for each in changed.spec.intervals] == [timedelta(minutes=30)]
        assert isinstance(changed.action, ScheduleActionStartWorkflow)
        assert b'"grace":1' in changed.action.args[0].data.replace(b" ", b"")
        assert (changed.state.paused, changed.state.note) == (True, "an operator looks into it")

    on(test)


def test_a_scheduled_sweep_goes_on_where_the_one_before_it_ended(on: On) -> None:
    async def test(stage: Stage) -> None:
        await schedule_reconciler(stage.client, replace(SWEEP, page=3), every=3600)
        handle = stage.client.get_schedule_handle(RECONCILER_ID)

        async def swept(times: int) -> SweepReport:
            await handle.trigger()
            async with asyncio.timeout(60):
                while (info := (await handle.describe()).info).num_actions < times or info.running_actions:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            last = info.recent_actions[-1].action
            assert isinstance(last, ScheduleActionExecutionStartWorkflow)
            run = stage.client.get_workflow_handle(last.workflow_id, result_type=SweepReport)
            assert await (await run.describe()).static_summary() == "Ends what fell through everything else"
            report: SweepReport = await run.result()
            return report

        for _ in range(5):
            created = await stage.create()
            await stage.pay(created)
            await stage.cancel(created)
        await stage.age()
        first = await swept(1)
        assert found(first) == {Part.CANCELLED.value: 5}
        assert first.checked
        late = await stage.create()
        await stage.pay(late)
        await stage.cancel(late)
        await stage.age(1000, only=late)
        second = await swept(2)
        assert found(second) == {Part.CANCELLED.value: 1}
        assert second.checked
        assert second.checked.at > first.checked.at
        # Round and round: three of six orders in the first sweep, the other three in the second.
        assert (first.again is not None, second.again is not None) == (True, True)
        # The round finds what a restored backup has undone, far behind the last sweep.
        await stage.payment_database.query("UPDATE payments SET status = 'APPROVED', due = NULL")
        third, fourth = await swept(3), await swept(4)
        assert third.found.get(Part.CANCELLED.value, 0) + fourth.found.get(Part.CANCELLED.value, 0) == 0
        assert third.found.get(Part.AGAIN.value, 0) + fourth.found.get(Part.AGAIN.value, 0) == 6 - 3

    on(test)


# Searches in large tables


def test_no_search_reads_more_of_a_large_table_than_it_gives(on: On) -> None:
    async def test(stage: Stage) -> None:
        many = "generate_series(1, 20000) n"
        old = "now() - make_interval(days => 10) + make_interval(secs => n)"
        await stage.order_database.query(
            "INSERT INTO orders SELECT gen_random_uuid(), gen_random_uuid(), 1, 'USD', NULL, 'choreography',"
            " CASE WHEN n % 5 = 0 THEN 'CANCELLED' WHEN n % 5000 = 1 THEN 'PENDING_PAYMENT' ELSE 'PAID' END, NULL,"
            f" {old}, {old} FROM {many}"
        )
        await stage.payment_database.query(
            "INSERT INTO payments SELECT gen_random_uuid(), gen_random_uuid(), 1, 'USD', NULL, 'choreography',"
            " 'APPROVED', CASE WHEN n % 5000 = 1 THEN 'refund' END, 't', NULL,"
            f" {old}, {old} FROM {many}"
        )
        some = await stage.payment_database.query(
            "SELECT array_agg(order_id) ids FROM (SELECT * FROM payments LIMIT 50)"
        )
        first = parameters(Search(idle=60, limit=100))
        for database, sql, params in (
            (stage.order_database, OVERDUE, first),
            (stage.order_database, OFF, first),
            (stage.payment_database, DUE, first),
            (stage.payment_database, OF_ORDERS, [some[0]["ids"]]),
        ):
            await database.query("ANALYZE")
            [plan] = await database.query(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params)
            [tree] = [each["Plan"] for each in plan["QUERY PLAN"]]
            nodes = list(nodes_of(tree))
            assert "Seq Scan" not in {node["Node Type"] for node in nodes}, tree
            assert sum(node.get("Rows Removed by Filter", 0) for node in nodes) == 0, tree
            assert "Sort" not in {node["Node Type"] for node in nodes}, tree

    on(test)


def nodes_of(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(below for child in node.get("Plans", []) for below in nodes_of(child))]
