"""The scenarios in which histories of OrderSaga are recorded."""

from __future__ import annotations

from activities.book import Submission
from models.saga import OrderCancelled, OrderCancelRequested, OrderId, PaymentFailed, derived_id
from tests.replay.saga_stage import SagaStage
from workflows.saga_input import CANCEL, ORDER_SAGA

SOON = 2.0  # seconds of a timer that fires after the charge has begun
OFTEN = 100  # how often a step fails that is not to succeed


# Every end


async def paid(stage: SagaStage) -> None:
    await stage.start()
    await stage.saga.result()


async def declined(stage: SagaStage) -> None:
    stage.services.provider = "declines"
    await paid(stage)


async def failed(stage: SagaStage) -> None:
    stage.services.provider = "refuses"
    await paid(stage)


async def failed_without_an_answer(stage: SagaStage) -> None:
    stage.services.provider = "never answers"
    await paid(stage)


async def steps_repeated(stage: SagaStage) -> None:
    stage.services.failures.update({"create_order": 2, "charge_payment": 1, "pay_order": 2})
    await paid(stage)


async def waiting_for_the_charge(stage: SagaStage) -> None:
    await stage.start_and_hold_the_charge()


# Cancelled at every moment


async def cancelled_before_the_charge(stage: SagaStage) -> None:
    stage.services.failures["create_order"] = OFTEN
    await stage.start()
    await stage.happened("TIMER_STARTED")  # a pause between two attempts
    await stage.saga.signal(CANCEL, stage.by_user)
    await stage.took_it_in()
    stage.services.failures.clear()
    await stage.saga.result()


async def cancelled_while_the_order_is_created(stage: SagaStage) -> None:
    stage.services.create_gate.clear()
    stage.services.charge_gate.clear()
    await stage.start()
    await stage.creating()
    await stage.saga.signal(CANCEL, stage.by_user)
    stage.services.create_gate.set()
    await stage.let_the_charge_go()


async def cancelled_during_the_charge(stage: SagaStage) -> None:
    await stage.start_and_hold_the_charge()
    await stage.cancel()
    await stage.let_the_charge_go()


async def cancelled_by_update(stage: SagaStage) -> None:
    await stage.start_and_hold_the_charge()
    assert await stage.saga.execute_update(CANCEL, stage.by_user) == "CANCELLED"
    await stage.let_the_charge_go()


async def cancelled_twice(stage: SagaStage) -> None:
    await stage.start_and_hold_the_charge()
    for _ in range(2):
        await stage.saga.signal(CANCEL, stage.by_user)
        await stage.happened("ACTIVITY_TASK_COMPLETED")  # cancel_payment
        await stage.took_it_in()
    await stage.let_the_charge_go()


async def cancelled_after_the_charge(stage: SagaStage) -> None:
    stage.services.failures["pay_order"] = OFTEN
    await stage.start()
    await stage.happened("TIMER_STARTED")  # a pause between two attempts of pay_order
    await stage.cancel()
    await stage.happened("ACTIVITY_TASK_COMPLETED", 2)  # charge_payment, cancel_payment
    stage.services.failures.clear()
    await stage.saga.result()


async def cancelled_by_temporals_own_request(stage: SagaStage) -> None:
    await stage.start_and_hold_the_charge()
    await stage.saga.cancel()
    await stage.let_the_charge_go()


async def cancelled_some_other_way(stage: SagaStage) -> None:
    request = OrderCancelRequested(order_id=OrderId(stage.order_id))
    event_id = derived_id(stage.order_id, "OrderCancelRequested", "USER_REQUESTED")
    entry = Submission(message=request, event_id=event_id, correlation_id=stage.by_user.correlation_id)
    stage.services.on_pay = lambda: stage.services.apply_to_order(entry)
    await paid(stage)


