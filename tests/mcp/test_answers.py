"""Cutting and marking by themselves: never over the limits, never more than was there, nothing that ends the marks."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_server.config import McpSection
from analytics_server.errors import TooLarge
from analytics_server.mcp.answers import DECODER, bounded, escaped, failed_result, marked, tool_result
from analytics_server.mcp.messages import Json
from tests.mcp.assistant import inside

LIMITS = McpSection(rows=10, answer_bytes=4_096)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=30,
)


def lists_in(value: Any) -> list[list[Any]]:
    """All lists but those right inside a list, which are a row's cells."""
    if isinstance(value, dict):
        return [found for inner in value.values() for found in lists_in(inner)]
    if not isinstance(value, list):
        return []
    return [value, *(found for inner in value if not isinstance(inner, list) for found in lists_in(inner))]


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["rows", "results", "meta", "query"]), JSON))
def test_an_answer_is_cut_only_where_it_is_too_long(answer: dict[str, Any]) -> None:
    whole = {key: value for key, value in answer.items() if key != "query"}
    found = bounded(answer, LIMITS)

    assert all(len(each) <= LIMITS.rows for key in whole for each in lists_in(found.value[key]))
    assert found.value.get("query") == answer.get("query")
    assert bool(found.cut) == any(len(each) > LIMITS.rows for each in lists_in(whole))
    assert found.cut or found.value == answer


@pytest.mark.parametrize(("rows", "cut"), [(10, []), (11, [{"at": "rows", "shown": 10, "of": 11}])])
def test_rows_at_the_limit_are_whole(rows: int, cut: list[object]) -> None:
    assert bounded({"rows": list(range(rows))}, LIMITS).cut == cut


@pytest.mark.parametrize(("characters", "shown"), [(4_085, None), (4_086, "refused")])
def test_bytes_at_the_limit_are_whole(characters: int, shown: str | None) -> None:
    answer = {"rows": "x" * (characters)}
    assert len(msgspec.json.encode(answer)) == characters + 11
    if shown is None:
        assert bounded(answer, LIMITS).value == answer
        return
    with pytest.raises(TooLarge, match="answer_bytes"):
        bounded(answer, LIMITS)


def test_rows_are_halved_until_they_fit() -> None:
    found = bounded({"rows": [["x" * 200, *"abcd"]] * 40, "steps": [{"returned": [0] * 12}]}, LIMITS)
    narrow = bounded({"rows": [["x" * 1_000, *"abcd"]] * 10}, LIMITS)

    assert found.cut == [{"at": "rows", "shown": 10, "of": 40}, {"at": "steps[0].returned", "shown": 10, "of": 12}]
    assert narrow.cut == [{"at": "rows", "shown": 2, "of": 10}]
    assert narrow.value["rows"] == [["x" * 1_000, *"abcd"]] * 2


@pytest.mark.parametrize(
    ("named", "row"),
    [
        ({"columns": [{"name": f"c{number}"} for number in range(12)]}, ["x" * 100] * 12),
        ({"metrics": ["visitors"] * 12}, {"visitors": "x" * 1_000}),
        ({"pageviews_per_minute": [0] * 30}, {"page": "x" * 1_000}),
        ({"sources": ["short"] * 10}, {"page": "x" * 1_000}),
        ({}, {"dimensions": ["x" * 100] * 12, "metrics": [1] * 12}),
    ],
)
def test_what_names_cells_stays_whole_and_so_does_what_is_short(named: dict[str, object], row: object) -> None:
    found = bounded({**named, "rows": [row] * 10}, LIMITS)

    assert [(cut["at"], cut["of"]) for cut in found.cut] == [("rows", 10)]
    assert found.value == {**named, "rows": [row] * found.cut[0]["shown"]}


def test_the_columns_of_tables_are_rows() -> None:
    columns = [{"name": f"c{number}"} for number in range(12)]

    assert bounded({"tables": [{"columns": columns}]}, LIMITS).cut == [
        {"at": "tables[0].columns", "shown": 10, "of": 12}
    ]


@pytest.mark.parametrize("reproduce", [{}, {"body": "x" * 2_000}])
def test_bytes_are_those_of_what_is_sent(reproduce: Json) -> None:
    result = tool_result({"rows": ["<" * 100] * 10}, LIMITS, definitions={}, reproduce=reproduce)
    told = inside(result["content"][0]["text"])
    cut = msgspec.json.decode(told)["cut"]

    assert len(told.encode()) <= LIMITS.answer_bytes
    assert cut == [{"at": "rows", "shown": 2 if reproduce else 5, "of": 10}]


def test_numbers_are_sent_as_they_were_written() -> None:
    numbers = "123456789012.12345,0.1,1.10,12345678901234567890123456789,-0.0"
    result = tool_result(DECODER.decode(f'{{"rows":[[{numbers}]]}}'), LIMITS, definitions={}, reproduce={})

    assert f"[[{numbers}]]" in result["content"][0]["text"]
    assert f"[[{numbers}]]" in msgspec.json.encode(result["structuredContent"]).decode()


def test_a_refusal_holds_no_control_characters() -> None:
    result = failed_result("bad_query", "There is no\n'\x1b[2J\r\x00'.")

    assert inside(result["content"][0]["text"]) == "bad_query: There is no\n'\\u001b[2J\\u000d\\u0000'."


@given(st.text(max_size=60))
def test_nothing_in_a_text_ends_the_marks_or_changes_it(text: str) -> None:
    encoded = msgspec.json.encode({"t": text}).decode() if text.isprintable() else ""
    whole = marked(encoded)

    assert msgspec.json.decode(inside(whole)) == {"t": text} if encoded else inside(whole) == ""


@pytest.mark.parametrize(
    "hidden",
    [
        *("\u200b", "\u202e", "\u2066", "\ufeff", "\U000e0020", "\u00ad", "\x85", "\u034f", "\u115f", "\u1160"),
        *("\u17b4", "\u17b5", "\u180b", "\u180f", "\u2800", "\u3164", "\uffa0", "\ufff0", "\ufff8"),
        *("\U0001bca0", "\U0001bca3", "\U0001d173", "\U0001d17a"),
    ],
)
def test_what_cannot_be_seen_is_escaped(hidden: str) -> None:
    told = escaped(msgspec.json.encode([f"a{hidden}b"]).decode())

    assert hidden not in told
    assert msgspec.json.decode(told) == [f"a{hidden}b"]
