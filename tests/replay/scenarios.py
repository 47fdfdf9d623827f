"""Every path of every workflow has a scenario with a name, and a recorded history."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.replay import mirror_stories as mirror
from tests.replay import reconciler_stories as reconciler
from tests.replay import saga_stories as saga
from tests.replay.mirror_stage import MirrorStage
from tests.replay.reconciler_stage import ReconcilerStage
from tests.replay.saga_stage import SagaStage
from tests.replay.stage import Stage
from workflows.order_saga import OrderSaga
from workflows.reconciler import Reconciler
from workflows.saga_mirror import SagaMirror

# Plays one saga. Returns the run to record, unless that is the last one.
Scenario = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True, kw_only=True)
class Repertoire:
    """The scenarios of a workflow, and the stage for them."""

    stage: type[Stage]
    scenarios: tuple[Scenario, ...]

    @property
    def by_name(self) -> Mapping[str, Scenario]:
        return {scenario.__name__: scenario for scenario in self.scenarios}


SCENARIOS: Final[Mapping[type[Any], Repertoire]] = {
    SagaMirror: Repertoire(
        stage=MirrorStage,
        scenarios=(
            mirror.paid,
            mirror.paid_and_told_at_once,
            mirror.paid_and_begun_with_that,
            mirror.declined,
            mirror.failed,
            mirror.cancelled_before_the_charge,
            mirror.cancelled_during_the_charge,
            mirror.refunded,
            mirror.waiting_for_the_payment,
            mirror.last_event_first,
            mirror.beginning_read_in_the_event_logs,
            mirror.beginning_heard_while_it_is_read,
            mirror.beginning_nowhere_yet,
            mirror.begun_late,
            mirror.begun_late_while_a_service_is_away,
            mirror.begun_late_and_paid_unheard,
            mirror.begun_late_and_refunded_unheard,
            mirror.every_event_twice,
            mirror.unknown_and_unreadable_events,
            mirror.paid_after_absurd_signals,
            mirror.started_with_something_else,
            mirror.news_after_the_end,
            mirror.timed_out,
            mirror.timed_out_and_answered_with_the_event,
            mirror.overdue_when_first_heard_of,
            mirror.approval_faster_than_the_cancellation,
            mirror.paid_unheard_before_the_cancellation,
            mirror.approval_during_the_cancellation,
            mirror.approval_while_the_timer_fires,
            mirror.cancellation_answered_late,
            mirror.cancellation_refused,
            mirror.cancellation_that_fails_for_good,
            mirror.compensation_asked_for_again,
            mirror.compensation_never_confirmed,
            mirror.compensation_confirmed_after_all,
            mirror.overdue_beside_an_original_order_service,
            mirror.refunded_after_all_by_a_payment_service_that_took_over,
            mirror.cancelled_by_an_operator,
            mirror.cancelled_by_an_operator_during_a_step,
            mirror.flooded_and_continued_as_new,
            mirror.carried_on_after_a_flood,
        ),
    ),
    OrderSaga: Repertoire(
        stage=SagaStage,
        scenarios=(
            saga.paid,
            saga.declined,
            saga.failed,
            saga.failed_without_an_answer,
            saga.steps_repeated,
            saga.waiting_for_the_charge,
            saga.cancelled_before_the_charge,
            saga.cancelled_while_the_order_is_created,
            saga.cancelled_during_the_charge,
            saga.cancelled_by_update,
            saga.cancelled_twice,
            saga.cancelled_after_the_charge,
            saga.cancelled_by_temporals_own_request,
            saga.cancelled_some_other_way,
            saga.failed_some_other_way,
            saga.cancelled_while_it_reads_the_event_logs,
            saga.cancelled_after_absurd_signals,
            saga.started_with_something_else,
            saga.refunded_after_the_end,
            saga.nothing_to_cancel_after_the_end,
            saga.cancelled_but_never_created,
            saga.timed_out_during_the_charge,
            saga.timed_out_before_another_attempt,
            saga.overdue_when_it_began,
            saga.cancelled_while_it_waits_for_its_deadline,
            saga.paid_some_other_way_at_its_deadline,
            saga.undone_at_its_deadline_after_a_contradiction,
        ),
    ),
    Reconciler: Repertoire(
        stage=ReconcilerStage,
        scenarios=(
            reconciler.nothing_has_fallen_through,
            reconciler.order_past_its_deadline,
            reconciler.order_past_its_deadline_by_another_clock,
            reconciler.payment_that_stands_still,
            reconciler.cancellation_without_compensation,
            reconciler.failed_order_whose_payment_was_approved,
            reconciler.paid_order_without_money,
            reconciler.order_past_its_deadline_beside_an_original_payment_service,
            reconciler.order_that_no_event_log_knows,
            reconciler.more_than_one_history_holds,
            reconciler.carried_on_from_another_run,
            reconciler.what_the_sweep_before_left,
            reconciler.search_that_fails,
            reconciler.step_that_fails,
            reconciler.payment_service_that_is_away,
            reconciler.nobody_who_can_count,
            reconciler.started_with_something_else,
            reconciler.cancelled_during_a_search,
            reconciler.cancelled_while_reading,
            reconciler.cancelled_during_a_step,
            reconciler.cancelled_while_counting,
        ),
    ),
}
