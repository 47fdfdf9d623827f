"""Judge from samples alone whether a system stays as it is under a steady load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal, TypeAlias

_LEAST: Final = 5  # samples of a third, to take its median
_SEEN: Final = 0.8  # share of the samples that must have a measure

State = Literal["judged", "too short", "told"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What was measured at one moment, `at` seconds after the load began."""

    at: float
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How a measure may change while the load stays the same.

    From the middle third of the samples to the last its median may rise by `share` of itself plus `slack`. No sample is
    above `most`. If it goes on rising, it must not double within `doubling` seconds. Samples before `after` don't
    count: what fills up until then is meant to. A run too short for thirds of some samples each is not judged.
    """

    share: float = 0.1
    slack: float = 0.0
    most: float | None = None
    doubling: float | None = None
    after: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """The medians of a measure over the thirds of its samples, or None, and what is wrong with it."""

    measure: str
    start: float | None
    middle: float | None
    end: float | None
    state: State
    fault: str = ""


Points: TypeAlias = Sequence[tuple[float, float]]  # seconds, value


def judge(samples: Sequence[Sample], rule_of: Callable[[str], Rule | None]) -> list[Judgement]:
    """Judge every measure of the samples, in alphabetical order. A measure without a rule is only reported."""
    return [_judge(name, samples, rule_of(name)) for name in sorted({name for each in samples for name in each.values})]


def _judge(name: str, samples: Sequence[Sample], rule: Rule | None) -> Judgement:
    counted = [each for each in samples if rule is None or each.at >= rule.after]
    points = [(each.at, each.values[name]) for each in counted if name in each.values]
    start, middle, end = (_level(third) if third else None for third in _thirds(points))
    state: State = "told" if rule is None else "judged" if len(counted) >= 3 * _LEAST else "too short"
    fault = ""
    if rule is not None and state == "judged":
        seen_enough = len(points) >= _SEEN * len(counted)
        fault = _fault(points, rule) if seen_enough else f"only {len(points)} of {len(counted)} samples have it"
    return Judgement(measure=name, start=start, middle=middle, end=end, state=state, fault=fault)


def _fault(points: Points, rule: Rule) -> str:
    _, middle, last = _thirds(points)
    before, now = _level(middle), _level(last)
    highest = max(value for _, value in points)
    if rule.most is not None and highest > rule.most:
        return f"was up to {highest:,.0f}, and {rule.most:,.0f} is the most"
    if now > before * (1 + rule.share) + rule.slack:
        return f"has risen from {before:,.1f} to {now:,.1f}, and {rule.share:.0%} plus {rule.slack:,.0f} is the most"
    if rule.doubling is not None:
        growth = min(_growth(middle, last), _growth(*_halves(last)))
        if growth * rule.doubling > now:
            return f"goes on growing, and would double within {now / growth / 3600:.1f} h"
    return ""


def _growth(before: Points, now: Points) -> float:
    """The rise of the level a second. 0 if the rise is within the values' own unrest."""
    rise = _level(now) - _level(before)
    level = _level(before)
    # Within a steady rise this is a quarter of what one part rises above the part before.
    unrest = median(abs(value - level) for _, value in before)
    if rise <= 2 * unrest or rise <= 0:
        return 0.0
    return rise / (median(at for at, _ in now) - median(at for at, _ in before))


def _thirds(points: Points) -> tuple[Points, Points, Points]:
    third = len(points) // 3
    return points[:third], points[third : len(points) - third], points[len(points) - third :]


def _halves(points: Points) -> tuple[Points, Points]:
    return points[: len(points) // 2], points[len(points) // 2 :]


def _level(points: Points) -> float:
    return median(value for _, value in points)
