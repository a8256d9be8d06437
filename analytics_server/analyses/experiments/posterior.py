"""Bayesian results: which variant is best by the counts. Beta posteriors, integrated numerically.

With a uniform prior, Beta(1, 1), a share after x conversions of n exposures is distributed as
Beta(1 + x, 1 + n − x). For independent shares p_1 … p_k with densities f and distribution functions F:

- probability to be best = ∫ f_i(t) Π_{j≠i} F_j(t) dt
- expected loss = E[max_j p_j − p_i] = ∫ F_i(t) (1 − Π_{j≠i} F_j(t)) dt

(C. Stucchio, "Bayesian A/B testing at VWO", 2015, gives both for two variants; the second form has positive
terms only, so that small losses keep their digits.)

Deterministic: Gauss-Legendre quadrature on panels no wider than the narrowest density that has mass there.
Densities are polynomials, in logarithms relative to their peak, so counts of many millions neither overflow nor
lose digits; distribution functions come from integrating the densities over the same panels. Tests compare
with exact rational numbers and with closed forms: better than 1e-9.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from operator import mul

NODES = 12
"""Of a panel. With panels of one standard deviation the interpolation's error is about 1e-12."""

FLOOR = -46.0
"""Logarithm, relative to its peak, below which a density counts as nothing (1e-20)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one variant. `best`: probability to be best; `loss`: what choosing it costs on average, as a share."""

    best: float
    loss: float


@dataclass(frozen=True, slots=True)
class SharePosterior:
    """The posterior of one variant's share."""

    a: int
    b: int
    peak: float
    low: float
    high: float
    sd: float

    def density(self, at: float) -> float:
        """Relative to the peak."""
        if not self.low <= at <= self.high:
            return 0.0
        return math.exp(_relative_log(self.a, self.b, self.peak, at))


def share_of(successes: int, total: int) -> SharePosterior:
    """The posterior after so many successes of so many."""
    a, b = 1 + successes, 1 + total - successes
    if not total:
        return SharePosterior(a=1, b=1, peak=0.5, low=0.0, high=1.0, sd=1.0)
    peak = successes / total
    whole = a + b
    sd = math.sqrt(a / whole * (b / whole) / (whole + 1))
    return SharePosterior(a=a, b=b, peak=peak, low=_edge(a, b, peak, 0.0), high=_edge(a, b, peak, 1.0), sd=sd)


def compare(counts: Sequence[tuple[int, int]]) -> list[Verdict]:
    """The verdict on each of (successes, total), which are at least two, in order."""
    shares = [share_of(successes, total) for successes, total in counts]
    masses = [0.0] * len(shares)
    best = [0.0] * len(shares)
    loss = [0.0] * len(shares)
    nodes, weights, _ = _rule()
    panels = _panels(shares)
    # Once to know each density's whole, once with densities and distribution functions that are true ones.
    for low, high in panels:
        half, middle = (high - low) / 2, (high + low) / 2
        points = [middle + half * node for node in nodes]
        for index, share in enumerate(shares):
            if share.low < high and low < share.high:
                masses[index] += half * math.fsum(map(mul, weights, map(share.density, points)))
    below = [0.0] * len(shares)
    for low, high in panels:
        _add_panel(shares, masses, below, best, loss, low, high)
    return [Verdict(min(1.0, one), max(0.0, other)) for one, other in zip(best, loss, strict=True)]


def _add_panel(
    shares: Sequence[SharePosterior],
    masses: Sequence[float],
    below: list[float],
    best: list[float],
    loss: list[float],
    low: float,
    high: float,
) -> None:
    """One panel's part of the integrals. `below`: the distribution functions at its left edge, moved to its right."""
    nodes, weights, partial = _rule()
    half, middle = (high - low) / 2, (high + low) / 2
    points = [middle + half * node for node in nodes]
    densities: list[list[float]] = []
    chances: list[list[float]] = []
    for index, share in enumerate(shares):
        if share.low < high and low < share.high:
            density = [share.density(point) / masses[index] for point in points]
            start = below[index]
            chances.append([min(1.0, start + half * math.fsum(map(mul, row, density))) for row in partial])
            below[index] = start + half * math.fsum(map(mul, weights, density))
        else:
            density = []
            chances.append([0.0 if high <= share.low else 1.0] * NODES)
        densities.append(density)
    for place in range(NODES):
        column = [chance[place] for chance in chances]
        weight = half * weights[place]
        for index, others in enumerate(_products_without_one(column)):
            if densities[index]:
                best[index] += weight * densities[index][place] * others
            loss[index] += weight * column[index] * (1.0 - others)


