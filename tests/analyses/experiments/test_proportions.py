"""Intervals and tests of shares against published values, SciPy's and statsmodels' answers, and the extremes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.analyses.experiments.proportions import (
    chi_square_tail,
    difference,
    lift,
    lift_interval,
    split_test,
    wilson,
    z_test,
)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    total = draw(st.sampled_from((0, 1, 2, 30, 10_000_000)))
    return draw(st.one_of(st.just(0), st.just(total), st.integers(0, total))), total


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_published(successes: int, total: int, low: float, high: float) -> None:
    """R. G. Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I."""
    assert wilson(successes, total) == pytest.approx((low, high), abs=5e-5)


def test_wilson_as_statsmodels_has_it() -> None:
    assert wilson(10, 100) == pytest.approx((0.0552291370606751, 0.17436566150491345), rel=1e-14)


@pytest.mark.parametrize(
    ("ours", "control", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_difference_as_published(ours: tuple[int, int], control: tuple[int, int], low: float, high: float) -> None:
    """R. G. Newcombe, "Interval estimation for the difference …", 1998, table II, method 10."""
    assert difference(*ours, *control) == pytest.approx((low, high), abs=6e-5)


def test_z_test_as_statsmodels_has_it() -> None:
    assert z_test(345, 10_000, 300, 10_000) == pytest.approx(0.07167846694046853, rel=1e-12)
    assert z_test(300, 10_000, 345, 10_000) == z_test(345, 10_000, 300, 10_000)


def test_lift_and_its_interval() -> None:
    """The aspirin trial: 104 of 11,037 against 189 of 11,034, ratio 0.550 (0.433 to 0.698)."""
    assert lift(104, 11_037, 189, 11_034) == pytest.approx(0.5501 - 1, abs=5e-5)
    low, high = lift_interval(104, 11_037, 189, 11_034) or (0.0, 0.0)
    assert (low + 1, high + 1) == pytest.approx((0.4337, 0.6978), abs=5e-5)


@pytest.mark.parametrize(
    ("statistic", "freedom", "tail"),
    [
        (3.841458820694124, 1, 0.05),
        (5.991464547107979, 2, 0.05),
        (10.827566170662733, 1, 0.001),
        (27.877164871256568, 9, 0.001),
        (0.0, 3, 1.0),
        (2000.0, 2, 0.0),
    ],
)
def test_chi_square_as_in_tables(statistic: float, freedom: int, tail: float) -> None:
    assert chi_square_tail(statistic, freedom) == pytest.approx(tail, rel=1e-9)


def test_chi_square_of_two_degrees_is_an_exponential() -> None:
    for half in (0.1, 1.0, 30.0, 300.0):
        assert chi_square_tail(2 * half, 2) == pytest.approx(math.exp(-half), rel=1e-13)


def test_split_finds_a_mismatch_that_chance_does_not_make() -> None:
    statistic, p_value = split_test([5_000, 5_400], [1, 1]) or (0.0, 0.0)
    assert statistic == pytest.approx(400**2 / 10_400)
    assert p_value < 0.001
    assert (split_test([5_000, 5_100], [1, 1]) or (0.0, 0.0))[1] > 0.001
    assert split_test([9_000, 1_000], [0.9, 0.1]) == pytest.approx((0, 1))


def test_there_is_no_split_of_nobody_or_of_one() -> None:
    assert split_test([0, 0], [1, 1]) is None
    assert split_test([7], [1]) is None


def test_what_has_no_meaning_is_none() -> None:
    assert wilson(0, 0) is None
    assert difference(1, 2, 0, 0) is None
    assert z_test(0, 0, 1, 2) is None
    assert lift(1, 2, 0, 5) is None
    assert lift(0, 0, 1, 5) is None
    assert lift_interval(0, 5, 1, 5) is None
    assert lift_interval(1, 5, 0, 5) is None


def test_equal_extremes_differ_in_nothing() -> None:
    assert z_test(0, 10, 0, 20) == z_test(10, 10, 20, 20) == 1.0
    assert wilson(0, 5) == pytest.approx((0, 0.4344825), rel=1e-6, abs=0)
    assert wilson(5, 5) == pytest.approx((0.5655175, 1), rel=1e-6)


@given(ours=counts(), control=counts())
def test_intervals_hold_their_value_and_nothing_is_nan(ours: tuple[int, int], control: tuple[int, int]) -> None:
    numbers: list[float] = []
    for successes, total in (ours, control):
        interval = wilson(successes, total)
        if interval is not None:
            assert 0 <= interval[0] <= successes / total <= interval[1] <= 1
            numbers += interval
    gap, ratio = difference(*ours, *control), lift_interval(*ours, *control)
    if gap is not None:
        true = ours[0] / ours[1] - control[0] / control[1]
        assert gap[0] <= true <= gap[1]
        numbers += gap
    if ratio is not None:
        value = lift(*ours, *control)
        assert value is not None
        assert ratio[0] - 1e-12 <= value <= ratio[1] + 1e-12
        numbers += ratio
    p_value = z_test(*ours, *control)
    if p_value is not None:
        assert 0 <= p_value <= 1
    assert all(map(math.isfinite, numbers))
