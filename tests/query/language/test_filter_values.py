"""Values of filters: what `""` means, countries by any of their names, numbers, and which operators go with what."""

from __future__ import annotations

from typing import Any

import pytest

from analytics_server.errors import RequestError
from analytics_server.query.language.conditions import COMPARISONS, OPERATORS, normalise
from analytics_server.query.language.filters import parse_filters
from analytics_server.query.language.shapes import MAX_SEQUENCE, MIN_SEQUENCE

CLICK = ["is", "event:name", ["click"]]


def read(item: list[Any]) -> list[object]:
    (condition,) = parse_filters([item])
    return normalise(condition)


def refused(item: list[Any]) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse_filters([item])
    return caught.value


@pytest.mark.parametrize("name", ["visit:source", "visit:channel"])
@pytest.mark.parametrize("operator", ["is", "is_not", "matches_wildcard", "matches_wildcard_not"])
def test_nothing_is_direct_for_sources_and_channels(name: str, operator: str) -> None:
    assert read([operator, name, ["", "Google"]]) == [operator, name, ["Direct", "Google"]]
    inside = ["or", [["not", [operator, name, [""]]], ["has_done", [operator, name, [""]]]]]
    wanted = [operator, name, ["Direct"]]
    assert read(inside) == ["or", [["not", wanted], ["has_done", wanted]]]


@pytest.mark.parametrize("name", ["visit:referrer", "visit:utm_source", "visit:country", "visit:country_name"])
def test_nothing_stays_nothing_elsewhere(name: str) -> None:
    assert read(["is", name, [""]]) == ["is", name, [""]]


def test_no_text_contains_nothing() -> None:
    error = refused(["contains", "visit:source", ["a", ""]])
    assert error.code == "bad_filter"
    assert 'is and [""]' in error.message


@pytest.mark.parametrize(
    "text",
    ["DE", "de", "dE", "Germany", "GERMANY", "Deutschland", "  germany ", "Federal Republic of Germany"],
)
@pytest.mark.parametrize("operator", ["is", "is_not"])
def test_a_country_is_known_by_its_codes_and_names(text: str, operator: str) -> None:
    assert read([operator, "visit:country", [text]]) == [operator, "visit:country", ["DE"]]
    assert read([operator, "visit:country_name", [text]]) == [operator, "visit:country_name", ["Germany"]]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("the united states of america", "US"),
        ("UK", "GB"),
        ("GB", "GB"),
        ("Cote d\u2019Ivoire", "CI"),
        ("turkiye", "TR"),
        ("Turkey", "TR"),
        ("XK", "XK"),
        ("xx", "XX"),
        ("EU", "EU"),
        ("AP", "AP"),
        ("ZZ", "ZZ"),
        ("", ""),
    ],
)
def test_other_names_and_codes_of_no_country(text: str, code: str) -> None:
    assert read(["is", "visit:country", [text]]) == ["is", "visit:country", [code]]


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("Germny", "'Germany' (DE)"),
        ("USA", "'United States' (US)"),
        ("deu", "'Germany' (DE)"),
        ("Untied States", "'United States' (US)"),
        ("YY", ""),
        ("Atlantis", ""),
    ],
)
@pytest.mark.parametrize("name", ["visit:country", "visit:country_name"])
def test_an_unknown_country_is_refused_with_the_nearest(text: str, nearest: str, name: str) -> None:
    error = refused(["is_not", name, ["DE", text]])
    assert error.code == "unknown_country"
    assert repr(text) in error.message
    assert "filters[0][2][1]" in error.message
    assert nearest in error.message


def test_parts_of_countries_are_compared_as_they_are() -> None:
    assert read(["contains", "visit:country", ["D"]]) == ["contains", "visit:country", ["D"]]
    assert read(["matches", "visit:country_name", ["^Ger"]]) == ["matches", "visit:country_name", ["^Ger"]]


@pytest.mark.parametrize("operator", COMPARISONS)
@pytest.mark.parametrize(
    ("value", "shown"), [(75, 75), ("75", 75), (74.5, 74.5), ("74.50", 74.5), (-1, -1), (75.0, 75), ("075", 75)]
)
def test_numbers_are_compared_with_one_number(operator: str, value: object, shown: float) -> None:
    assert read([operator, "event:scroll_depth", [value]]) == [operator, "event:scroll_depth", [shown]]


@pytest.mark.parametrize("operator", COMPARISONS)
@pytest.mark.parametrize("values", [[], [1, 2], ["x"], [""], [True], [None], ["1e3"], [[1]], ["9" * 10], [1e300]])
def test_anything_else_is_no_number(operator: str, values: list[object]) -> None:
    error = refused([operator, "event:scroll_depth", values])
    assert (error.code, "one number" in error.message) == ("bad_filter", True)


@pytest.mark.parametrize("operator", COMPARISONS)
@pytest.mark.parametrize("name", ["event:page", "event:props:n", "visit:browser_version", "experiment:cta"])
def test_texts_are_not_compared_as_numbers(operator: str, name: str) -> None:
    error = refused([operator, name, [1]])
    assert error.code == "bad_filter"
    assert "event:scroll_depth" in error.message


def test_a_scroll_depth_is_one_of_its_tens() -> None:
    assert read(["is", "event:scroll_depth", [0, "90", 100]]) == ["is", "event:scroll_depth", ["0", "90", "100"]]
    for value in (75, "75", 110, -10, "", "x"):
        error = refused(["is_not", "event:scroll_depth", [value]])
        assert error.code == "bad_filter"
        assert "gte and lt" in error.message


@pytest.mark.parametrize("operator", [name for name in OPERATORS if name not in (*COMPARISONS, "is", "is_not")])
def test_a_number_holds_no_text(operator: str) -> None:
    error = refused([operator, "event:scroll_depth", ["9"]])
    assert error.code == "bad_filter"
    assert "gte" in error.message


@pytest.mark.parametrize("steps", [MIN_SEQUENCE, MAX_SEQUENCE])
def test_a_sequence_of_allowed_length(steps: int) -> None:
    assert read(["sequence", [CLICK] * steps]) == ["sequence", [CLICK] * steps]


@pytest.mark.parametrize(
    "item",
    [
        ["sequence", [CLICK] * (MIN_SEQUENCE - 1)],
        ["sequence", [CLICK] * (MAX_SEQUENCE + 1)],
        ["sequence", []],
        ["sequence"],
        ["sequence", CLICK],
        ["sequence", [CLICK, CLICK], {}],
        ["sequence", [CLICK, "click"]],
    ],
    ids=str,
)
def test_other_sequences_are_refused(item: list[Any]) -> None:
    assert refused(item).code == "bad_filter"


def test_a_sequence_counts_as_has_done() -> None:
    order = ["sequence", [CLICK, CLICK]]
    assert parse_filters([order] * 8)
    assert refused(["or", [order] * 8 + [["has_done", CLICK]]]).code == "bad_filter"


@pytest.mark.parametrize("operator", ["is", "contains", "matches_wildcard"])
def test_case_may_be_ignored_in_texts(operator: str) -> None:
    item = [operator, "event:page", ["/A"], {"case_sensitive": False}]
    assert read(item) == item


def test_regular_expressions_say_it_themselves() -> None:
    assert "(?i)" in refused(["matches", "event:page", ["a"], {"case_sensitive": False}]).message
