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

from analytics_server.query.answer import Answer
from analytics_server.query.fields import DIMENSIONS, Scope
from analytics_server.query.service import QueryService
from tests.query.oracle import EVENT_METRICS, SESSION_METRICS, Oracle
from tests.query.world import ATTRIBUTES, CENTRES, ELEMENTS, HOSTS, NAMES, PATHS, PLANS, SITES

EVENT_DIMENSIONS = [
    *(d.name for d in DIMENSIONS if d.scope is Scope.EVENT and not d.family),
    "event:props:plan",
    "event:props:größe",
    "experiment:cta",
]
VISIT_DIMENSIONS = [d.name for d in DIMENSIONS if d.scope is Scope.VISIT]
TIME_DIMENSIONS = [d.name for d in DIMENSIONS if d.scope is Scope.TIME and d.interval]

VALUES: dict[str, Sequence[str]] = {
    "event:name": NAMES,
    "event:page": PATHS,
    "event:hostname": HOSTS,
    "event:title": ("", "Start", "Über uns"),
    "event:element": ELEMENTS,
    "event:props:plan": PLANS,
    "event:props:größe": ("1", ""),
    "experiment:cta": ("a", "b", ""),
    "visit:entry_page": PATHS,
    "visit:exit_page": PATHS,
    **{f"visit:{name}": values for name, values in ATTRIBUTES.items()},
}
NEEDLES = ("a", "b", "ü", "B", "/", "'", "\\", "%", "語", "ÜBER")
PATTERNS = ("^/blog", "a$", "[ab]", "ü|ß", "^$", r"\\", "(?i)GOOGLE")
WILDCARDS = ("/blog/*", "/blog/**", "**", "*", "/*", "*a*", "**/b", "/a'b\\c", "/%")


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
    """The service and the oracle give the same groups with the same values."""
    answer = ask(service, site_id, start, end, metrics=metrics, dimensions=dimensions, filters=filters, exact=exact)
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
    method = draw(st.sampled_from(("is", "is", "contains", "matches", "matches_wildcard")))
    pool: Sequence[str] = {
        "is": (*VALUES[name], "nowhere"),
        "contains": NEEDLES,
        "matches": PATTERNS,
        "matches_wildcard": (*WILDCARDS, *VALUES[name]),
    }[method]
    values = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=3))
    operator = draw(st.sampled_from((method, f"{method}_not")))
    options: list[Any] = []
    if method in ("is", "contains") and draw(st.booleans()):
        options = [{"case_sensitive": draw(st.booleans())}]
    return [operator, name, values, *options]


def filter_lists(names: Sequence[str]) -> st.SearchStrategy[list[Any]]:
    trees = st.recursive(
        matches(names),
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(("and", "or")), st.lists(inner, min_size=1, max_size=3)).map(list),
            inner.map(lambda one: ["not", one]),
        ),
        max_leaves=4,
    )
    return st.lists(trees, max_size=2)


def groupings(names: Sequence[str], most: int = 2) -> st.SearchStrategy[list[str]]:
    plain = st.lists(st.sampled_from(names), max_size=most, unique=True)
    timed = st.builds(lambda time, rest: [time, *rest], st.sampled_from(TIME_DIMENSIONS), plain)
    return st.one_of(plain, timed)


def some(names: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True)


sites = st.sampled_from(SITES)
many = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@many
@given(site=sites, span=ranges(), metrics=some(EVENT_METRICS), data=st.data(), exact=st.booleans())
def test_event_metrics_equal_the_oracle(
    service: QueryService, oracles: dict[str, Oracle], site: Any, span: Any, metrics: Any, data: Any, exact: bool
) -> None:
    dimensions = data.draw(groupings([*EVENT_DIMENSIONS, *VISIT_DIMENSIONS]))
    filters = data.draw(filter_lists([*EVENT_DIMENSIONS, *VISIT_DIMENSIONS]))
    oracle = oracles[site.site_id]
    check(service, oracle, site.site_id, *span, metrics=metrics, dimensions=dimensions, filters=filters, exact=exact)


@many
@given(site=sites, span=ranges(), metrics=some([*EVENT_METRICS, *SESSION_METRICS]), data=st.data())
def test_all_metrics_by_visit_dimensions_equal_the_oracle(
    service: QueryService, oracles: dict[str, Oracle], site: Any, span: Any, metrics: Any, data: Any
) -> None:
    names = data.draw(st.sampled_from(([*EVENT_DIMENSIONS, *VISIT_DIMENSIONS], VISIT_DIMENSIONS)))
    dimensions = data.draw(groupings(VISIT_DIMENSIONS))
    filters = data.draw(filter_lists(names))
    oracle = oracles[site.site_id]
    check(service, oracle, site.site_id, *span, metrics=metrics, dimensions=dimensions, filters=filters)


@many
@given(site=sites, span=ranges(), data=st.data())
def test_sessions_and_bounces_by_event_dimensions_equal_the_oracle(
    service: QueryService, oracles: dict[str, Oracle], site: Any, span: Any, data: Any
) -> None:
    names = [*EVENT_DIMENSIONS, *VISIT_DIMENSIONS]
    metrics = data.draw(st.sampled_from((["sessions"], ["visitors", "sessions"], ["bounce_rate", "sessions"])))
    others = VISIT_DIMENSIONS if "bounce_rate" in metrics else names
    dimensions = data.draw(groupings([name for name in others if name != "event:page"], most=1))
    dimensions.append("event:page" if "bounce_rate" in metrics else data.draw(st.sampled_from(EVENT_DIMENSIONS)))
    dimensions = list(dict.fromkeys(dimensions))
    filters = data.draw(filter_lists(names))
    oracle = oracles[site.site_id]
    check(service, oracle, site.site_id, *span, metrics=metrics, dimensions=dimensions, filters=filters)


@many
@given(site=sites, span=ranges(), metrics=some(EVENT_METRICS), data=st.data())
def test_traffic_and_whole_sessions_equal_the_oracle(
    service: QueryService, oracles: dict[str, Oracle], site: Any, span: Any, metrics: Any, data: Any
) -> None:
    """The cheap tables, which a random mixture of fields would seldom choose."""
    names = data.draw(st.sampled_from((["event:name"], VISIT_DIMENSIONS)))
    dimensions = data.draw(groupings(names))
    filters = data.draw(filter_lists(names))
    oracle = oracles[site.site_id]
    check(service, oracle, site.site_id, *span, metrics=metrics, dimensions=dimensions, filters=filters)
