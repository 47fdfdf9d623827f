"""A saga that is over soon gets no mirror; one that isn't, or that may have one, is told all the same."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from tests.support.fakes.sagas import Story
from workflows.mirror_patience import Patience
from workflows.mirror_record import MirrorRecord
from workflows.mirror_watch import watch_of

AFTER = 5.0


def patience(*, after: float = AFTER, most: int = 100) -> Patience[dict[str, Any]]:
    return Patience(after=after, most=most, event_of=lambda event: event)


def story() -> Story:
    return Story(datetime(2026, 2, 15, tzinfo=UTC))


def holds(
    held: Patience[dict[str, Any]], saga: Story, *events: Any, now: float = 0.0, fresh: bool = True
) -> list[bool]:
    return [held.holds(saga.order_id, event, size=100, fresh=fresh, now=now) for event in events]


@pytest.mark.parametrize(
    "end",
    [
        ("approved", "paid"),
        ("declined", "turned_down"),
        ("approved", "paid", "cancelled", "refunded"),
        ("paid", "approved"),  # in whatever order
    ],
)
def test_a_saga_that_is_over_is_left_out_with_its_last_event(end: tuple[str, ...]) -> None:
    held, saga = patience(), story()
    holds(held, saga, saga.created)
    for name in end[:-1]:
        holds(held, saga, getattr(saga, name))
        assert not (end[:-1] != ("approved", "paid", "cancelled") and held.over(saga.order_id))
    holds(held, saga, getattr(saga, end[-1]))
    left_out = held.over(saga.order_id)
    assert [event["eventId"] for event in left_out] == [
        event["eventId"] for event in (saga.created, *(getattr(saga, name) for name in end))
    ]
    assert held.ripe_at is None


def test_a_saga_that_is_over_by_the_types_of_its_events_would_close_its_mirror_at_once() -> None:
    saga = story()
    undecided = saga.event("PaymentFailed", 1, saga.created, reason="the provider was away")
    failed = saga.event("OrderFailed", 2, undecided, reason="the provider was away")
    for end in ((saga.approved, saga.paid), (saga.declined, saga.cancelled), (undecided, failed)):
        for events in permutations(end):
            held = patience()
            holds(held, saga, saga.created, *events)
            record = MirrorRecord(held.over(saga.order_id), order_id=saga.order_id)
            assert len(record.wire) == 3 and not record.unknown
            assert watch_of(record, cancel_asked=False, alarmed=False, quiet=False) is None


def test_a_saga_whose_charge_may_still_be_under_way_is_not_over() -> None:
    held, saga = patience(), story()
    holds(held, saga, saga.created, saga.cancelled, saga.voided)
    assert held.over(saga.order_id) == ()


def test_a_saga_that_is_not_over_in_time_is_released_with_all_its_events() -> None:
    held, saga = patience(), story()
    holds(held, saga, saga.created, now=1.0)
    holds(held, saga, saga.approved, now=3.0)
    assert list(held.released(AFTER)) == []
    assert held.ripe_at == 1.0 + AFTER
    assert list(held.released(1.0 + AFTER)) == [(saga.order_id, [saga.created, saga.approved])]
    assert holds(held, saga, saga.paid) == [False]


def test_nothing_is_held_of_a_saga_whose_beginning_was_not_heard_or_that_may_have_been_told() -> None:
    held, saga = patience(), story()
    assert holds(held, saga, saga.paid) == [False]
    assert holds(held, saga, saga.created, fresh=False) == [False]
    assert holds(patience(after=0.0), saga, saga.created) == [False]
    assert holds(held, saga, saga.created) == [True]
    assert holds(held, saga, saga.approved, fresh=False) == [False]
    assert list(held.released(0.0, order_id=saga.order_id)) == [(saga.order_id, [saga.created])]


def test_copies_of_what_was_left_out_are_known() -> None:
    held, saga = patience(), story()
    holds(held, saga, saga.created, saga.approved, saga.paid)
    held.over(saga.order_id)
    assert held.is_known(saga.order_id, saga.created)
    assert not held.is_known(saga.order_id, saga.cancelled)


def test_of_too_many_sagas_the_longest_held_are_released() -> None:
    held, sagas = patience(most=2), [story() for _ in range(3)]
    for saga in sagas:
        holds(held, saga, saga.created)
    assert [order_id for order_id, _ in held.released(0.0)] == [sagas[0].order_id]
