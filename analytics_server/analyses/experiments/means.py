"""Means per subject (revenue) with confidence intervals and tests: Student's t, Welch's test. Pure, never NaN.

- Interval of a mean: Student, "The probable error of a mean", Biometrika 6 (1908).
- Difference of two means without assuming equal variances: B. L. Welch, "The generalization of 'Student's'
  problem …", Biometrika 34 (1947), with the Welch-Satterthwaite degrees of freedom.
- The distribution function of t is a regularised incomplete beta function, by its continued fraction
  (W. H. Press et al., "Numerical recipes", 6.4).

Revenue is skewed: with few paying subjects these intervals are too narrow. docs/experiments.md says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist

from analytics_server.analyses.experiments.proportions import Interval

CONFIDENCE = 0.95
LARGE = 1e7
"""Degrees of freedom from which t is the normal distribution to six digits."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How many subjects, the sum of their values and of their squares. Exact: cancellation is no matter."""

    count: int
    total: Fraction
    squares: Fraction

    @property
    def mean(self) -> Fraction | None:
        """Of all subjects; None without any."""
        return self.total / self.count if self.count else None

    @property
    def variance(self) -> Fraction | None:
        """The sample's, with count − 1; None of fewer than two."""
        if self.count < 2:
            return None
        return (self.squares - self.total * self.total / self.count) / (self.count - 1)


@dataclass(frozen=True, slots=True)
class Gap:
    """Difference of two means with its 95 % interval and the p-value of Welch's test."""

    difference: float
    interval: Interval | None
    p_value: float | None


def mean_interval(sample: Sample) -> Interval | None:
    """95 % interval of a mean; None of fewer than two subjects."""
    mean, variance = sample.mean, sample.variance
    if mean is None or variance is None:
        return None
    half = t_quantile(sample.count - 1) * math.sqrt(variance / sample.count)
    return float(mean) - half, float(mean) + half


def compare_means(sample: Sample, control: Sample) -> Gap | None:
    """A mean against control's; None if either has no subjects. Without variance there is no interval and no test."""
    ours, theirs = sample.mean, control.mean
    if ours is None or theirs is None:
        return None
    gap = float(ours - theirs)
    ours_v, theirs_v = sample.variance, control.variance
    if ours_v is None or theirs_v is None:
        return Gap(gap, None, None)
    parts = float(ours_v / sample.count), float(theirs_v / control.count)
    error = sum(parts)
    if error <= 0:
        return Gap(gap, None, None)
    # In shares of the whole, so that tiny and huge variances neither vanish nor overflow when squared.
    shares = parts[0] / error, parts[1] / error
    freedom = 1 / (shares[0] ** 2 / (sample.count - 1) + shares[1] ** 2 / (control.count - 1))
    half = t_quantile(freedom) * math.sqrt(error)
    return Gap(gap, (gap - half, gap + half), t_tail(gap / math.sqrt(error), freedom))


def t_tail(t: float, freedom: float) -> float:
    """Probability that |T| is greater: two-sided."""
    if freedom >= LARGE:
        return math.erfc(abs(t) / math.sqrt(2))
    return _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def t_quantile(freedom: float) -> float:
    """The t that |T| exceeds in 5 % of all cases."""
    low = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    if freedom >= LARGE:
        return low
    high = low * 2
    while t_tail(high, freedom) > 1 - CONFIDENCE:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        if t_tail(middle, freedom) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b), by the continued fraction on the side where it converges fast."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    front = math.exp(log_front)
    if x < (a + 1) / (a + b + 2):
        return min(1.0, front * _fraction(a, b, x) / a)
    return max(0.0, 1 - front * _fraction(b, a, 1 - x) / b)


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    found = d
    for m in range(1, 2_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for part in (even, odd):
            d = 1 + part * d
            c = 1 + part / c
            d = 1 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            change = c * d
            found *= change
        if abs(change - 1) < 1e-15:
            break
    return found
