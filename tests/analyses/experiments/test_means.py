"""Means and Welch's test against tables and SciPy's answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.analyses.experiments.means import Sample, compare_means, mean_interval, t_quantile, t_tail


def sample(values: Sequence[int]) -> Sample:
    return Sample(len(values), Fraction(sum(values)), Fraction(sum(value * value for value in values)))


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.7062), (2, 4.3027), (9, 2.2622), (30, 2.0423), (120, 1.9799), (1e9, 1.95996)]
)
def test_quantiles_as_in_tables(freedom: float, quantile: float) -> None:
    assert t_quantile(freedom) == pytest.approx(quantile, abs=5e-5)


def test_tails_have_closed_forms() -> None:
    for t in (0.0, 0.5, 3.0, 40.0):
        assert t_tail(t, 1) == pytest.approx(1 - 2 * math.atan(t) / math.pi, abs=1e-13)
        assert t_tail(t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), abs=1e-13)
        assert t_tail(t, 2e7) == pytest.approx(math.erfc(t / math.sqrt(2)))


def test_welch_as_scipy_has_it() -> None:
    """scipy.stats.ttest_ind(…, equal_var=False): t = -2.3508 with 9.67 degrees of freedom."""
    ours, control = [3, 4, 1, 2, 3, 4, 2, 1, 3, 2], [5, 4, 3, 9, 4, 2, 6, 3]
    gap = compare_means(sample(ours), sample(control))
    assert gap is not None
    assert gap.interval is not None
    assert gap.difference == pytest.approx(-2.0)
    assert gap.p_value == pytest.approx(0.04139629635187722, rel=1e-9)
    assert gap.interval == pytest.approx((-3.904413322158716, -0.09558667784128394), rel=1e-9)


def test_of_too_few_there_is_no_interval() -> None:
    assert mean_interval(sample([])) is None
    assert mean_interval(sample([3])) is None
    assert compare_means(sample([]), sample([1, 2])) is None
    gap = compare_means(sample([3]), sample([1, 2]))
    assert gap is not None
    assert (gap.difference, gap.interval, gap.p_value) == (1.5, None, None)


def test_without_variance_there_is_no_test() -> None:
    assert mean_interval(sample([5, 5, 5])) == (5.0, 5.0)
    gap = compare_means(sample([5, 5, 5]), sample([4, 4]))
    assert gap is not None
    assert (gap.difference, gap.interval, gap.p_value) == (1.0, None, None)


@given(
    ours=st.lists(st.integers(-(10**17), 10**17), min_size=2, max_size=8),
    control=st.lists(st.integers(-3, 3), min_size=2, max_size=8),
)
def test_nothing_is_nan(ours: list[int], control: list[int]) -> None:
    gap = compare_means(sample(ours), sample(control))
    assert gap is not None
    if gap.interval is not None:
        assert gap.interval[0] <= gap.difference <= gap.interval[1]
        assert gap.p_value is not None
        assert 0 <= gap.p_value <= 1
    low, high = mean_interval(sample(ours)) or (math.nan, math.nan)
    assert low <= high
