"""docs/experiments.md names every key, limit, error code and number, and its examples are valid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analytics_server.analyses.experiments.answer import ResultsAnswer, RevenueResult, SampleRatio, VariantResult
from analytics_server.analyses.experiments.definition import (
    DEFAULT_WINDOW_S,
    MAX_GOALS,
    MAX_VARIANTS,
    MAX_WEIGHT,
    ExperimentRequest,
    Variant,
)
from analytics_server.analyses.experiments.planning import PlanAnswer, PlanRequest, plan_experiment
from analytics_server.analyses.experiments.results import MAX_BREAKDOWN, ResultsRequest
from analytics_server.analyses.experiments.routes import ASSIGN_MAX_AGE_S, SUBJECT_CHARS, Assignment
from analytics_server.analyses.experiments.saved_experiments import ExperimentChange

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
EXAMPLES: list[dict[str, Any]] = [
    msgspec.json.decode(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
]


def test_requests_are_valid_and_complete() -> None:
    msgspec.convert(EXAMPLES[0], ExperimentRequest)
    msgspec.convert(EXAMPLES[1], Assignment)
    assert EXAMPLES[3].keys() == set(PlanRequest.__struct_fields__)


def test_the_answer_s_example_has_every_key() -> None:
    answer = msgspec.convert(EXAMPLES[2] | {"meta": {}}, dict[str, Any])
    assert answer.keys() == set(ResultsAnswer.__struct_fields__)
    assert answer["variants"][0].keys() == set(VariantResult.__struct_fields__)
    assert answer["variants"][0]["revenue"][0].keys() == set(RevenueResult.__struct_fields__)
    assert answer["sample_ratio"].keys() == set(SampleRatio.__struct_fields__)


def test_the_plan_s_example_is_what_the_plan_says() -> None:
    answer = plan_experiment(msgspec.convert(EXAMPLES[3], PlanRequest))
    assert msgspec.to_builtins(answer) == EXAMPLES[4]
    assert EXAMPLES[4].keys() == set(PlanAnswer.__struct_fields__)


@pytest.mark.parametrize("kind", [ExperimentRequest, ExperimentChange, Variant, ResultsRequest, PlanRequest])
def test_names_every_key(kind: type[msgspec.Struct]) -> None:
    for name in kind.__struct_fields__:
        assert f"`{name}`" in PAGE, f"docs/experiments.md does not document {name}"


def test_names_every_number() -> None:
    spoken = {"name", "is_control", "exposures", "conversions"}
    for name in set(VariantResult.__struct_fields__) - spoken:
        assert f"`{name}`" in PAGE, f"docs/experiments.md does not explain {name}"


def test_names_every_error_code() -> None:
    sources = (ROOT / "analytics_server" / "analyses" / "experiments").glob("*.py")
    codes = {code for source in sources for code in re.findall(r'code="(\w+)"', source.read_text(encoding="utf-8"))}
    shared = (ROOT / "docs" / "query-api.md").read_text(encoding="utf-8")
    assert {"no_goal", "key_taken", "bad_subject"} <= codes, "the pattern no longer finds the codes"
    for code in codes:
        assert f"`{code}`" in PAGE + shared, f"docs/experiments.md does not document the error {code}"


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (MAX_VARIANTS, "2 to 10, each with a `name`"),
        (MAX_GOALS, "Up to 10. A text"),
        (MAX_WEIGHT, "0.000001 to 1,000,000"),
        (DEFAULT_WINDOW_S // 86_400, "30 days if left out"),
        (MAX_BREAKDOWN, "1 to 20, 10 if left out"),
        (SUBJECT_CHARS, "1 to 256 characters"),
        (ASSIGN_MAX_AGE_S, "max-age=60"),
    ],
)
def test_names_every_limit(limit: int, text: str) -> None:
    assert f"{limit:,}" in text
    assert text in PAGE
