"""docs/query-api.md names what can be asked, and its examples are valid questions."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from analytics_server.query.compared_rows import MAX_FOUND_ROWS, MAX_PASSED_ROWS
from analytics_server.query.context import MAX_FOLDED_CHARS
from analytics_server.query.language.conditions import OPERATORS
from analytics_server.query.language.filter_values import (
    MAX_NEEDLES,
    MAX_PATTERN_CHARS,
    MAX_PATTERNS,
    MAX_VALUE_CHARS,
    MAX_VALUES,
)
from analytics_server.query.language.filters import COMBINING, MAX_DEPTH, MAX_DONE, MAX_FILTERS
from analytics_server.query.language.request import (
    DEFAULT_LIMIT,
    MAX_GOALS,
    MAX_ORDERS,
    Include,
    Pagination,
    QueryRequest,
    check_request,
    decode_request,
)
from analytics_server.query.language.shapes import MAX_DIMENSIONS, MAX_METRICS, MAX_SEQUENCE
from analytics_server.query.language.time_range import MAX_DAYS_BACK, MAX_MONTHS_BACK, RANGE_NAMES
from analytics_server.query.trends import PARAMETERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "query-api.md").read_text(encoding="utf-8")


def test_the_first_example_is_a_valid_question() -> None:
    example = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0]
    assert check_request(decode_request(example.encode(), QueryRequest), max_rows=1_000).limit == 100


def test_all_examples_are_json() -> None:
    for example in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL):
        assert isinstance(msgspec.json.decode(example), dict)


def test_names_every_key_operator_range_and_parameter() -> None:
    keys = [name for name in QueryRequest.__struct_fields__ if name not in ("include", "pagination")]
    keys += [f"include.{name}" for name in Include.__struct_fields__]
    keys += [f"pagination.{name}" for name in Pagination.__struct_fields__]
    for name in (*keys, *OPERATORS, *RANGE_NAMES, *PARAMETERS):
        assert f"`{name}`" in PAGE, f"docs/query-api.md does not document {name}"
    for name in COMBINING:
        assert f'["{name}", ' in PAGE, f"docs/query-api.md does not document {name}"


def test_names_every_error_code() -> None:
    folder = ROOT / "analytics_server" / "query"
    # Those of saved things are documented in docs/saved.md.
    files = [path for path in folder.rglob("*.py") if path.parent.name != "saved_kinds"]
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    codes = set(re.findall(r'code="(\w+)"', source)) - {"bad_site"} | {"unknown_goal", "unknown_segment"}
    for code in codes:
        assert f"`{code}`" in PAGE, f"docs/query-api.md does not document the error {code}"


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (MAX_METRICS, "1 to {} of the"),
        (MAX_DIMENSIONS, "Up to {} [dimensions]"),
        (MAX_DEPTH, "up to {} deep"),
        (MAX_FILTERS, "deep and {} in all"),
        (MAX_DONE, "Up to {} of them"),
        (MAX_SEQUENCE, "2 to {} filters"),
        (MAX_GOALS, "more than {} goals"),
        (MAX_ORDERS, "Up to {} metrics or dimensions"),
        (DEFAULT_LIMIT, "| {} and 0;"),
        (MAX_VALUES, "Up to {} values"),
        (MAX_VALUE_CHARS, "{} characters each"),
        (MAX_FOLDED_CHARS, "up to {} characters together"),
        (MAX_NEEDLES, "{} for `contains`"),
        (MAX_PATTERNS, "{} patterns"),
        (MAX_PATTERN_CHARS, "of {} characters"),
        (MAX_DAYS_BACK, "From `1d` to `{}d`"),
        (MAX_MONTHS_BACK, "From `1mo` to `{}mo`"),
        (MAX_FOUND_ROWS, "{} of them in either range"),
        (MAX_PASSED_ROWS, "the first {} can be shown"),
    ],
)
def test_names_every_limit(limit: int, said: str) -> None:
    assert said.format(limit) in PAGE.replace("\n", " ").replace(",", "")
