"""Statistics of measurements: quantiles, medians of repetitions, and the ratio of two medians."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

MEASURED: Final = "measured"
PERCENTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_BEYOND: Final = 2  # values that a percentile needs beyond it: with fewer it tells of the greatest value alone


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 … 1) of all values don't exceed. Raises ValueError without values."""
    if not values:
        raise ValueError("There is no quantile of no values")
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The percentiles that these values can tell, by name: p50 from 4 values on, p95 from 40, p99 from 200."""
    enough = {name: share for name, share in PERCENTILES.items() if len(values) * (1 - share) > _BEYOND - 1e-6}
    return {name: quantile(values, share) for name, share in enough.items()}


def cumulative(values: Sequence[float], *, most: int = 200) -> list[tuple[float, float]]:
    """The distribution as points (value, share of values that don't exceed it), thinned out to about `most`."""
    ordered = sorted(values)
    step = max(1, len(ordered) // most)
    places = [*range(0, len(ordered), step), len(ordered) - 1] if ordered else []
    return [(ordered[place], (place + 1) / len(ordered)) for place in dict.fromkeys(places)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One measured quantity with a value for each repetition. `key` names it in targets and in the history."""

    key: str
    group: str
    name: str
    unit: str
    values: Mapping[str, Sequence[float]]  # by column: a coordinator, or MEASURED where nothing is compared

    def median(self, column: str = MEASURED) -> float | None:
        """The median of the repetitions, or None if nothing could be measured."""
        values = self.values.get(column)
        return statistics.median(values) if values else None

    def spread(self, column: str = MEASURED) -> tuple[float, float] | None:
        """The least and the greatest of several repetitions."""
        values = self.values.get(column, ())
        return (min(values), max(values)) if len(values) > 1 else None

    def ratio(self, one: str, other: str) -> float | None:
        """The median of `one` divided by that of `other`, or None if one is missing or `other` is zero."""
        above, below = self.median(one), self.median(other)
        return above / below if above is not None and below else None


def shown(value: float | None) -> str:
    """A figure with the three digits that matter: 0.123, 1.23, 12.3, 123, 1,230."""
    if value is None:
        return "-"
    size = abs(value)
    digits = 0 if size >= 100 or value == int(value) else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"
