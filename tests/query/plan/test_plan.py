"""The cheapest table that is exact is chosen, and what has no meaning is refused."""

from __future__ import annotations

from typing import Any

import pytest

from analytics_server.errors import RequestError
from analytics_server.query.plan.coverage import kept_dimension
from analytics_server.query.plan.plan import make_plan
from tests.query.questions import question


def tables(**parts: Any) -> dict[str, str]:
    asked, range_ = question(**parts)
    return {metric.name: part.table.value for part in make_plan(asked, range_).parts for metric in part.metrics}


ALL = ["visitors", "pageviews", "events", "sessions", "bounce_rate", "session_duration", "views_per_session"]


def test_headline_reads_traffic_and_sessions() -> None:
    found = tables(metrics=ALL)
    assert [found[name] for name in ALL] == ["traffic"] * 3 + ["sessions"] * 4


@pytest.mark.parametrize(
    ("parts", "table"),
    [
        ({"dimensions": ["time:hour"]}, "traffic"),
        ({"dimensions": ["time:month", "event:name"]}, "traffic"),
        ({"filters": [["contains", "event:name", ["a"]]]}, "traffic"),
        ({"dimensions": ["time:minute"]}, "events"),
        ({"date_range": ["2025-01-01T00:00", "2025-01-01T00:15"]}, "traffic"),
        ({"date_range": ["2025-01-01T00:00", "2025-01-01T00:14"]}, "events"),
        ({"date_range": "realtime"}, "events"),
        ({"exact": True}, "events"),
        ({"dimensions": ["event:page"]}, "events"),
        ({"dimensions": ["visit:source"]}, "session_parts"),
        ({"dimensions": ["visit:entry_page", "time:week"]}, "session_parts"),
        ({"filters": [["is", "visit:country", ["DE"]]]}, "session_parts"),
        ({"filters": [["is", "visit:country", ["DE"]]], "dimensions": ["time:hour"]}, "events"),
        ({"filters": [["is", "event:name", ["x"]]], "dimensions": ["visit:source"]}, "events"),
        ({"dimensions": ["visit:source"], "exact": True}, "events"),
        ({"metrics": ["percentage"]}, "events"),
        ({"metrics": ["percentage"], "dimensions": ["visit:source"]}, "session_parts"),
    ],
)
def test_visitors_read_the_cheapest_table(parts: dict[str, Any], table: str) -> None:
    assert tables(**parts) == {"visitors": table}


@pytest.mark.parametrize(
    ("metric", "dimensions", "table"),
    [
        ("sessions", ["visit:source", "time:hour"], "sessions"),
        ("sessions", ["event:page"], "views"),
        ("bounce_rate", ["event:page", "visit:source"], "entries"),
        ("session_duration", ["time:minute"], "sessions"),
    ],
)
def test_session_metrics_read_sessions(metric: str, dimensions: list[str], table: str) -> None:
    assert tables(metrics=[metric], dimensions=dimensions) == {metric: table}


@pytest.mark.parametrize(
    ("metric", "dimension"),
    [
        ("session_duration", "event:page"),
        ("views_per_session", "event:name"),
        ("session_duration", "experiment:cta"),
        ("bounce_rate", "event:props:plan"),
        ("bounce_rate", "event:title"),
    ],
)
def test_refuses_session_metrics_by_event_dimensions_without_meaning(metric: str, dimension: str) -> None:
    asked, range_ = question(metrics=[metric], dimensions=[dimension])
    with pytest.raises(RequestError) as caught:
        make_plan(asked, range_)
    assert caught.value.code == "unsupported_combination"
    assert metric in caught.value.message
    assert dimension in caught.value.message


@pytest.mark.parametrize(
    ("filters", "table"),
    [
        ([["is", "event:page", ["/"]]], "entries"),
        ([["not", ["or", [["contains", "event:page", ["a"]], ["is", "event:name", ["x"]]]]]], "entries"),
        ([["has_done", ["is", "event:page", ["/"]]]], "sessions"),
        ([["is", "visit:entry_page", ["/"]]], "sessions"),
        ([["is", "event:title", ["x"]]], "sessions"),
    ],
)
def test_bounces_with_a_filter_on_pages_are_of_entries(filters: list[Any], table: str) -> None:
    found = tables(metrics=["bounce_rate", "session_duration"], filters=filters)
    assert found == {"bounce_rate": table, "session_duration": "sessions"}


@pytest.mark.parametrize(
    ("parts", "exits", "pageviews"),
    [
        ({}, "exits", "traffic"),
        ({"dimensions": ["event:page", "visit:exit_page", "time:hour"]}, "exits", "events"),
        ({"dimensions": ["visit:source"]}, "exits", "session_parts"),
        ({"filters": [["is", "event:page", ["/"]], ["has_done", ["is", "event:title", ["x"]]]]}, "exits", "events"),
        ({"dimensions": ["event:title"]}, "exit_events", "events"),
        ({"filters": [["is", "event:props:plan", ["x"]]]}, "exit_events", "events"),
    ],
)
def test_an_exit_rate_reads_exits_and_page_views_apart(parts: dict[str, Any], exits: str, pageviews: str) -> None:
    assert tables(metrics=["exit_rate"], **parts) == {"exits": exits, "pageviews": pageviews}


def test_names_the_tables_that_were_read() -> None:
    asked, range_ = question(metrics=["visitors", "sessions"], dimensions=["visit:source"])
    assert make_plan(asked, range_).table == "sessions+events"


@pytest.mark.parametrize(
    ("path", "kept"), [("/x", "event:page"), ("/é", None), ("/%C3%A9", None), ("/a b", None), ("/a%2Fb", None)]
)
def test_a_path_of_several_spellings_is_not_added_up(path: str, kept: str | None) -> None:
    asked, _ = question(filters=[["is", "event:page", [path]]])
    assert kept_dimension(asked) == kept


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        *((name, True) for name in ("Google", "google", "GOOGLE", "fb", "Direct", "", "newsletter", "blog.example")),
        # Versions before stored these as they were sent.
        *((name, False) for name in ("Newsletter", "google-ads", "WWW.blog.example", "xn--mller-kva.example")),
    ],
)
def test_a_source_of_one_spelling_is_added_up(source: str, kept: bool) -> None:
    asked, _ = question(filters=[["is", "visit:source", [source]]])
    assert kept_dimension(asked) == ("visit:source" if kept else None)
    asked, _ = question(filters=[["is", "visit:source", [source]]], dimensions=["visit:source"])
    assert kept_dimension(asked) == "visit:source"
