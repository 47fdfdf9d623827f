"""The scenarios in which histories of SagaMirror are recorded."""

from __future__ import annotations

from models.originals import ServiceName
from tests.replay.mirror_stage import MirrorStage
from tests.replay.stage import Run
from tests.support.fakes.sagas import Story
from workflows.saga_mirror import REPUBLISH_ATTEMPTS

SOON = 2.0  # seconds of a timer that fires after its workflow has seen everything before it


# Every end


async def paid(stage: MirrorStage) -> None:
    for event in (stage.story.created, stage.story.approved, stage.story.paid):
        await stage.tell(event)


async def paid_and_told_at_once(stage: MirrorStage) -> None:
    await stage.tell(stage.story.created, stage.story.approved, stage.story.paid)


async def paid_and_begun_with_that(stage: MirrorStage) -> None:
    await stage.begin(stage.story.created, stage.story.approved, stage.story.paid)


async def declined(stage: MirrorStage) -> None:
    for event in (stage.story.created, stage.story.declined, stage.story.turned_down):
        await stage.tell(event)


async def failed(stage: MirrorStage) -> None:
    answer = stage.story.event("PaymentFailed", 1, stage.story.created, error="no such card")
    for event in (stage.story.created, answer, stage.story.event("OrderFailed", 2, answer, reason="no such card")):
        await stage.tell(event)


async def cancelled_before_the_charge(stage: MirrorStage) -> None:
    stage.story, stage.compensation_timeout = stage.begun(ago=4), SOON
    await stage.tell(stage.story.created)
    await stage.tell(stage.story.cancelled, stage.story.voided)
    await stage.saga.result()  # it has been quiet


async def cancelled_during_the_charge(stage: MirrorStage) -> None:
    for event in (stage.story.created, stage.story.cancelled, stage.story.voided, stage.story.refunded):
        await stage.tell(event)


async def refunded(stage: MirrorStage) -> None:
    for event in (stage.story.created, stage.story.approved, stage.story.cancelled, stage.story.refunded):
        await stage.tell(event)


async def waiting_for_the_payment(stage: MirrorStage) -> None:
    await stage.tell(stage.story.created)


# Events in an unusual order or form


async def last_event_first(stage: MirrorStage) -> None:
    for event in (stage.story.paid, stage.story.approved, stage.story.created):
        await stage.tell(event)


async def beginning_read_in_the_event_logs(stage: MirrorStage) -> None:
    stage.orders.logged = [stage.story.created, stage.story.paid, stage.story.cancelled]
    stage.payments.logged = [stage.story.approved, stage.story.refunded]
    await stage.tell(stage.story.cancelled, stage.story.refunded)
    await stage.saga.result()


async def beginning_heard_while_it_is_read(stage: MirrorStage) -> None:
    stage.orders.gate.clear()
    await stage.tell(stage.story.approved, stage.story.paid)
    await stage.happened("ACTIVITY_TASK_SCHEDULED", 2)
    await stage.signal(stage.story.created)
    await stage.saga.result()


async def beginning_nowhere_yet(stage: MirrorStage) -> None:
    await stage.tell(stage.story.approved)
    await stage.asked(2)
    await stage.tell(stage.story.created, stage.story.paid)


async def begun_late(stage: MirrorStage) -> None:
    stage.late = True
    stage.orders.logged, stage.payments.logged = [stage.story.created, stage.story.paid], [stage.story.approved]
    await stage.begin(stage.story.created)
    await stage.saga.result()


async def begun_late_while_a_service_is_away(stage: MirrorStage) -> None:
    stage.late = True
    stage.payments.logged = [stage.story.approved]
    stage.orders.gate.clear()
    await stage.signal(stage.story.created)
    await stage.happened("TIMER_FIRED")
    stage.orders.logged = [stage.story.created, stage.story.paid]
    stage.orders.gate.set()
    await stage.saga.result()


async def begun_late_and_paid_unheard(stage: MirrorStage) -> None:
    stage.late, stage.compensation_timeout = True, SOON
    stage.orders.logged = [stage.story.created]
    await stage.begin(stage.story.created)
    stage.payments.logged = [stage.story.approved]
    await stage.tell(stage.story.approved)
    stage.orders.logged = [stage.story.created, stage.story.paid]
    await stage.saga.result()


