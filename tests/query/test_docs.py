"""docs/query-api.md names what can be asked, and its examples are valid questions."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from analytics_server.query.filters import OPERATORS
from analytics_server.query.request import Include, Pagination, QueryRequest, check_request, decode_request
from analytics_server.query.timerange import RANGE_NAMES
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


def test_names_every_error_code() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "analytics_server" / "query").glob("*.py"))
    codes = set(re.findall(r'code="(\w+)"', source)) - {"bad_site"}
    for code in codes:
        assert f"`{code}`" in PAGE, f"docs/query-api.md does not document the error {code}"