def _products_without_one(values: Sequence[float]) -> list[float]:
    """For each place the product of all others; no division, as values may be zero."""
    found = [1.0] * len(values)
    product = 1.0
    for index, value in enumerate(values):
        found[index] = product
        product *= value
    product = 1.0
    for index in range(len(values) - 1, -1, -1):
        found[index] *= product
        product *= values[index]
    return found


def _panels(shares: Sequence[SharePosterior]) -> list[tuple[float, float]]:
    """From the first to the last mass, in steps of the narrowest density there, ending where one begins or ends."""
    edges = sorted({edge for share in shares for edge in (share.low, share.high)})
    found: list[tuple[float, float]] = []
    for low, high in pairwise(edges):
        active = [share.sd for share in shares if share.low < high and low < share.high]
        pieces = max(1, math.ceil((high - low) / min(active, default=1.0)))
        width = (high - low) / pieces
        found += [(low + piece * width, low + (piece + 1) * width) for piece in range(pieces - 1)]
        found.append((low + (pieces - 1) * width, high))
    return found


def _relative_log(a: int, b: int, peak: float, at: float) -> float:
    """ln of the density at a point relative to its peak; both terms almost cancel near it, hence log1p."""
    step = at - peak
    log = 0.0
    if a > 1:
        if at <= 0.0:
            return -math.inf
        log += (a - 1) * _log_ratio(step, peak)
    if b > 1:
        if at >= 1.0:
            return -math.inf
        log += (b - 1) * _log_ratio(-step, 1.0 - peak)
    return log


def _log_ratio(step: float, whole: float) -> float:
    """ln((whole + step) / whole): by log1p near the whole, where a ratio would lose digits."""
    return math.log1p(step / whole) if abs(step) < whole / 2 else math.log((whole + step) / whole or math.ulp(0.0))


def _edge(a: int, b: int, peak: float, end: float) -> float:
    """Where the density has fallen to nothing between its peak and an end of [0, 1]."""
    if _relative_log(a, b, peak, end) >= FLOOR:
        return end
    inside, outside = peak, end
    for _ in range(80):
        middle = (inside + outside) / 2
        if _relative_log(a, b, peak, middle) >= FLOOR:
            inside = middle
        else:
            outside = middle
    return outside


@cache
def _rule() -> tuple[list[float], list[float], list[list[float]]]:
    """Gauss-Legendre nodes and weights on [-1, 1], and the weights that integrate from -1 to each node.

    Nodes by Newton's method from the usual first guess (W. H. Press et al., "Numerical recipes", 4.6). The
    partial weights are those of the interpolating polynomial, written in Legendre polynomials, whose integrals
    are (P_{n+1} − P_{n−1}) / (2n + 1).
    """
    nodes, weights = [], []
    for number in range(NODES):
        at = -math.cos(math.pi * (number + 0.75) / (NODES + 0.5))
        slope = 1.0
        for _ in range(100):
            values = _legendre(at, NODES)
            slope = NODES * (at * values[NODES] - values[NODES - 1]) / (at * at - 1)
            at -= values[NODES] / slope
        nodes.append(at)
        weights.append(2 / ((1 - at * at) * slope * slope))
    partial = []
    at_nodes = [_legendre(node, NODES) for node in nodes]
    for upper in at_nodes:
        integrals = [1 + upper[1], *((upper[n + 1] - upper[n - 1]) / (2 * n + 1) for n in range(1, NODES))]
        partial.append(
            [
                weight * math.fsum((2 * n + 1) / 2 * at_node[n] * integrals[n] for n in range(NODES))
                for weight, at_node in zip(weights, at_nodes, strict=True)
            ]
        )
    return nodes, weights, partial


def _legendre(at: float, degree: int) -> list[float]:
    """P_0 … P_degree at a point."""
    values = [1.0, at]
    for n in range(1, degree):
        values.append(((2 * n + 1) * at * values[n] - n * values[n - 1]) / (n + 1))
    return values
