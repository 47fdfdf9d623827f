"""The verdict of a soak finds what grows, and nothing that is only restless or has levelled off."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Final

import pytest

from tests.soak.measures import GROWING, KEPT_FOR_A_WHILE, rules
from tests.soak.verdict import Judgement, Rule, Sample, judge

EVERY: Final = 10.0  # seconds
HALF_AN_HOUR: Final = 180  # samples
DAY: Final = 86_400.0
MIB: Final = 2.0**20

Series = Callable[[float], float]  # of the seconds since the load began


def noisy(series: Series, unrest: float, seed: int = 1) -> Series:
    chance = Random(seed)
    return lambda at: series(at) + chance.gauss(0, unrest)


def flat(level: float) -> Series:
    return lambda _: level


def growing(level: float, by_the_day: float) -> Series:
    return lambda at: level + by_the_day * at / DAY


def levelling_off(level: float, within: float) -> Series:
    return lambda at: level * (1 - 0.5 * math.exp(-at / within))


def sawtooth(level: float, height: float, period: float) -> Series:
    return lambda at: level + height * (at % period) / period


def verdict(series: Series, rule: Rule | None, samples: int = HALF_AN_HOUR) -> Judgement:
    (judgement,) = judge(
        [Sample(at=n * EVERY, values={"m": series(n * EVERY)}) for n in range(samples)], lambda _: rule
    )
    return judgement


MEMORY: Final = Rule(slack=2, doubling=DAY)


@pytest.mark.parametrize(
    "series",
    [
        flat(100),
        flat(0),
        *(noisy(flat(100), unrest, seed) for unrest in (0.01, 1, 5) for seed in range(20)),
        levelling_off(100, within=120),
        noisy(levelling_off(100, within=120), 0.5),
        sawtooth(100, 20, period=130),
        lambda at: 150 - at / 30,
        growing(100, by_the_day=20),
        noisy(growing(100, by_the_day=20), 0.05),
    ],
)
def test_a_measure_that_is_flat_restless_levelling_off_falling_or_slow_has_no_fault(series: Series) -> None:
    judgement = verdict(series, MEMORY)
    assert (judgement.state, judgement.fault) == ("judged", "")


@pytest.mark.parametrize(
    "series",
    [growing(100, by_the_day=200), *(noisy(growing(100, by_the_day=300), 0.3, seed) for seed in range(20))],
)
def test_a_leak_too_slow_for_the_thirds_is_found_if_it_doubles_within_a_day(series: Series) -> None:
    assert "would double within" in verdict(series, MEMORY).fault
    assert verdict(series, Rule(slack=2)).fault == ""


def test_a_rise_beyond_share_and_slack_is_a_fault() -> None:
    series = growing(100, by_the_day=100 * DAY / 1800)  # it doubles during the run
    assert "has risen from 149.7 to 183.1" in verdict(series, Rule()).fault
    assert verdict(series, Rule(share=0.3)).fault == ""
    assert verdict(series, Rule(slack=40)).fault == ""


def test_a_step_that_stays_is_a_fault_and_a_short_one_is_not() -> None:
    assert verdict(lambda at: 100 if at < 1200 else 120, Rule()).fault != ""
    assert verdict(lambda at: 120 if 1200 < at < 1400 else 100, Rule()).fault == ""


def test_a_single_peak_above_the_most_is_a_fault() -> None:
    assert verdict(lambda at: 51 if at == 900 else 0, Rule(most=50)).fault == "was up to 51, and 50 is the most"
    assert verdict(lambda at: 50 if at == 900 else 0, Rule(most=50)).fault == ""


def test_a_measure_that_fills_up_first_is_judged_once_it_is_full() -> None:
    def filled(at: float) -> float:
        return min(at, 400)

    assert verdict(filled, Rule(after=450)).fault == ""
    assert verdict(lambda at: at, Rule(after=450)).fault != ""
    assert verdict(lambda at: 1e9 if at < 450 else 1, Rule(most=1, after=450)).fault == ""


@pytest.mark.parametrize(("samples", "after"), [(14, 0), (HALF_AN_HOUR, 1700), (0, 0)])
def test_a_run_that_is_too_short_is_not_judged(samples: int, after: float) -> None:
    values = [Sample(at=n * EVERY, values={"m": float(n)}) for n in range(samples)]
    assert [(each.state, each.fault) for each in judge(values, lambda _: Rule(after=after))] == [("too short", "")] * (
        samples > 0
    )


def test_a_measure_with_too_few_samples_is_a_fault() -> None:
    samples = [Sample(at=n * EVERY, values={"m": 1.0} if n % 2 else {}) for n in range(HALF_AN_HOUR)]
    (judgement,) = judge(samples, lambda _: Rule())
    assert judgement.fault == "only 90 of 180 samples have it"


def test_a_measure_without_a_rule_is_reported_and_not_judged() -> None:
    judgement = verdict(lambda at: at, None)
    assert (judgement.state, judgement.fault) == ("told", "")
    assert judgement.start is not None and judgement.middle is not None and judgement.end is not None
    assert judgement.start < judgement.middle < judgement.end


OURS: Final = ("gateway", "order", "payment", "worker")


def test_what_every_one_of_our_processes_holds_is_judged_and_the_servers_memory_is_told() -> None:
    rule_of = rules(rate=40, kept=400)
    for kind in ("memory", "open files", "threads"):
        assert [name for name in OURS if rule_of(f"{kind} of {name}") is None] == []
    assert rule_of("memory of postgres") is None
    memory = rule_of("memory of gateway")
    assert memory is not None and memory.doubling == DAY


def test_a_load_that_is_low_takes_longer_to_fill_what_fills_up() -> None:
    def filling(rate: float) -> Series:
        return lambda at: 100 * MIB + 12 * MIB * min(at * rate, 12_000) / 12_000

    for rate in (3, 20, 40, 100):
        assert verdict(filling(rate), rules(rate=rate, kept=400)("memory of gateway")).fault == ""
    assert verdict(filling(6.7), rules(rate=100, kept=400)("memory of gateway")).fault != ""


def test_a_single_dead_letter_is_a_fault_and_a_queue_may_hold_the_load_of_some_seconds() -> None:
    rule_of = rules(rate=40, kept=400)
    assert verdict(lambda at: float(at == 900), rule_of("messages of order-service.dead-letters")).fault != ""
    assert verdict(lambda at: 100 * (at == 900), rule_of("messages of order-service")).fault == ""
    assert verdict(lambda at: at, rule_of("messages of order-service")).fault != ""


def test_tables_that_grow_by_design_are_judged_by_the_row_and_those_that_are_swept_once_they_have_filled() -> None:
    rule_of = rules(rate=40, kept=400)
    for table in GROWING:
        assert rule_of(f"bytes of {table}") is None
        assert verdict(growing(300, by_the_day=DAY / 5), rule_of(f"bytes a row of {table}")).fault != ""
    for table in KEPT_FOR_A_WHILE:
        assert verdict(lambda at: 40 * min(at, 390), rule_of(f"rows of {table}")).fault == ""
        assert verdict(lambda at: 40 * at, rule_of(f"rows of {table}")).fault != ""
    assert verdict(lambda at: MIB * at / 100, rule_of("bytes of orders.outbox")).fault != ""
