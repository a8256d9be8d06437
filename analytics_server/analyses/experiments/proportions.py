"""Shares with confidence intervals, differences and tests. Pure; no value is ever NaN.

Where a number has no meaning (no subjects, nothing to divide by) the answer is None.
Formulas:

- Wilson's score interval: E. B. Wilson, "Probable inference", JASA 22 (1927).
- Difference of two shares: R. G. Newcombe, "Interval estimation for the difference between independent
  proportions", Statistics in Medicine 17 (1998), method 10 (two Wilson intervals combined).
- Ratio of two shares: D. Katz et al., "Obtaining confidence intervals for the risk ratio in cohort studies",
  Biometrics 34 (1978), log method.
- z-test with pooled variance, and Pearson's chi-square test: any textbook.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

Interval = tuple[float, float]

Z_95 = NormalDist().inv_cdf(0.975)
SRM_P = 0.001
"""Below this probability of chance, the split is not what the weights say: a sample-ratio mismatch."""


def wilson(successes: int, total: int) -> Interval | None:
    """Wilson's 95 % interval of a share; None without any subjects."""
    if total == 0:
        return None
    share, square = successes / total, Z_95 * Z_95
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = Z_95 * math.sqrt(share * (1 - share) / total + square / (4 * total * total)) / (1 + square / total)
    # At 0 and 1 the edge is exact, which rounding must not spoil.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return low, 1.0 if successes == total else min(1.0, centre + half)


def difference(successes: int, total: int, control_successes: int, control_total: int) -> Interval | None:
    """Newcombe's 95 % interval of (share − share of control)."""
    ours, theirs = wilson(successes, total), wilson(control_successes, control_total)
    if ours is None or theirs is None:
        return None
    share, control = successes / total, control_successes / control_total
    gap = share - control
    return (
        gap - math.hypot(share - ours[0], theirs[1] - control),
        gap + math.hypot(ours[1] - share, control - theirs[0]),
    )


def lift(successes: int, total: int, control_successes: int, control_total: int) -> float | None:
    """(share − share of control) ÷ share of control; None where that can't be divided."""
    if total == 0 or control_total == 0 or control_successes == 0:
        return None
    return successes * control_total / (total * control_successes) - 1


def lift_interval(successes: int, total: int, control_successes: int, control_total: int) -> Interval | None:
    """Katz's 95 % interval of the lift; None while either side has no success."""
    if successes == 0 or control_successes == 0:
        return None
    ratio = successes * control_total / (total * control_successes)
    variance = (total - successes) / (successes * total) + (control_total - control_successes) / (
        control_successes * control_total
    )
    factor = math.exp(Z_95 * math.sqrt(variance))
    return ratio / factor - 1, ratio * factor - 1


def z_test(successes: int, total: int, control_successes: int, control_total: int) -> float | None:
    """p-value of the two-sided two-proportion z-test with pooled variance.

    1 where all or none converted on both sides: then the shares are equal.
    """
    if total == 0 or control_total == 0:
        return None
    pooled = (successes + control_successes) / (total + control_total)
    variance = pooled * (1 - pooled) * (1 / total + 1 / control_total)
    if variance <= 0:
        return 1.0
    z = (successes / total - control_successes / control_total) / math.sqrt(variance)
    return math.erfc(abs(z) / math.sqrt(2))


def chi_square_tail(statistic: float, freedom: int) -> float:
    """Probability that chi-square with so many degrees of freedom is greater: the closed form for whole ones."""
    if statistic <= 0:
        return 1.0
    half = statistic / 2
    total = 0.0 if freedom % 2 == 0 else math.erfc(math.sqrt(half))
    # Each term is half^s e^-half / Γ(s + 1), by logarithms so that neither part overflows.
    first = 0.0 if freedom % 2 == 0 else 0.5
    steps = freedom // 2
    for step in range(steps):
        power = first + step
        total += math.exp(power * math.log(half) - half - math.lgamma(power + 1))
    return min(1.0, total)


def split_test(counts: Sequence[int], weights: Sequence[float]) -> tuple[float, float] | None:
    """Chi-square statistic and p-value of counts against weights, all above zero; None if there is no choice."""
    total, all_weights = sum(counts), math.fsum(weights)
    if total == 0 or len(counts) < 2:
        return None
    expected = [total * (weight / all_weights) for weight in weights]
    statistic = math.fsum((count - mean) ** 2 / mean for count, mean in zip(counts, expected, strict=True))
    return statistic, chi_square_tail(statistic, len(counts) - 1)
