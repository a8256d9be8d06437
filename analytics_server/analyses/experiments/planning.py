"""Sample size: how many subjects an experiment needs before it begins: `POST /api/v1/experiments/plan`.

Comparing two shares by the two-sided z-test, per variant:

    n = (z₁₋α/₂ √(2 p̄ q̄) + z₁₋β √(p₁ q₁ + p₂ q₂))² / (p₂ − p₁)²,   p̄ = (p₁ + p₂) / 2

(J. L. Fleiss, B. Levin, M. C. Paik, "Statistical methods for rates and proportions", 3rd ed. 2003, eq. 4.14,
without continuity correction; the same as R's `power.prop.test`.) Each variant is compared with control; with
`"correction": "bonferroni"` α is divided by the number of such comparisons.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from analytics_server.analyses.experiments.definition import MAX_VARIANTS
from analytics_server.errors import RequestError

MOST_SUBJECTS = 10**12

_Share = Annotated[float, Meta(gt=0, lt=1)]


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/experiments/plan`. `baseline`: control's rate, a share between 0 and 1."""

    baseline: _Share
    minimal_effect: float
    effect: Literal["relative", "absolute"] = "relative"
    power: Annotated[float, Meta(ge=0.5, le=0.999)] = 0.8
    alpha: Annotated[float, Meta(ge=0.000_001, le=0.5)] = 0.05
    variants: Annotated[int, Meta(ge=2, le=MAX_VARIANTS)] = 2
    correction: Literal["none", "bonferroni"] = "none"
    daily_subjects: Annotated[float, Meta(ge=0.001, le=1e12)] | None = None


class PlanAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes. `expected`: the rate that can just be told from `baseline`; `alpha`: of each comparison."""

    per_variant: int
    total: int
    days: int | None
    baseline: float
    expected: float
    alpha: float
    power: float
    variants: int


def plan_experiment(asked: PlanRequest) -> PlanAnswer:
    """The sample size. Raises `RequestError` (bad_effect) for an effect that no share can have."""
    change = asked.minimal_effect * asked.baseline if asked.effect == "relative" else asked.minimal_effect
    expected = asked.baseline + change
    if not 0 < expected < 1 or expected == asked.baseline:
        raise RequestError(
            f"minimal_effect ({asked.effect}) takes the baseline from {asked.baseline} to {expected}: it must become"
            " another share between 0 and 1. Rates are shares (0.04 is 4 %), so are relative effects (0.1 is 10 %).",
            code="bad_effect",
        )
    alpha = asked.alpha / (asked.variants - 1) if asked.correction == "bonferroni" else asked.alpha
    size = sample_size(asked.baseline, expected, power=asked.power, alpha=alpha)
    if not size < MOST_SUBJECTS:
        raise RequestError(
            f"minimal_effect is so small that it takes more than {MOST_SUBJECTS} subjects: choose a greater one.",
            code="bad_effect",
        )
    per_variant = max(1, math.ceil(size - 1e-9))
    total = per_variant * asked.variants
    return PlanAnswer(
        per_variant=per_variant,
        total=total,
        days=None if asked.daily_subjects is None else math.ceil(total / asked.daily_subjects),
        baseline=asked.baseline,
        expected=expected,
        alpha=alpha,
        power=asked.power,
        variants=asked.variants,
    )


def sample_size(baseline: float, expected: float, *, power: float, alpha: float) -> float:
    """Subjects per variant, before rounding up; infinite where the shares can't be told apart."""
    normal = NormalDist()
    mean = (baseline + expected) / 2
    spread = normal.inv_cdf(1 - alpha / 2) * math.sqrt(2 * mean * (1 - mean))
    spread += normal.inv_cdf(power) * math.sqrt(baseline * (1 - baseline) + expected * (1 - expected))
    gap = (expected - baseline) ** 2
    return spread * spread / gap if gap > 0 else math.inf