async def cancelled_while_it_reads_the_event_logs(stage: SagaStage) -> None:
    order_id = OrderId(stage.order_id)
    stray = OrderCancelled(order_id=order_id, reason="USER_REQUESTED", total=999, currency="USD")
    event_id = derived_id(stage.order_id, "a stray event")
    stage.services.stray = Submission(message=stray, event_id=event_id, correlation_id=stage.by_user.correlation_id)
    stage.services.failures["read_order_events"] = 3
    await stage.start()  # finds its payment cancelled, and nothing left to do
    await stage.happened("TIMER_STARTED")  # a pause between two attempts of read_order_events
    await stage.saga.signal(CANCEL, stage.by_user)
    await stage.saga.result()


async def failed_some_other_way(stage: SagaStage) -> None:
    message = PaymentFailed(order_id=OrderId(stage.order_id), error="told so by somebody else")
    event_id = derived_id(stage.order_id, "a foreign event")
    entry = Submission(message=message, event_id=event_id, correlation_id=stage.by_user.correlation_id)
    stage.services.on_pay = lambda: stage.services.apply_to_order(entry)
    await paid(stage)


# Arguments that are none


ABSURD: tuple[tuple[object, ...], ...] = (
    (),
    (None,),
    ("USER_REQUESTED",),
    (b"\xff",),
    ({},),
    ({"correlation_id": ""},),
    ({"correlation_id": "c" * 300},),
    ({"correlation_id": "c", "reason": "PAYMENT_DECLINED"},),
    ({"correlation_id": "c"}, {"correlation_id": "c"}),
)


async def cancelled_after_absurd_signals(stage: SagaStage) -> None:
    await stage.start_and_hold_the_charge()
    for given in ABSURD:
        await stage.saga.signal(CANCEL, args=given)
    await stage.took_it_in()
    await stage.cancel()
    await stage.let_the_charge_go()


async def started_with_something_else(stage: SagaStage) -> None:
    await stage.start_with(ORDER_SAGA, {"order_id": str(stage.order_id), "correlation_id": ""})
    await stage.fails()


# Cancelled when it has ended: another run


async def refunded_after_the_end(stage: SagaStage) -> None:
    await paid(stage)
    await stage.cancel()
    await stage.saga.result()


async def nothing_to_cancel_after_the_end(stage: SagaStage) -> None:
    await failed(stage)
    await stage.cancel()
    await stage.saga.result()


async def cancelled_but_never_created(stage: SagaStage) -> None:
    await stage.cancel()
    await stage.fails()


# The payment's deadline


async def timed_out_during_the_charge(stage: SagaStage) -> None:
    stage.payment_timeout = SOON
    await stage.start_and_hold_the_charge()
    await stage.happened("ACTIVITY_TASK_COMPLETED")  # cancel_payment
    stage.services.charge_gate.set()
    await stage.saga.result()


async def timed_out_before_another_attempt(stage: SagaStage) -> None:
    stage.payment_timeout, stage.retry_delays = SOON, (2 * SOON,)
    stage.services.provider = "never answers"
    await paid(stage)


async def overdue_when_it_began(stage: SagaStage) -> None:
    stage.payment_timeout = 0.001
    await paid(stage)


async def cancelled_while_it_waits_for_its_deadline(stage: SagaStage) -> None:
    stage.retry_delays, stage.payment_timeout = (120.0,), 60.0
    stage.services.provider = "never answers"
    await stage.start()
    await stage.happened("TIMER_STARTED")
    await stage.cancel()
    await stage.saga.result()


async def paid_some_other_way_at_its_deadline(stage: SagaStage) -> None:
    stage.payment_timeout = SOON
    stage.services.on_cancel = stage.pays_on_its_own
    await stage.start_and_hold_the_charge()
    await stage.happened("ACTIVITY_TASK_TIMED_OUT")
    stage.services.charge_gate.set()
    await stage.saga.result()


async def undone_at_its_deadline_after_a_contradiction(stage: SagaStage) -> None:
    stage.services.provider, stage.payment_timeout = "lies", SOON
    await stage.start()
    await stage.fails()