async def begun_late_and_refunded_unheard(stage: MirrorStage) -> None:
    stage.late, stage.compensation_timeout = True, SOON
    stage.orders.logged = [stage.story.created, stage.story.paid, stage.story.cancelled]
    stage.payments.logged = [stage.story.approved]
    await stage.begin(stage.story.cancelled)
    stage.payments.logged = [stage.story.approved, stage.story.refunded]
    await stage.saga.result()


async def every_event_twice(stage: MirrorStage) -> None:
    for event in (stage.story.created, stage.story.created, stage.story.approved, stage.story.approved):
        await stage.tell(event)
    await stage.tell(stage.story.paid, stage.story.paid)


async def unknown_and_unreadable_events(stage: MirrorStage) -> None:
    await stage.tell(stage.story.event("OrderShipped", 1, note="nobody here knows it"))
    await stage.tell({}, {**stage.story.created, "payload": None})
    await stage.tell(stage.story.created, stage.story.approved, stage.story.paid)


ABSURD: tuple[tuple[object, ...], ...] = (
    (),
    (None,),
    ("OrderPaid",),
    (b"\xff",),
    ({},),
    ([None, 7, [], {"eventType": 7}],),
    ([{"payload": {"total": 10**30}}],),
    ([], []),
)


async def paid_after_absurd_signals(stage: MirrorStage) -> None:
    await stage.tell(stage.story.created)
    for given in ABSURD:
        await stage.saga.signal("record", args=given)
    another = Story(stage.story.begin)
    await stage.tell({**stage.story.created, "payload": {}}, another.cancelled)
    await stage.tell(stage.story.approved, stage.story.paid)


async def started_with_something_else(stage: MirrorStage) -> None:
    await stage.start_with("SagaMirror", {"payment_timeout": "long"})
    await stage.fails()


async def news_after_the_end(stage: MirrorStage) -> None:
    await stage.tell(stage.story.created, stage.story.approved, stage.story.paid)
    await stage.saga.result()
    await stage.tell(stage.story.cancelled)  # opens a second run
    await stage.tell(stage.story.refunded)


# The payment's timer


async def timed_out(stage: MirrorStage) -> None:
    stage.story, stage.payment_timeout, stage.compensation_timeout = stage.begun(ago=0), SOON, SOON
    await stage.tell(stage.story.created)
    await stage.asked()
    cancelled = stage.story.event("OrderCancelled", SOON, reason="PAYMENT_TIMEOUT", total=999)
    await stage.tell(cancelled, stage.story.event("PaymentCancelled", SOON + 2, cancelled))
    await stage.saga.result()


async def timed_out_and_answered_with_the_event(stage: MirrorStage) -> None:
    stage.story, stage.payment_timeout = stage.begun(ago=0), SOON
    cancelled = stage.story.event("OrderCancelled", SOON, reason="PAYMENT_TIMEOUT", total=999)
    stage.orders.events = [cancelled]
    await stage.tell(stage.story.created)
    await stage.asked()
    await stage.tell(cancelled)
    await stage.tell(stage.story.event("PaymentRefunded", SOON + 1, cancelled, transactionId="t-1"))


async def overdue_when_first_heard_of(stage: MirrorStage) -> None:
    stage.story = stage.begun(ago=3600)
    await stage.signal(stage.story.created)
    await stage.asked()
    await stage.tell(stage.story.approved, stage.story.paid)


async def approval_faster_than_the_cancellation(stage: MirrorStage) -> None:
    stage.orders.decision = "stale"
    stage.story = stage.begun(ago=3600)
    await stage.signal(stage.story.created)
    await stage.asked()
    await stage.tell(stage.story.approved)
    await stage.tell(stage.story.paid)


async def paid_unheard_before_the_cancellation(stage: MirrorStage) -> None:
    stage.late, stage.orders.decision = True, "stale"
    stage.story, stage.payment_timeout = stage.begun(ago=0), SOON
    stage.orders.logged = [stage.story.created]
    await stage.begin(stage.story.created)
    stage.orders.logged, stage.payments.logged = [stage.story.created, stage.story.paid], [stage.story.approved]
    await stage.saga.result()


