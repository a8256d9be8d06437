"""Goals, segments and has_done: what they stand for, and what can't be asked of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from analytics_server.errors import RequestError
from analytics_server.query.dimensions import find_dimension
from analytics_server.query.language.conditions import (
    Condition,
    Match,
    SavedFilter,
    matches,
    normalise,
    patterns,
)
from analytics_server.query.language.filter_classes import classify
from analytics_server.query.language.filters import parse_filters
from analytics_server.query.language.library import SavedGoal
from analytics_server.query.language.saved_filters import GoalBody, goal_conditions
from analytics_server.query.parameters import Binder
from analytics_server.query.sql.comparisons import MOST_SEARCHED
from analytics_server.query.sql.render import render_on_events
from analytics_server.query.sql.select import Expression, compose_list, print_line, select
from analytics_server.spelling.case_folding import pattern


def matched(expression: str) -> str:
    """The comparison of a page's host with a regular expression, as SQL."""
    escaped = expression.replace("\\", "\\\\")
    return f"match(e.hostname, '{escaped}')"


BUY = ["is", "event:name", ["buy"]]


@dataclass(slots=True)
class SavedInMemory:
    """A library in two dictionaries."""

    saved_goals: Mapping[str, GoalBody] = field(default_factory=dict)
    saved_segments: Mapping[str, list[Any]] = field(default_factory=dict)

    def goal(self, id_or_name: str, *, place: str) -> SavedGoal:
        if id_or_name not in self.saved_goals:
            raise RequestError(place, code="unknown_goal")
        body = self.saved_goals[id_or_name]
        return SavedGoal(id_or_name, goal_conditions(body, place), body.currency)

    def goals(self) -> list[SavedGoal]:
        return [self.goal(name, place=name) for name in self.saved_goals]

    def segment(self, id_or_name: str, *, place: str) -> tuple[Condition, ...]:
        if id_or_name not in self.saved_segments:
            raise RequestError(place, code="unknown_segment")
        return parse_filters(self.saved_segments[id_or_name], place=place)


SAVED = SavedInMemory(
    {"Bought": GoalBody(event="buy"), "Bought more": GoalBody(event="buy", filters=(["is", "event:props:n", ["2"]],))},
    {"Germans": [["is", "visit:country", ["DE"]], ["matches", "event:page", ["^/de"]]]},
)


def printed(condition: Expression) -> str:
    return print_line(select([condition], None)).removeprefix("SELECT ")


def sql(*filters: Any) -> str:
    binder = Binder()
    text = printed(compose_list(" AND ", render_on_events(parse_filters(filters, SAVED), binder)))
    for name, value in binder.values.items():
        text = text.replace(f"{{{name}:Array(String)}}", repr(value)).replace(f"{{{name}:String}}", repr(value))
    return " ".join(text.split())


def test_a_goal_stands_for_its_conditions() -> None:
    assert sql(["goal", "Bought more"]) == "(e.name IN ['buy'] AND e.props['n'] IN ['2'])"
    assert sql(["is", "event:goal", ["Bought"]]) == "e.name IN ['buy']"
    assert sql(["is_not", "event:goal", ["Bought"]]) == "NOT (e.name IN ['buy'])"


