"""docs/sql.md names every error, limit and format, and its example is a query that can be asked."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from analytics_server.sql import service
from analytics_server.sql.answer import FORMATS, SqlMeta
from analytics_server.sql.guard import Guard
from analytics_server.sql.printer import asked_settings, calls, dialect, functions, parameters, relations, sizes, weight
from analytics_server.sql.service import SqlRequest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
SOURCE = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "analytics_server" / "sql").rglob("*.py"))


def test_example_is_a_query_that_can_be_asked(guard: Guard) -> None:
    example = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0]
    request = msgspec.json.decode(example, type=SqlRequest)
    assert guard.check(request.query, request.params, sites={request.site_id: ()}, database="d").parameters


def test_all_examples_are_json() -> None:
    for example in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL):
        assert isinstance(msgspec.json.decode(example), dict)


def test_names_every_error_code() -> None:
    codes = {
        *re.findall(r'code = "(\w+)"', SOURCE),
        *re.findall(r'code="(\w+)"', SOURCE),
        *re.findall(r'TOO_BIG = "(\w+)"', SOURCE),
        *re.findall(r'"((?:bad|unknown|sql|unsupported)_\w+)"', SOURCE),
    } - {"sql_mode"}
    assert {"bad_sql", "sql_not_allowed", "sql_too_big", "busy", "unknown_type"} <= codes, "the pattern finds nothing"
    for code in codes:
        assert f"`{code}`" in PAGE, f"docs/sql.md does not document the error {code}"


def test_names_keys_formats_and_meta() -> None:
    for name in (*SqlRequest.__struct_fields__, *FORMATS):
        assert f"`{name}`" in PAGE or f"={name}`" in PAGE, f"docs/sql.md does not document {name}"
    for name in SqlMeta.__struct_fields__:
        assert f'"{name}"' in PAGE


def test_names_the_limits() -> None:
    for number, words in (
        (dialect.MAX_DEPTH, "{} deep at most"),
        (weight.MAX_NODES, "{} parts"),
        (weight.MAX_EXPANDED, "{} parts"),
        (weight.MAX_SELECTS, "{} SELECTs"),
        (weight.MAX_NESTED_LAMBDAS, "{} lambdas inside"),
        (calls.MAX_LAMBDA_DEPTH, "lambdas {} deep"),
        (functions.MAX_COMBINATORS, "{} endings"),
        (parameters.MAX_PARAMETERS, "{} at most"),
        (parameters.MAX_TEXT_CHARS, "{} characters"),
        (parameters.MAX_ELEMENTS, "{} elements"),
        (service.BLOCK_ROWS, "({} at most)"),
        (service.RECURSIONS, "{} rounds at most"),
        (relations.MAX_NUMBERS, "up to {} numbers"),
        (calls.COMPARED_BYTES, "first {} bytes"),
        (sizes.MOST_TIMES, "has {} elements at most"),
        (int(service.OVERTIME_S), "{} seconds after"),
    ):
        assert words.format(f"{number:,}") in " ".join(PAGE.split()), words
    for ending in (*functions.COMBINATORS, *functions.STATES):
        assert f"`{ending}`" in PAGE
    for name in (*asked_settings.FOLLOWED, *asked_settings.UNFOLLOWED):
        assert f"`{name}`" in PAGE
