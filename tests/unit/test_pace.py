"""The feed learns from the duration of its calls how many mirrors to tell at once."""

from __future__ import annotations

from collections.abc import Callable

from workflows.pace import Pace


def run(pace: Pace, seconds: Callable[[int], float], *, calls: int, now: float = 0.0) -> float:
    """Make calls at the pace, each as long as the server takes with so many at once. Returns the time afterwards."""
    for _ in range(calls):
        took = seconds(pace.at_once)
        now += took / pace.at_once
        now += pace.took(took, under_way=pace.at_once, now=now)
    return now


def one_writer(at_once: int) -> float:
    return 0.01 * at_once


def wide(_: int) -> float:
    return 0.01


def test_the_feed_begins_with_one_call_at_a_time() -> None:
    assert Pace(most=32).at_once == 1


def test_a_server_that_does_one_thing_at_a_time_is_told_few_at_once() -> None:
    pace = Pace(most=32)
    run(pace, one_writer, calls=2000)
    assert 1 <= pace.at_once <= 3


def test_a_server_that_does_many_things_at_once_is_told_as_many_as_allowed() -> None:
    pace = Pace(most=32)
    run(pace, wide, calls=2000)
    assert pace.at_once == 32


def test_no_more_calls_are_made_at_once_than_allowed() -> None:
    pace = Pace(most=1)
    run(pace, wide, calls=500)
    assert pace.limit == 1


def test_a_server_that_others_keep_busy_is_given_rests_and_never_a_standstill() -> None:
    pace = Pace(most=32)
    now = run(pace, wide, calls=500)
    now = run(pace, lambda _: 0.1, calls=200, now=now)
    assert (pace.at_once, pace.limit) == (1, 0.1)
    until = run(pace, lambda _: 0.1, calls=100, now=now)
    assert 8.5 < (until - now) / (100 * 0.1) < 11  # most of the time is the others'
    assert run(pace, lambda _: 5.0, calls=10, now=until) - until <= 10 * (5.0 + 5.0)


def test_once_the_server_is_free_again_as_many_are_told_as_before() -> None:
    pace = Pace(most=8)
    now = run(pace, wide, calls=500)
    now = run(pace, lambda _: 0.1, calls=100, now=now)
    run(pace, wide, calls=500, now=now)
    assert pace.at_once == 8


def test_a_server_that_somebody_asks_now_and_then_does_not_look_busy_for_good() -> None:
    """If a rest followed each call, the calls would fall into step with those of the other one."""
    pace, every, takes = Pace(most=8), 0.295, 0.1
    now = run(pace, lambda _: 0.005, calls=500)
    now = run(pace, lambda _: 0.1, calls=200, now=now)
    end = now + 60.0
    while now < end:
        took = 0.005 + max(0.0, takes - now % every)
        now += took
        now += pace.took(took, under_way=pace.at_once, now=now)
    assert pace.limit > 1


def test_one_slow_call_among_many_quick_ones_changes_little() -> None:
    pace = Pace(most=8)
    now = run(pace, wide, calls=500)
    before = pace.limit
    run(pace, lambda _: 0.1, calls=1, now=now)
    assert pace.limit > 0.9 * before


def test_a_limit_that_is_not_reached_does_not_grow() -> None:
    pace = Pace(most=32)
    for n in range(500):
        pace.took(0.01, under_way=0, now=0.01 * n)
    assert pace.at_once == 1


def test_a_server_that_became_slower_for_good_is_not_waited_for_for_ever() -> None:
    pace = Pace(most=8)
    now = run(pace, wide, calls=500)
    now = run(pace, lambda _: 0.1, calls=100, now=now)
    run(pace, lambda _: 0.1, calls=5000, now=now)  # longer than the time for which the quickest calls count
    assert pace.at_once == 8