@pytest.mark.parametrize(
    "item", [["segment", "Germans"], ["segment", ["Germans"]], ["is", "segment", ["Germans"]]], ids=str
)
def test_a_segment_stands_for_its_conditions(item: list[Any]) -> None:
    assert sql(item) == "(e.country IN ['DE'] AND (match(e.path, '^/de')))"
    assert patterns(parse_filters([item], SAVED)) == ("^/de",)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (["is", "event:page", ["/caf%C3%A9"]], "e.path IN ['/caf%C3%A9', '/café', '/caf%c3%a9']"),
        (["is", "event:page", ["/café", "/x"]], "e.path IN ['/café', '/caf%C3%A9', '/caf%c3%a9', '/x']"),
        (
            ["is_not", "visit:referrer", ["a.example/ä"]],
            "NOT (e.referrer IN ['a.example/ä', 'a.example/%C3%A4', 'a.example/%c3%a4'])",
        ),
        (["contains", "event:page", ["é"]], "multiSearchAny(e.path, ['é', '%C3%A9', '%c3%a9'])"),
        (["is", "event:page", ["/x"]], "e.path IN ['/x']"),
        (["is", "visit:utm_term", ["é"]], "e.utm_term IN ['é']"),
        (["matches", "event:page", ["é"]], "(match(e.path, 'é'))"),
    ],
    ids=str,
)
def test_a_path_is_found_in_every_spelling(item: list[Any], expected: str) -> None:
    assert sql(item) == expected
    assert [normalise(condition) for condition in parse_filters([item])] == [item]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (["is", "event:hostname", ["example.com"]], "e.hostname IN ['example.com']"),
        (["is", "event:hostname", ["Example.com:80"]], "e.hostname IN ['Example.com:80', 'example.com']"),
        (["is", "event:hostname", ["müller.example"]], "e.hostname IN ['müller.example', 'xn--mller-kva.example']"),
        (
            ["is_not", "event:hostname", ["xn--mller-kva.example"]],
            "NOT (e.hostname IN ['xn--mller-kva.example', 'müller.example'])",
        ),
        (
            ["is", "event:hostname", ["Example.com", "MÜLLER.example"], {"case_sensitive": False}],
            matched(
                rf"\A(?:{pattern('Example.com')}|{pattern('MÜLLER.example')}|{pattern('xn--mller-kva.example')})\z"
            ),
        ),
        (["contains", "event:hostname", ["."]], "multiSearchAny(e.hostname, ['.'])"),
        (["contains", "event:hostname", ["müller"]], "multiSearchAny(e.hostname, ['müller', 'xn--mller-kva'])"),
        (
            ["matches_wildcard", "event:hostname", ["*.müller.example"]],
            r"(match(e.hostname, '(?s)\\A.*\\.müller\\.example\\z')"
            r" OR match(e.hostname, '(?s)\\A.*\\.xn\\-\\-mller\\-kva\\.example\\z'))",
        ),
        (["is", "visit:referrer", ["google.com"]], "e.referrer IN ['google.com']"),
        (
            ["is", "visit:referrer", ["xn--mller-kva.example/a"]],
            "e.referrer IN ['xn--mller-kva.example/a', 'müller.example/a', 'm%C3%BCller.example/a',"
            " 'm%c3%bcller.example/a']",
        ),
        (
            ["is", "visit:referrer", ["https://www.Example.com:8080/a/?b=c#d"]],
            "e.referrer IN ['https://www.Example.com:8080/a/?b=c#d', 'example.com/a']",
        ),
        (["is_not", "visit:referrer", ["www.example.com/"]], "NOT (e.referrer IN ['www.example.com/', 'example.com'])"),
        (["contains", "visit:referrer", ["www.example.com/"]], "multiSearchAny(e.referrer, ['www.example.com/'])"),
        (["is", "visit:source", ["Google"]], "e.source IN ['Google']"),
        (["is", "visit:source", ["google", "FB"]], "e.source IN ['Google', 'Facebook']"),
        (["is", "visit:source", ["Newsletter"]], "e.source IN ['Newsletter', 'newsletter']"),
        (["is", "visit:source", ["Google Ads"]], "e.source IN ['Google Ads']"),
        (["is_not", "visit:source", ["fb-ads"]], "NOT (e.source IN ['fb-ads', 'Facebook'])"),
        (["contains", "visit:source", ["GOO"]], "multiSearchAny(e.source, ['GOO'])"),
        (["matches_wildcard", "visit:source", ["google"]], r"(match(e.source, '(?s)\\AGoogle\\z'))"),
        (["matches_wildcard", "visit:source", ["goo*"]], r"(match(e.source, '(?s)\\Agoo.*\\z'))"),
        (
            ["is", "visit:source", ["xn--mller-kva.example"]],
            "e.source IN ['xn--mller-kva.example', 'müller.example']",
        ),
        (["matches", "event:hostname", ["müller"]], "(match(e.hostname, 'müller'))"),
    ],
    ids=str,
)
def test_a_host_is_found_in_every_spelling(item: list[Any], expected: str) -> None:
    assert sql(item) == expected
    assert [normalise(condition) for condition in parse_filters([item])] == [item]


@pytest.mark.parametrize("name", ["event:hostname", "event:page", "visit:source"])
def test_every_spelling_is_searched_in_parts_that_clickhouse_takes(name: str) -> None:
    values = tuple(f"xn--{number}-ü%C3%BC" for number in range(200))
    match = Match(find_dimension(name), "contains", values, negated=False)
    binder = Binder()
    (condition,) = render_on_events([match], binder)
    bound = [value for value in binder.values.values() if isinstance(value, list | tuple)]
    assert max(map(len, bound)) <= MOST_SEARCHED < len(match.spellings)
    assert [text for part in bound for text in part] == list(match.spellings)
    assert printed(condition).count("multiSearchAny") == len(bound)


def test_a_wildcard_and_a_goal_find_every_spelling() -> None:
    wanted = Match(find_dimension("event:page"), "matches_wildcard", ("/ü/*",), negated=False)
    assert wanted.spellings == ("/ü/*", "/%C3%BC/*", "/%c3%bc/*")
    assert sql(["matches_wildcard", "event:page", ["/ü/*"]]).count("match(") == 3