async def approval_during_the_cancellation(stage: MirrorStage) -> None:
    stage.orders.gate.clear()
    stage.story = stage.begun(ago=3600)
    await stage.signal(stage.story.created)
    await stage.happened("ACTIVITY_TASK_SCHEDULED")
    await stage.signal(stage.story.approved)
    await stage.took_it_in()  # and does without the answer
    await stage.signal(stage.story.paid)
    await stage.saga.result()


async def approval_while_the_timer_fires(stage: MirrorStage) -> None:
    stage.story, stage.payment_timeout = stage.begun(ago=0), SOON
    await stage.tell(stage.story.created)
    await stage.leave()
    await stage.happened("TIMER_FIRED")
    await stage.signal(stage.story.approved)
    await stage.come()  # one task with both
    await stage.settled()
    await stage.tell(stage.story.paid)


# Steps that don't go well


async def cancellation_answered_late(stage: MirrorStage) -> None:
    stage.orders.failures = 2
    stage.story = stage.begun(ago=3600)
    await stage.signal(stage.story.created)
    await stage.asked()
    await stage.tell(stage.story.approved, stage.story.paid)


async def cancellation_refused(stage: MirrorStage) -> None:
    stage.orders.decision = "illegal"
    stage.story = stage.begun(ago=3600)
    await stage.signal(stage.story.created)
    await stage.asked()
    await stage.tell(stage.story.approved, stage.story.paid)


async def cancellation_that_fails_for_good(stage: MirrorStage) -> None:
    stage.orders.decision = "refuse"
    stage.story = stage.begun(ago=3600)
    await stage.signal(stage.story.created)
    await stage.happened("ACTIVITY_TASK_FAILED")
    await stage.settled()
    await stage.tell(stage.story.approved, stage.story.paid)


# The compensation's timer


async def compensation_asked_for_again(stage: MirrorStage) -> None:
    stage.story, stage.compensation_timeout = stage.begun(ago=3), SOON
    await stage.tell(stage.story.created, stage.story.approved, stage.story.paid, stage.story.cancelled)
    await stage.asked()
    await stage.tell(stage.story.refunded)


async def compensation_never_confirmed(stage: MirrorStage) -> None:
    stage.story, stage.compensation_timeout = stage.begun(ago=60), 0.1
    await stage.signal(stage.story.created, stage.story.approved, stage.story.cancelled)
    await stage.happened("TIMER_FIRED", REPUBLISH_ATTEMPTS)  # no timer before the first: it is overdue
    await stage.settled()
    assert (await stage.saga.query("status"))["needsOperator"]


async def compensation_confirmed_after_all(stage: MirrorStage) -> None:
    await compensation_never_confirmed(stage)
    await stage.tell(stage.story.refunded)


async def overdue_beside_an_original_order_service(stage: MirrorStage) -> None:
    stage.story, stage.originals = stage.begun(ago=3600), frozenset({ServiceName.ORDER})
    await stage.tell(stage.story.created)
    assert (await stage.saga.query("status"))["needsOperator"]
    await stage.tell(stage.story.approved)


async def refunded_after_all_by_a_payment_service_that_took_over(stage: MirrorStage) -> None:
    story = stage.story
    await stage.tell(story.created, story.approved, story.paid, story.cancelled, story.voided)
    assert (await stage.saga.query("status"))["needsOperator"]
    await stage.tell(story.refunded)


# Mirrors that somebody has Temporal cancel


async def cancelled_by_an_operator(stage: MirrorStage) -> None:
    await stage.tell(stage.story.created)
    await stage.saga.cancel()
    await stage.saga.result()


async def cancelled_by_an_operator_during_a_step(stage: MirrorStage) -> None:
    stage.orders.gate.clear()
    stage.story = stage.begun(ago=3600)
    await stage.signal(stage.story.created)
    await stage.happened("ACTIVITY_TASK_SCHEDULED")
    await stage.saga.cancel()
    await stage.saga.result()


# Histories that grow too long


async def flooded_and_continued_as_new(stage: MirrorStage) -> Run:
    await stage.tell(stage.story.created)
    first = await stage.run()
    while (await stage.run()).run_id == first.run_id:
        await stage.tell(stage.story.created)
    return first


async def carried_on_after_a_flood(stage: MirrorStage) -> None:
    await flooded_and_continued_as_new(stage)
    await stage.happened("TIMER_STARTED")  # in the new run, which takes a moment to begin
    await stage.tell(stage.story.approved, stage.story.paid)
