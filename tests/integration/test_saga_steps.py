"""A step that is repeated gives the answer that it gave first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from models.ids import uuid7
from tests.support.fakes.gateway import NOW
from tests.support.messages import USER
from tests.support.steps import Services, answer_to, cancel_step, create_step, services
from tests.support.world import Servers


@pytest.fixture
def on(servers: Servers) -> Callable[[Callable[[Services], Awaitable[None]]], None]:
    def play(test: Callable[[Services], Awaitable[None]]) -> None:
        async def run() -> None:
            async with services(servers) as each:
                await asyncio.wait_for(test(each), 120)

        asyncio.run(run())

    return play


On = Callable[[Callable[[Services], Awaitable[None]]], None]


@pytest.mark.parametrize(
    ("payment_method", "settle", "order", "payment"),
    [
        ("pm_card_visa", "pay_order", "PAID", "APPROVED"),
        ("pm_card_chargeDeclined", "decline_order", "CANCELLED", "DECLINED"),
        ("pm_error", "fail_order", "FAILED", "FAILED"),
    ],
)
def test_every_step_answers_its_events_and_the_same_ones_when_repeated(
    on: On, payment_method: str, settle: str, order: str, payment: str
) -> None:
    async def act(services: Services) -> None:
        create = create_step(payment_method)
        created = await services.run(services.orders.create_order, create)
        charged = await services.run(services.payments.charge_payment, answer_to(created))
        settled = await services.run(getattr(services.orders, settle), answer_to(charged))
        assert [(each.decision, each.status) for each in (created, charged, settled)] == [
            ("become", "PENDING_PAYMENT"),
            ("become", payment),
            ("become", order),
        ]
        again = [
            await services.run(services.orders.create_order, create),
            await services.run(services.payments.charge_payment, answer_to(created)),
            await services.run(getattr(services.orders, settle), answer_to(charged)),
        ]
        assert [each.decision for each in again] == ["stale"] * 3
        assert [each.events for each in again] == [created.events, charged.events, settled.events]
        logged = await services.orders.read_order_events(create.payload["orderId"])
        assert logged == [*created.events, *settled.events]
        assert await services.payments.read_payment_events(create.payload["orderId"]) == charged.events
        assert {event["coordinator"] for event in logged} == {"orchestration"}

    on(act)


def test_a_paid_order_is_refunded_by_its_compensations(on: On) -> None:
    async def act(services: Services) -> None:
        charge = await services.create()
        await services.run(
            services.orders.pay_order, answer_to(await services.run(services.payments.charge_payment, charge))
        )
        cancelled = await services.run(services.orders.cancel_order, cancel_step(charge.payload["orderId"]))
        refunded = await services.run(services.payments.cancel_payment, answer_to(cancelled))
        assert (cancelled.status, refunded.status) == ("CANCELLED", "REFUNDED")
        assert [event["eventType"] for event in refunded.events] == ["PaymentRefunded"]
        assert refunded.events[0]["causationId"] == cancelled.events[0]["eventId"]
        again = await services.run(services.payments.cancel_payment, answer_to(cancelled))
        assert again.events == refunded.events

    on(act)


def test_a_time_out_never_cancels_a_paid_order(on: On) -> None:
    async def act(services: Services) -> None:
        charge = await services.create()
        await services.run(
            services.orders.pay_order, answer_to(await services.run(services.payments.charge_payment, charge))
        )
        late = await services.run(
            services.orders.cancel_order, cancel_step(charge.payload["orderId"], "PAYMENT_TIMEOUT")
        )
        assert (late.decision, late.status, late.events) == ("stale", "PAID", [])

    on(act)


def test_a_cancellation_that_comes_first_leaves_nothing_to_charge(on: On) -> None:
    async def act(services: Services) -> None:
        charge = await services.create()
        cancelled = await services.run(services.orders.cancel_order, cancel_step(charge.payload["orderId"]))
        await services.run(services.payments.cancel_payment, answer_to(cancelled))
        late = await services.run(services.payments.charge_payment, charge)
        assert (late.decision, late.status, late.events) == ("stale", "CANCELLED", [])

    on(act)


def test_a_charge_without_an_answer_is_tried_again_and_voided_the_last_time(on: On) -> None:
    async def act(services: Services) -> None:
        charge = await services.create("pm_unavailable")
        with pytest.raises(ApplicationError) as unanswered:
            await services.run(services.payments.charge_payment, charge, 3, attempt=2)
        assert (unanswered.value.type, unanswered.value.non_retryable) == ("ProviderUnavailable", False)
        failed = await services.run(services.payments.charge_payment, charge, 3, attempt=3)
        assert (failed.status, [event["eventType"] for event in failed.events]) == ("FAILED", ["PaymentFailed"])

    on(act)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"payload": {"orderId": "{}", "userId": USER, "total": 1}}, "Illegal"),
        ({"payload": {"orderId": "{}", "userId": USER, "total": 0}}, "Malformed"),
        ({"event_type": "OrderCreated"}, "Malformed"),
        ({"event_id": "7"}, "Malformed"),
        ({"coordinator": "nobody"}, "Malformed"),
    ],
)
def test_a_step_that_no_retry_can_help_is_not_retried(on: On, change: dict[str, Any], kind: str) -> None:
    async def act(services: Services) -> None:
        create = create_step()
        await services.run(services.orders.create_order, create)
        wrong = replace(create, **change)
        if "payload" in change:
            wrong = replace(create, payload={**change["payload"], "orderId": create.payload["orderId"]})
        with pytest.raises(ApplicationError) as refused:
            await services.run(services.orders.create_order, wrong)
        assert (refused.value.type, refused.value.non_retryable) == (kind, True)

    on(act)


def test_a_step_for_an_order_nobody_knows_says_so(on: On) -> None:
    async def act(services: Services) -> None:
        early = await services.run(services.orders.cancel_order, cancel_step(str(uuid7(NOW))))
        assert (early.decision, early.status, early.events) == ("too_early", None, [])

    on(act)


def test_a_cancellation_is_left_to_the_relay_once_more_however_often_that_is_asked(on: On) -> None:
    async def act(services: Services) -> None:
        charge = await services.create()
        cancelled = answer_to(await services.run(services.orders.cancel_order, cancel_step(charge.payload["orderId"])))
        for outbox in ("DELETE FROM outbox", "SELECT 1"):  # it had left; it is still waiting
            await services.order_database.query(outbox)
            assert (await services.run(services.orders.republish_cancellation, cancelled)).decision == "become"
            waiting = await services.order_database.query(
                "SELECT event_type, deferred FROM outbox JOIN event_log USING (seq)"
            )
            assert waiting == [{"event_type": "OrderCancelled", "deferred": True}]
        unknown = replace(cancelled, payload={**cancelled.payload, "orderId": str(uuid7(NOW))})
        assert (await services.run(services.orders.republish_cancellation, unknown)).decision == "stale"

    on(act)
