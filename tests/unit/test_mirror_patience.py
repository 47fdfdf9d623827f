"""A saga that was cancelled and compensated soon gets no mirror; one that wasn't, or that may have one, is told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.support.fakes.sagas import Story
from workflows.mirror_patience import Patience

AFTER = 5.0


def patience(*, most: int = 100) -> Patience[dict[str, Any]]:
    return Patience(after=AFTER, most=most, event_of=lambda event: event)


def story() -> Story:
    return Story(datetime(2026, 2, 15, tzinfo=UTC))


def holds(
    held: Patience[dict[str, Any]], saga: Story, *events: Any, now: float = 0.0, untold: bool = True
) -> list[bool]:
    return [held.holds(saga.order_id, event, size=100, untold=untold, now=now) for event in events]


def test_a_saga_whose_payment_is_refunded_in_time_is_left_out() -> None:
    held, saga = patience(), story()
    assert holds(held, saga, saga.cancelled) == [True]
    assert held.over(saga.order_id) == ()
    assert holds(held, saga, saga.refunded) == [True]
    assert held.over(saga.order_id) == [saga.cancelled, saga.refunded]
    assert held.ripe_at is None


def test_a_saga_whose_charge_may_still_be_under_way_is_not_over() -> None:
    held, saga = patience(), story()
    holds(held, saga, saga.cancelled, saga.voided)
    assert held.over(saga.order_id) == ()


def test_a_saga_that_is_not_over_in_time_is_released_with_all_its_events() -> None:
    held, saga = patience(), story()
    holds(held, saga, saga.cancelled, now=1.0)
    holds(held, saga, saga.voided, now=3.0)
    assert list(held.released(AFTER)) == []
    assert held.ripe_at == 1.0 + AFTER
    assert list(held.released(1.0 + AFTER)) == [(saga.order_id, [saga.cancelled, saga.voided])]
    assert holds(held, saga, saga.refunded) == [False]


def test_nothing_is_held_of_a_saga_that_is_not_cancelled_or_that_a_mirror_may_know() -> None:
    held, saga = patience(), story()
    assert holds(held, saga, saga.created, saga.refunded) == [False, False]
    assert holds(held, saga, saga.cancelled, untold=False) == [False]
    assert holds(held, saga, saga.cancelled) == [True]
    assert holds(held, saga, saga.refunded, untold=False) == [False]
    assert list(held.released(0.0, order_id=saga.order_id)) == [(saga.order_id, [saga.cancelled])]


def test_copies_of_what_was_left_out_are_known() -> None:
    held, saga = patience(), story()
    holds(held, saga, saga.cancelled, saga.refunded)
    held.over(saga.order_id)
    assert held.is_known(saga.order_id, saga.cancelled)
    assert not held.is_known(saga.order_id, saga.created)


def test_of_too_many_sagas_the_longest_held_are_released() -> None:
    held, sagas = patience(most=2), [story() for _ in range(3)]
    for saga in sagas:
        holds(held, saga, saga.cancelled)
    assert [order_id for order_id, _ in held.released(0.0)] == [sagas[0].order_id]
