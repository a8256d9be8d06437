"""The shape of results, and the numbers in it from the counts. Pure.

Rates, lifts and probabilities are shares (0.04 is 4 %), unrounded. What has no meaning (a lift over nothing, the
best of a single variant) is null, never zero and never NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import msgspec
from msgspec import UNSET, UnsetType

from analytics_server.analyses.experiments.means import Sample, compare_means, mean_interval
from analytics_server.analyses.experiments.posterior import Verdict, compare
from analytics_server.analyses.experiments.proportions import (
    SRM_P,
    Interval,
    difference,
    lift,
    lift_interval,
    split_test,
    wilson,
    z_test,
)
from analytics_server.query.answer import AnswerMeta


class RevenueResult(msgspec.Struct, frozen=True, kw_only=True):
    """Revenue of one currency, per exposed subject. `difference`, `lift`, `p_value`: against control, by Welch."""

    currency: str
    total: float
    per_subject: float | None
    interval: Interval | None
    difference: float | None
    difference_interval: Interval | None
    lift: float | None
    p_value: float | None


class VariantResult(msgspec.Struct, frozen=True, kw_only=True):
    """One variant and one goal. Intervals are of 95 %; what compares with control is null of control itself."""

    name: str
    is_control: bool
    exposures: int
    conversions: int
    rate: float | None
    interval: Interval | None
    lift: float | None
    lift_interval: Interval | None
    difference: float | None
    difference_interval: Interval | None
    p_value: float | None
    probability_to_be_best: float | None
    expected_loss: float | None
    revenue: list[RevenueResult]


class GoalResult(msgspec.Struct, frozen=True, kw_only=True):
    """All variants by one goal."""

    name: str
    variants: list[VariantResult]


class SampleRatio(msgspec.Struct, frozen=True, kw_only=True):
    """Are the subjects split as the weights say? `expected`: shares by variant; null: nothing to compare."""

    expected: dict[str, float]
    chi_square: float | None
    p_value: float | None
    mismatch: bool


class Excluded(msgspec.Struct, frozen=True, kw_only=True):
    """Subjects that are in no variant's numbers."""

    several_variants: int
    unknown_variant: int


class BreakdownResult(msgspec.Struct, frozen=True, kw_only=True):
    """The subjects of one value of the breakdown, at their first exposure."""

    value: str
    exposures: int
    goals: list[GoalResult]


class GoalShown(msgspec.Struct, frozen=True, kw_only=True):
    """A goal as it was understood."""

    name: str
    filters: list[object]


class ExperimentShown(msgspec.Struct, frozen=True, kw_only=True):
    """What was evaluated. Without a saved definition `id` and `status` are null and the weights equal."""

    id: str | None
    name: str
    key: str
    control: str
    weights: dict[str, float]
    goals: list[GoalShown]
    window: int
    status: str | None


class ResultsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `POST /api/v1/experiments/{id}/results`. `variants`: by the first goal; `goals`: by each one.

    `maturing`: exposed subjects whose window is not over yet. `breakdown`: if asked for, the values with most subjects;
    `meta.total_rows` then says how many there are.
    """

    experiment: ExperimentShown
    variants: list[VariantResult]
    goals: list[GoalResult]
    sample_ratio: SampleRatio
    excluded: Excluded
    maturing: int
    meta: AnswerMeta
    breakdown: list[BreakdownResult] | UnsetType = UNSET


@dataclass(slots=True)
class Tally:
    """What was counted of one goal: conversions, and per currency the sum and the sum of squares over subjects."""

    conversions: int = 0
    revenue: dict[str, tuple[Fraction, Fraction]] = field(default_factory=dict)


@dataclass(slots=True)
class VariantCounts:
    """What was counted of one variant; `tallies` by the place of the goal."""

    exposures: int
    tallies: list[Tally]


def judge(
    goals: Sequence[str], names: Sequence[str], control: str, groups: Mapping[str, VariantCounts]
) -> list[GoalResult]:
    """Every goal and variant; a variant without a group has no subjects."""
    found = []
    for place, goal in enumerate(goals):
        tallies = {name: groups[name].tallies[place] if name in groups else Tally() for name in names}
        sizes = {name: groups[name].exposures if name in groups else 0 for name in names}
        found.append(GoalResult(name=goal, variants=_variants(names, control, sizes, tallies)))
    return found


def sample_ratio(weights: Mapping[str, float], exposures: Mapping[str, int]) -> SampleRatio:
    """The split against the weights. A variant that is shown to no new subject is left out."""
    open_ = [name for name, weight in weights.items() if weight > 0]
    whole = sum(weights.values())
    tested = split_test([exposures.get(name, 0) for name in open_], [weights[name] for name in open_])
    return SampleRatio(
        expected={name: weight / whole for name, weight in weights.items()},
        chi_square=tested[0] if tested else None,
        p_value=tested[1] if tested else None,
        mismatch=tested is not None and tested[1] < SRM_P,
    )


def _variants(
    names: Sequence[str], control: str, sizes: Mapping[str, int], tallies: Mapping[str, Tally]
) -> list[VariantResult]:
    verdicts = _verdicts(names, sizes, tallies)
    currencies = sorted({currency for tally in tallies.values() for currency in tally.revenue})
    found = []
    for name in names:
        size, converted = sizes[name], tallies[name].conversions
        base = (sizes[control], tallies[control].conversions)
        compared = name != control
        gap = converted / size - base[1] / base[0] if size and base[0] else None
        verdict = verdicts.get(name)
        found.append(
            VariantResult(
                name=name,
                is_control=not compared,
                exposures=size,
                conversions=converted,
                rate=converted / size if size else None,
                interval=wilson(converted, size),
                lift=lift(converted, size, base[1], base[0]) if compared else None,
                lift_interval=lift_interval(converted, size, base[1], base[0]) if compared else None,
                difference=gap if compared else None,
                difference_interval=difference(converted, size, base[1], base[0]) if compared else None,
                p_value=z_test(converted, size, base[1], base[0]) if compared else None,
                probability_to_be_best=verdict.best if verdict else None,
                expected_loss=verdict.loss if verdict else None,
                revenue=[
                    _revenue(
                        currency,
                        _sample(size, tallies[name], currency),
                        _sample(base[0], tallies[control], currency) if compared else None,
                    )
                    for currency in currencies
                ],
            )
        )
    return found


def _verdicts(names: Sequence[str], sizes: Mapping[str, int], tallies: Mapping[str, Tally]) -> dict[str, Verdict]:
    """Of the variants with subjects: a variant without any can't be the best. None if there is no choice."""
    seen = [name for name in names if sizes[name]]
    if len(seen) < 2:
        return {}
    return dict(zip(seen, compare([(tallies[name].conversions, sizes[name]) for name in seen]), strict=True))


def _sample(size: int, tally: Tally, currency: str) -> Sample:
    total, squares = tally.revenue.get(currency, (Fraction(0), Fraction(0)))
    return Sample(size, total, squares)


def _revenue(currency: str, ours: Sample, control: Sample | None) -> RevenueResult:
    mean = ours.mean
    base = control.mean if control is not None else None
    gap = compare_means(ours, control) if control is not None else None
    return RevenueResult(
        currency=currency,
        total=float(ours.total),
        per_subject=None if mean is None else float(mean),
        interval=mean_interval(ours),
        difference=gap.difference if gap else None,
        difference_interval=gap.interval if gap else None,
        lift=float(mean / base - 1) if mean is not None and base is not None and base > 0 else None,
        p_value=gap.p_value if gap else None,
    )
