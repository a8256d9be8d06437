"""The sample size against published values, and what can't be planned."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.analyses.experiments.planning import PlanAnswer, PlanRequest, plan_experiment, sample_size
from analytics_server.errors import RequestError
from analytics_server.query.language.request import decode_request


def plan(**parts: Any) -> PlanAnswer:
    return plan_experiment(decode_request(msgspec.json.encode(parts), PlanRequest))


def test_sizes_as_r_publishes_them() -> None:
    """The examples of R's help page of power.prop.test: 76.7 per group; and 50 per group have the power 0.740."""
    assert sample_size(0.5, 0.75, power=0.9, alpha=0.05) == pytest.approx(76.7, abs=0.05)
    assert sample_size(0.5, 0.75, power=0.7401659, alpha=0.05) == pytest.approx(50, abs=0.001)


def test_a_textbook_s_example() -> None:
    """From 20 % to 25 %, power 80 %: 1,094 per group (R: 1093.739)."""
    answer = plan(baseline=0.2, minimal_effect=0.05, effect="absolute")
    assert (answer.per_variant, answer.total, answer.days) == (1_094, 2_188, None)
    assert plan(baseline=0.2, minimal_effect=0.25).per_variant == 1_094
    assert plan(baseline=0.8, minimal_effect=-0.05, effect="absolute").per_variant == 1_094


def test_days_are_rounded_up() -> None:
    assert plan(baseline=0.2, minimal_effect=0.25, daily_subjects=1_000).days == 3
    assert plan(baseline=0.2, minimal_effect=0.25, daily_subjects=1_094).days == 2


def test_more_variants_take_more_and_may_be_corrected() -> None:
    three = plan(baseline=0.2, minimal_effect=0.25, variants=3)
    assert (three.per_variant, three.total, three.alpha) == (1_094, 3_282, 0.05)
    corrected = plan(baseline=0.2, minimal_effect=0.25, variants=3, correction="bonferroni")
    assert corrected.alpha == 0.025
    assert corrected.per_variant > three.per_variant


@pytest.mark.parametrize(
    "parts",
    [
        {"minimal_effect": 0},
        {"minimal_effect": 9.1},
        {"minimal_effect": -1},
        {"minimal_effect": 1e-300},
        {"minimal_effect": 1e-7},
        {"minimal_effect": 1e308},
    ],
)
def test_refuses_effects_that_no_share_can_have(parts: dict[str, float]) -> None:
    with pytest.raises(RequestError) as refused:
        plan(**({"baseline": 0.1} | parts))
    assert refused.value.code == "bad_effect"


@pytest.mark.parametrize(
    "parts",
    [
        {"baseline": 0},
        {"baseline": 1},
        {"power": 0.49},
        {"power": 0.9991},
        {"alpha": 0.51},
        {"alpha": 0.000_000_9},
        {"variants": 1},
        {"variants": 11},
        {"daily_subjects": 0.000_9},
        {"daily_subjects": 1.1e12},
        {"effect": "both"},
        {"correction": "some"},
        {"baseline": "0.1"},
    ],
)
def test_refuses_what_is_out_of_bounds(parts: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as refused:
        plan(**({"baseline": 0.1, "minimal_effect": 0.1} | parts))
    assert refused.value.code == "bad_request"


@pytest.mark.parametrize(
    "parts",
    [
        {"power": 0.5},
        {"power": 0.999},
        {"alpha": 0.5},
        {"alpha": 0.000_001},
        {"variants": 10},
        {"daily_subjects": 0.001},
    ],
)
def test_takes_what_is_just_within(parts: dict[str, Any]) -> None:
    assert plan(**({"baseline": 0.1, "minimal_effect": 0.1} | parts)).per_variant > 0


@given(
    baseline=st.floats(0, 1, exclude_min=True, exclude_max=True),
    effect=st.floats(-10, 10),
    kind=st.sampled_from(("relative", "absolute")),
    daily=st.floats(0.001, 1e12),
)
def test_always_a_plan_or_a_refusal(baseline: float, effect: float, kind: str, daily: float) -> None:
    parts = {"baseline": baseline, "minimal_effect": effect, "effect": kind, "daily_subjects": daily}
    expected = baseline * (1 + effect) if kind == "relative" else baseline + effect
    with suppress(RequestError):  # any other error fails the test
        answer = plan(**parts)
        assert 0 < expected < 1
        assert answer.total == 2 * answer.per_variant > 0
        assert answer.days is not None