def test_several_names_are_alternatives_and_are_shown_by_name() -> None:
    found = parse_filters([["contains", "event:goal", ["BOUGHT"], {"case_sensitive": False}]], SAVED)
    assert [normalise(condition) for condition in found] == [["or", [["goal", "Bought"], ["goal", "Bought more"]]]]
    assert isinstance(parse_filters([["goal", "Bought"]], SAVED)[0], SavedFilter)


@pytest.mark.parametrize(
    ("wildcard", "options", "goals"),
    [
        ("Bought", [], ["Bought"]),
        ("*", [], ["Bought", "Bought more"]),
        ("Bought*", [], ["Bought", "Bought more"]),
        ("B*g*t m**e", [], ["Bought more"]),
        ("*more", [], ["Bought more"]),
        ("*BOUGHT", [{"case_sensitive": False}], ["Bought"]),
        ("B*t*t", [], []),
        ("Bought*t", [], []),
        ("bought", [], []),
        ("", [], []),
    ],
)
def test_goals_are_chosen_by_wildcards(wildcard: str, options: list[Any], goals: list[str]) -> None:
    left_out = sql(["matches_wildcard_not", "event:goal", [wildcard], *options])
    assert left_out == (sql(["is_not", "event:goal", goals]) if goals else "NOT ((0))")
    if goals:
        chosen = sql(["matches_wildcard", "event:goal", [wildcard], *options])
        assert chosen == sql(["is", "event:goal", goals])


@pytest.mark.parametrize("options", [[], [{"case_sensitive": False}]], ids=str)
@pytest.mark.parametrize("operator", ["is_not", "contains_not", "matches_wildcard_not"])
def test_to_leave_out_goals_that_do_not_exist_leaves_out_nothing(operator: str, options: list[Any]) -> None:
    item = [operator, "event:goal", ["Sold", "Lent"], *options]
    assert sql(item) == "NOT ((0))"
    (found,) = parse_filters([item], SAVED)
    assert normalise(found) == ["is_not", "event:goal", ["Sold"]]
    assert parse_filters([normalise(found)], SAVED) == (found,)
    assert sql([operator, "event:goal", ["Sold", "Bought more"], *options]) == sql(["not", ["goal", "Bought more"]])


def test_has_done_is_a_comparison_of_the_session() -> None:
    asked: list[Any] = ["has_not_done", ["and", [BUY, ["matches", "event:page", ["^/x"]]]]]
    found = parse_filters([asked], SAVED)
    assert [normalise(condition) for condition in found] == [asked]
    assert not classify(found).about_events
    assert [match.dimension.name for match in matches(found)] == ["session"]
    assert patterns(found) == ("^/x",)
    inner = "SELECT e.session_key FROM events AS e WHERE e.site_id = {site:String} AND e.name IN ['buy']"
    assert sql(["has_done", BUY]) == f"(e.session_key) IN ({inner})"
    assert sql(["has_not_done", BUY]) == f"(e.session_key) NOT IN ({inner})"


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (["goal", "Sold"], "unknown_goal"),
        (["is", "event:goal", ["Sold"]], "unknown_goal"),
        (["contains", "event:goal", ["Sold"]], "unknown_goal"),
        (["is", "event:goal", ["Sold"], {"case_sensitive": False}], "unknown_goal"),
        (["not", ["goal", "Sold"]], "unknown_goal"),
        (["is_not", "segment", ["Swiss"]], "unknown_segment"),
        (["matches", "event:goal", ["B"]], "bad_filter"),
        (["matches_not", "event:goal", ["B"]], "bad_filter"),
        (["matches_wildcard", "event:goal", ["S*"]], "unknown_goal"),
        (["matches_wildcard", "segment", ["G*"]], "bad_filter"),
        (["contains", "segment", ["Ger"]], "bad_filter"),
        (["segment", "Swiss"], "unknown_segment"),
        (["segment", []], "bad_filter"),
        (["segment"], "bad_filter"),
        (["segment", "Germans", 1], "bad_filter"),
        (["has_done", BUY, BUY], "bad_filter"),
        (["has_done", [BUY]], "bad_filter"),
    ],
)
def test_refuses_what_is_not_saved_or_can_not_be_read(item: list[Any], code: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_filters([item], SAVED)
    assert caught.value.code == code


def test_the_filters_of_goals_and_segments_count() -> None:
    saved = SavedInMemory({}, {"Many": [["is", "event:name", ["a"]]] * 63})
    assert parse_filters([["segment", "Many"], BUY], saved)
    with pytest.raises(RequestError):
        parse_filters([["segment", "Many"], BUY, BUY], saved)
