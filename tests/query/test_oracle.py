"""Every metric, dimension and filter against the brute-force oracle."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_server.errors import RequestError
from analytics_server.query.answer import Answer
from analytics_server.query.dimensions import DIMENSIONS, GOAL, Scope
from analytics_server.query.engine import QueryService
from analytics_server.query.language.filters import MAX_DONE
from tests.query.filter_reading import chosen_goals
from tests.query.oracle import (
    COUNTING_METRICS,
    EVENT_METRICS,
    GOAL_METRICS,
    NUMBERS,
    REVENUE_METRICS,
    SESSION_METRICS,
    Oracle,
)
from tests.query.world import (
    ATTRIBUTES,
    CENTRES,
    COUNTRY_NAMES,
    CURRENCIES,
    ELEMENTS,
    GOALS,
    HOSTS,
    NAMES,
    PATHS,
    PLANS,
    SITES,
    SOURCE_NAMES,
    TITLES,
)

EVENT_DIMENSIONS = [
    *(d.name for d in DIMENSIONS if d.scope is Scope.EVENT and not d.family and d is not GOAL),
    "event:props:plan",
    "event:props:größe",
    "experiment:cta",
]
SESSION_DIMENSIONS = [d.name for d in DIMENSIONS if d.scope is Scope.SESSION]
TIME_DIMENSIONS = [d.name for d in DIMENSIONS if d.scope is Scope.TIME and d.interval]

VALUES: dict[str, Sequence[str]] = {
    "event:name": NAMES,
    "event:page": PATHS,
    "event:hostname": HOSTS,
    "event:title": TITLES,
    "event:scroll_depth": tuple(str(depth) for depth in range(0, 101, 10)),
    "event:element": ELEMENTS,
    "event:props:plan": PLANS,
    "event:props:größe": ("1", ""),
    "experiment:cta": ("a", "b", ""),
    "event:currency": (*CURRENCIES, ""),
    "visit:entry_page": PATHS,
    "visit:exit_page": PATHS,
    "visit:entry_page_hostname": HOSTS,
    "visit:exit_page_hostname": HOSTS,
    **{f"visit:{name}": values for name, values in ATTRIBUTES.items()},
    "visit:source": (*ATTRIBUTES["source"], *SOURCE_NAMES, ""),
    "visit:channel": (*ATTRIBUTES["channel"], ""),
    "visit:country_name": (*ATTRIBUTES["country"], *COUNTRY_NAMES.values()),
}
KNOWN = ("visit:country", "visit:country_name", "event:scroll_depth")
"""Dimensions whose values are checked."""

NEEDLES = ("a", "b", "ü", "B", "/", "'", "\\", "%", "語", "ÜBER", "σίσυφος", "ς", "i", "ISTANBUL", "ss", "ß", "é", "E")
PATTERNS = ("^/blog", "a$", "[ab]", "ü|ß", "^$", r"\\", "(?i)GOOGLE")
WILDCARDS = ("/blog/*", "/blog/**", "**", "*", "/*", "*a*", "**/b", "/a'b\\c", "/%", "pro*", "*straße", "IST*", "")


def ask(service: QueryService, site_id: str, start: datetime, end: datetime, **parts: Any) -> Answer:
    body = {"site_id": site_id, "date_range": [start.isoformat(), end.isoformat()], "pagination": {"limit": 10_000}}
    return asyncio.run(service.run(msgspec.json.encode(body | parts)))


def check(
    service: QueryService,
    oracle: Oracle,
    site_id: str,
    start: datetime,
    end: datetime,
    *,
    metrics: Sequence[str],
    dimensions: Sequence[str] = (),
    filters: Sequence[Any] = (),
    exact: bool = False,
) -> Answer:
    """The service and the oracle give the same groups with the same values, or both see several currencies."""
    parts: dict[str, Any] = {"metrics": metrics, "dimensions": dimensions, "filters": filters, "exact": exact}
    if set(REVENUE_METRICS) & set(metrics) and "event:currency" not in dimensions:
        several = [found for found in oracle.currencies(dimensions, filters, start, end).values() if len(found) > 1]
        if several:
            with pytest.raises(RequestError) as caught:
                ask(service, site_id, start, end, **parts)
            assert caught.value.code == "several_currencies"
            assert any(all(code in caught.value.message for code in found) for found in several)
            parts["metrics"] = metrics = [name for name in metrics if name not in REVENUE_METRICS] or ["events"]
    answer = ask(service, site_id, start, end, **parts)
    found = {tuple(row.dimensions): row.metrics for row in answer.results}
    expected = oracle.answer(metrics, dimensions, filters, start, end)
    assert len(found) == len(answer.results), "a group appears twice"
    assert found.keys() == expected.keys(), f"{answer.meta.table}: other groups"
    for key, values in expected.items():
        assert found[key] == pytest.approx(values, abs=0.051), f"{answer.meta.table}: group {key}"
    return answer


def moments() -> st.SearchStrategy[datetime]:
    """Instants near the interesting days, often on quarter hours."""
    seconds = st.one_of(
        st.integers(-4 * 96, 4 * 96).map(lambda quarter: quarter * 900.0),
        st.integers(-345_600, 345_600).map(float),
        st.floats(-345_600, 345_600),
    )
    return st.builds(
        lambda centre, offset: (centre + timedelta(seconds=offset)).astimezone(UTC), st.sampled_from(CENTRES), seconds
    )


def ranges() -> st.SearchStrategy[tuple[datetime, datetime]]:
    lengths = st.one_of(st.integers(1, 4 * 24 * 20).map(lambda quarter: quarter * 900), st.integers(1, 200_000))
    near = st.builds(lambda start, length: (start, start + timedelta(seconds=length)), moments(), lengths)
    far = st.tuples(moments(), moments()).filter(lambda pair: pair[0] < pair[1])
    return st.one_of(near, near, far)


@st.composite
def matches(draw: st.DrawFn, names: Sequence[str]) -> list[Any]:
    name = draw(st.sampled_from(names))
    if name == "event:scroll_depth" and draw(st.booleans()):
        return [
            draw(st.sampled_from(tuple(NUMBERS))),
            name,
            [draw(st.sampled_from((-1, 0, 1, 30, 74.5, 75, 100, 300)))],
        ]
    methods = ("is",) if name == "event:scroll_depth" else ("is", "is", "contains", "matches", "matches_wildcard")
    method = draw(st.sampled_from(methods))
    pool: Sequence[str] = {
        "is": VALUES[name] if name in KNOWN else (*VALUES[name], "nowhere"),
        "contains": NEEDLES,
        "matches": PATTERNS,
        "matches_wildcard": (*WILDCARDS, *VALUES[name]),
    }[method]
    values = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=3))
    operator = draw(st.sampled_from((method, f"{method}_not")))
    options: list[Any] = []
    if method != "matches" and draw(st.booleans()):
        options = [{"case_sensitive": draw(st.booleans())}]
    return [operator, name, values, *options]


def goal_choices() -> st.SearchStrategy[list[Any]]:
    """Filters that choose goals."""
    names = st.sampled_from(tuple(GOALS))
    return st.one_of(
        st.tuples(st.just("goal"), names).map(list),
        st.builds(
            lambda operator, some: [operator, "event:goal", some],
            st.sampled_from(("is", "is", "is_not")),
            st.lists(names, min_size=1, max_size=2, unique=True),
        ),
        st.sampled_from(
            (
                ["contains", "event:goal", ["click", "front"]],
                ["contains_not", "event:goal", ["blog"]],
                ["contains_not", "event:goal", ["nowhere"]],
                ["matches_wildcard", "event:goal", ["*blog*", "Signed*"]],
                ["matches_wildcard_not", "event:goal", ["blog*", "Read**"]],
                ["is_not", "event:goal", ["nowhere", "Read the blog"]],
                ["is_not", "event:goal", ["nowhere"]],
            )
        ),
    )


SEGMENT_CHOICES: list[list[Any]] = [
    ["segment", "Germans"],
    ["segment", "Readers"],
    ["segment", "Bloggers"],
    ["is_not", "segment", ["Bloggers", "Germans"]],
    ["is", "segment", ["Germans", "Readers"]],
    ["is_not", "segment", ["Readers"]],
]


def trees(leaves: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[list[Any]]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(("and", "or")), st.lists(inner, min_size=1, max_size=3)).map(list),
            inner.map(lambda one: ["not", one]),
        ),
        max_leaves=4,
    )


def filter_lists(names: Sequence[str]) -> st.SearchStrategy[list[Any]]:
    return st.lists(trees(matches(names)), max_size=2)


def saved_filters(names: Sequence[str]) -> st.SearchStrategy[list[Any]]:
    """Filters with goals, segments, has_done and sequence among them."""
    done = st.tuples(st.sampled_from(("has_done", "has_not_done")), trees(matches(names))).map(list)
    steps = st.lists(st.one_of(matches(names), goal_choices()), min_size=2, max_size=4)
    order = steps.map(lambda found: ["sequence", found])
    leaves = st.one_of(matches(names), done, done, order, goal_choices(), st.sampled_from(SEGMENT_CHOICES))
    return st.lists(trees(leaves), max_size=2).filter(lambda filters: _reads_of_events(filters) <= MAX_DONE)


def _reads_of_events(filters: Sequence[Any]) -> int:
    """How many has_done and sequence there may be, those of goals ("Anything after a click") and segments included."""
    text = repr(filters)
    return sum(text.count(word) for word in ("has_done", "has_not_done", "sequence", "click", "Readers"))


def groupings(names: Sequence[str], most: int = 2) -> st.SearchStrategy[list[str]]:
    plain = st.lists(st.sampled_from(names), max_size=most, unique=True)
    timed = st.builds(lambda time, rest: [time, *rest], st.sampled_from(TIME_DIMENSIONS), plain)
    return st.one_of(plain, timed)


def some(names: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True)


sites = st.sampled_from(SITES)
many = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@many
@given(site=sites, span=ranges(), metrics=some(EVENT_METRICS), data=st.data(), exact=st.booleans())
def test_event_metrics_equal_the_oracle(
    service: QueryService, oracles: dict[str, Oracle], site: Any, span: Any, metrics: Any, data: Any, exact: bool
) -> None:
    dimensions = data.draw(groupings([*EVENT_DIMENSIONS, *SESSION_DIMENSIONS]))
    filters = data.draw(filter_lists([*EVENT_DIMENSIONS, *SESSION_DIMENSIONS]))
    oracle = oracles[site.site_id]
    check(service, oracle, site.site_id, *span, metrics=metrics, dimensions=dimensions, filters=filters, exact=exact)


@many
@given(site=sites, span=ranges(), metrics=some([*EVENT_METRICS, *SESSION_METRICS]), data=st.data())
def test_all_metrics_by_visit_dimensions_equal_the_oracle(
    service: QueryService, oracles: dict[str, Oracle], site: Any, span: Any, metrics: Any, data: Any
) -> None:
    names = data.draw(st.sampled_from(([*EVENT_DIMENSIONS, *SESSION_DIMENSIONS], SESSION_DIMENSIONS)))
    dimensions = data.draw(groupings(SESSION_DIMENSIONS))
    filters = data.draw(filter_lists(names))
    oracle = oracles[site.site_id]
    check(service, oracle, site.site_id, *span, metrics=metrics, dimensions=dimensions, filters=filters)


@many
@given(site=sites, span=ranges(), data=st.data())
def test_sessions_and_bounces_by_event_dimensions_equal_the_oracle(
    service: QueryService, oracles: dict[str, Oracle], site: Any, span: Any, data: Any
) -> None:
    names = [*EVENT_DIMENSIONS, *SESSION_DIMENSIONS]
    metrics = data.draw(st.sampled_from((["sessions"], ["visitors", "sessions"], ["bounce_rate", "sessions"])))
    others = SESSION_DIMENSIONS if "bounce_rate" in metrics else names
    dimensions = data.draw(groupings([name for name in others if name != "event:page"], most=1))
    dimensions.append("event:page" if "bounce_rate" in metrics else data.draw(st.sampled_from(EVENT_DIMENSIONS)))
    dimensions = list(dict.fromkeys(dimensions))
    filters = data.draw(filter_lists(names))
    oracle = oracles[site.site_id]
    check(service, oracle, site.site_id, *span, metrics=metrics, dimensions=dimensions, filters=filters)


@many
@given(site=sites, span=ranges(), data=st.data(), exact=st.booleans())
def test_bounces_and_exits_of_pages_equal_the_oracle(
    service: QueryService, oracles: dict[str, Oracle], site: Any, span: Any, data: Any, exact: bool
) -> None:
    """Filters on pages, which a random mixture of fields would seldom choose, among others."""
    names = ["event:page", "event:page", "event:page", "event:name", "visit:entry_page", "visit:source"]
    metrics = data.draw(some(["bounce_rate", "exit_rate", "sessions", "pageviews"]))
    dimensions = data.draw(groupings(["event:page", "visit:entry_page", "visit:exit_page", "visit:source"], most=1))
    filters = data.draw(saved_filters(names))
    oracle = oracles[site.site_id]
    parts = {"metrics": metrics, "dimensions": dimensions, "filters": filters}
    check(service, oracle, site.site_id, *span, **parts, exact=exact)


@many
@given(site=sites, span=ranges(), metrics=some(COUNTING_METRICS), data=st.data())
def test_traffic_and_whole_sessions_equal_the_oracle(
    service: QueryService, oracles: dict[str, Oracle], site: Any, span: Any, metrics: Any, data: Any
) -> None:
    """The cheap tables, which a random mixture of fields would seldom choose."""
    names = data.draw(st.sampled_from((["event:name"], SESSION_DIMENSIONS)))
    dimensions = data.draw(groupings(names))
    filters = data.draw(filter_lists(names))
    oracle = oracles[site.site_id]
    check(service, oracle, site.site_id, *span, metrics=metrics, dimensions=dimensions, filters=filters)


@many
@given(site=sites, span=ranges(), data=st.data(), exact=st.booleans())
def test_goals_conversions_and_revenue_equal_the_oracle(
    service: QueryService, oracles: dict[str, Oracle], site: Any, span: Any, data: Any, exact: bool
) -> None:
    everything = [*EVENT_DIMENSIONS, *SESSION_DIMENSIONS]
    few = ["event:props:plan", "event:props:größe", "event:page", "visit:source"]
    names = data.draw(st.sampled_from((everything, SESSION_DIMENSIONS, ["event:name"], few)))
    dimensions = data.draw(groupings(names, most=1))
    filters = data.draw(saved_filters(names))
    if data.draw(st.booleans()):
        dimensions.append("event:goal")
    elif data.draw(st.booleans()):
        filters.append(data.draw(goal_choices().filter(lambda choice: chosen_goals([choice]))))
    metrics = [*EVENT_METRICS, *REVENUE_METRICS, "sessions"]
    if "event:goal" in dimensions or chosen_goals(filters):
        metrics += GOAL_METRICS
    elif not any(name.startswith(("event:", "experiment:")) for name in dimensions):
        metrics += SESSION_METRICS[1:]
    asked = data.draw(some(metrics))
    oracle = oracles[site.site_id]
    check(service, oracle, site.site_id, *span, metrics=asked, dimensions=dimensions, filters=filters, exact=exact)
