"""Statistics of measurements agree with counting, and with known distributions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Figure, cumulative, percentiles, quantile, shown

VALUES = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=300)


@given(VALUES, st.floats(min_value=0, max_value=1))
def test_a_quantile_is_the_least_value_that_covers_its_share(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) < max(1, share * len(values) + 1e-6)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_the_quantiles_of_one_to_a_hundred_are_their_shares(share: float, expected: float) -> None:
    assert quantile(range(1, 101), share) == expected


def test_no_values_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


@given(VALUES)
def test_a_cumulative_distribution_rises_from_its_least_value_to_all_of_them(values: list[float]) -> None:
    points = cumulative(values, most=20)
    assert points == sorted(points)
    assert points[0][0] == min(values)
    assert points[-1] == (max(values), 1.0)
    assert len(points) <= 2 * 20 + 1
    for value, share in points:
        assert share * len(values) <= sum(each <= value for each in values) + 1e-6


def test_a_figure_is_the_median_of_its_repetitions() -> None:
    values = {"one": [3.0, 1.0, 2.0], "other": [4.0, 8.0], "none": []}
    figure = Figure(key="", group="", name="", unit="ms", values=values)
    assert figure.median("one") == 2.0
    assert figure.median("other") == 6.0
    assert figure.spread("one") == (1.0, 3.0)
    assert figure.ratio("other", "one") == 3.0
    assert [figure.median("none"), figure.spread("none"), figure.ratio("none", "one")] == [None, None, None]


def test_nothing_is_a_multiple_of_zero() -> None:
    figure = Figure(key="", group="", name="", unit="", values={"one": [0.0], "other": [1.0]})
    assert figure.ratio("other", "one") is None
    assert figure.ratio("one", "other") == 0.0


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1234.5, "1,234")],
)
def test_three_digits_of_a_figure_are_shown(value: float | None, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (0, []),
        (3, []),
        (4, ["p50"]),
        (39, ["p50"]),
        (40, ["p50", "p95"]),
        (199, ["p50", "p95"]),
        (200, ["p50", "p95", "p99"]),
    ],
)
def test_a_percentile_is_told_where_two_values_lie_beyond_it(values: int, told: list[str]) -> None:
    found = percentiles([float(value) for value in range(values)])

    assert [*found] == told
    assert all(sum(value > limit for value in range(values)) >= 2 for limit in found.values())
