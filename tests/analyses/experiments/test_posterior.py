"""The best variant's probability and the expected loss: against exact rational numbers, closed forms, and a draw."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_server.analyses.experiments.posterior import compare

Polynomial = list[Fraction]
Counts = Sequence[tuple[int, int]]


def density(successes: int, total: int) -> Polynomial:
    """Beta(1 + x, 1 + n − x) as the polynomial it is."""
    b = total - successes
    whole = Fraction(math.factorial(total + 1), math.factorial(successes) * math.factorial(b))
    return [Fraction(0)] * successes + [whole * math.comb(b, k) * (-1) ** k for k in range(b + 1)]


def integral(of: Polynomial) -> Polynomial:
    return [Fraction(0), *(value / (power + 1) for power, value in enumerate(of))]


def product(one: Polynomial, other: Polynomial) -> Polynomial:
    found = [Fraction(0)] * (len(one) + len(other) - 1)
    for i, x in enumerate(one):
        for j, y in enumerate(other):
            found[i + j] += x * y
    return found


def exactly(counts: Counts) -> list[tuple[float, float]]:
    """Probability to be best and expected loss, without rounding before the end."""
    densities = [density(*pair) for pair in counts]
    below = [integral(one) for one in densities]
    found = []
    for index in range(len(counts)):
        others = [Fraction(1)]
        for other, chance in enumerate(below):
            others = product(others, chance) if other != index else others
        missed = [(1 if power == 0 else 0) - value for power, value in enumerate(others)]
        best, loss = (sum(integral(product(*pair))) for pair in ((densities[index], others), (below[index], missed)))
        found.append((float(best), float(loss)))
    return found


def beats(ours: tuple[int, int], control: tuple[int, int]) -> float:
    """P(ours > control): E. Miller, "Formulas for Bayesian A/B testing", 2015, equation 6."""
    a, b = 1 + control[0], 1 + control[1] - control[0]
    c, d = 1 + ours[0], 1 + ours[1] - ours[0]

    def log_beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    return sum(
        math.exp(log_beta(a + i, b + d) - math.log(d + i) - log_beta(1 + i, d) - log_beta(a, b)) for i in range(c)
    )


@st.composite
def small(draw: st.DrawFn) -> list[tuple[int, int]]:
    totals = draw(st.lists(st.integers(0, 12), min_size=2, max_size=4))
    return [(draw(st.integers(0, total)), total) for total in totals]


@settings(max_examples=60, deadline=None)
@given(counts=small())
def test_equals_the_exact_numbers(counts: list[tuple[int, int]]) -> None:
    for verdict, (best, loss) in zip(compare(counts), exactly(counts), strict=True):
        assert verdict.best == pytest.approx(best, abs=1e-11)
        assert verdict.loss == pytest.approx(loss, abs=1e-11)


@pytest.mark.parametrize(
    ("ours", "control"), [((120, 1_000), (100, 1_000)), ((3, 4_000), (9, 4_000)), ((1_950, 2_000), (1_900, 2_000))]
)
def test_equals_the_closed_form_of_two(ours: tuple[int, int], control: tuple[int, int]) -> None:
    first, second = compare([control, ours])
    assert second.best == pytest.approx(beats(ours, control), abs=1e-9)
    assert first.best == pytest.approx(1 - beats(ours, control), abs=1e-9)


def test_ten_million_subjects_keep_their_digits() -> None:
    """The value of SciPy's adaptive quadrature."""
    first, second = compare([(500_000, 10_000_000), (500_500, 10_000_000)])
    assert first.best == pytest.approx(0.304022021024397, abs=1e-11)
    # The loss of two is an exact difference of means and one integral: loss(a) − loss(b) = E[b] − E[a].
    gap = (500_501 - 500_001) / 10_000_002
    assert first.loss - second.loss == pytest.approx(gap, abs=1e-13)


def test_ten_equals_share_the_chance() -> None:
    for total in (0, 1, 100, 10_000_000):
        verdicts = compare([(total // 2, total)] * 10)
        assert [verdict.best for verdict in verdicts] == pytest.approx([0.1] * 10, abs=1e-12)


def test_a_draw_agrees() -> None:
    counts = [(40, 400), (52, 410), (47, 390), (5, 30)]
    random_ = random.Random(5)
    draws = 40_000
    wins, losses = [0] * 4, [0.0] * 4
    for _ in range(draws):
        shares = [random_.betavariate(1 + x, 1 + n - x) for x, n in counts]
        top = max(shares)
        wins[shares.index(top)] += 1
        losses = [loss + top - share for loss, share in zip(losses, shares, strict=True)]
    for verdict, won, lost in zip(compare(counts), wins, losses, strict=True):
        assert verdict.best == pytest.approx(won / draws, abs=0.012)
        assert verdict.loss == pytest.approx(lost / draws, abs=0.001)


@pytest.mark.parametrize(
    "counts",
    [
        [(0, 10_000_000), (10_000_000, 10_000_000)],
        [(0, 0), (5, 10_000_000)],
        [(0, 1_000_000_000), (1, 1_000_000_000), (3, 5)],
        [(number * 1_000 + 300_000, 10_000_000) for number in range(10)],
        [(3, 100), (300, 10_000), (0, 100_000), (100_000, 100_000), (1, 1), (0, 1), (500, 1_000), (0, 0)],
        [(1, 10**7), (10**7 - 1, 10**7), (10**7 - 2, 10**7)],
    ],
)
def test_extremes_stay_probabilities(counts: list[tuple[int, int]]) -> None:
    verdicts = compare(counts)
    assert math.fsum(verdict.best for verdict in verdicts) == pytest.approx(1, abs=1e-10)
    assert all(0 <= verdict.best <= 1 and 0 <= verdict.loss <= 1 for verdict in verdicts)


def test_is_fast_at_its_worst() -> None:
    started = time.process_time()
    compare([(number * 1_000 + 300_000, 10_000_000) for number in range(10)])
    assert time.process_time() - started < 1


def test_is_deterministic() -> None:
    counts = [(10, 100), (12, 100), (9, 80)]
    assert compare(counts) == compare(counts)
    turned = compare(counts[::-1])[::-1]
    for one, other in zip(compare(counts), turned, strict=True):
        assert (one.best, one.loss) == pytest.approx((other.best, other.loss), abs=1e-12)
