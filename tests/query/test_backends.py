"""A ClickHouse server gives the same answers as the engine in process: the oracle's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_server.config import LimitsSection
from analytics_server.query.engine import QueryService
from analytics_server.query.share_links.threshold import run_with_threshold
from tests.clickhouse import drop_database
from tests.query.conftest import Directory, fill_store, save_things
from tests.query.oracle import EVENT_METRICS, GOAL_METRICS, REVENUE_METRICS, SESSION_METRICS, Oracle
from tests.query.questions import NOW, request
from tests.query.test_oracle import (
    EVENT_DIMENSIONS,
    SESSION_DIMENSIONS,
    check,
    goal_choices,
    groupings,
    many,
    ranges,
    saved_filters,
    sites,
    some,
)
from tests.query.world import Event

DATABASE = "query_world"


@pytest.fixture(scope="module")
def remote(clickhouse_server: str, world: list[Event]) -> Iterator[QueryService]:
    """A service that reads from a server."""
    store = fill_store(clickhouse_server, world, DATABASE)
    saved = asyncio.run(save_things(store))
    yield QueryService(store, Directory(), lambda: NOW, LimitsSection(), saved)
    asyncio.run(store.close())
    drop_database(clickhouse_server, DATABASE)


@settings(parent=many, max_examples=40)
@given(site=sites, span=ranges(), data=st.data(), exact=st.booleans())
def test_events_on_a_server_equal_the_oracle(
    remote: QueryService, oracles: dict[str, Oracle], site: Any, span: Any, data: Any, exact: bool
) -> None:
    names = [*EVENT_DIMENSIONS, *SESSION_DIMENSIONS]
    dimensions = data.draw(groupings([*names, "event:goal"]))
    metrics = data.draw(some([*EVENT_METRICS, *REVENUE_METRICS, "sessions"]))
    filters = data.draw(saved_filters(names))
    oracle = oracles[site.site_id]
    check(remote, oracle, site.site_id, *span, metrics=metrics, dimensions=dimensions, filters=filters, exact=exact)


@settings(parent=many, max_examples=40)
@given(site=sites, span=ranges(), data=st.data())
def test_sessions_and_conversions_on_a_server_equal_the_oracle(
    remote: QueryService, oracles: dict[str, Oracle], site: Any, span: Any, data: Any
) -> None:
    dimensions = data.draw(groupings(SESSION_DIMENSIONS))
    metrics = data.draw(some([*GOAL_METRICS, *SESSION_METRICS, "visitors"]))
    filters = [*data.draw(saved_filters(SESSION_DIMENSIONS)), *data.draw(goal_filters())]
    oracle = oracles[site.site_id]
    check(remote, oracle, site.site_id, *span, metrics=metrics, dimensions=dimensions, filters=filters)


def goal_filters() -> st.SearchStrategy[list[Any]]:
    return goal_choices().filter(lambda choice: not choice[0].endswith("_not")).map(lambda choice: [choice])


@pytest.mark.parametrize(
    ("dimensions", "threshold"),
    [
        ([], 4),
        (["event:page"], 100),
        (["visit:source", "event:title"], 28),
        (["time:hour"], 28),
        (["time:month", "visit:country"], 28),
    ],
)
def test_what_a_threshold_puts_together_is_the_same_on_a_server(
    remote: QueryService, service: QueryService, dimensions: list[str], threshold: int
) -> None:
    asked = request(
        site_id="kolkata.example",
        metrics=["visitors", "pageviews"],
        date_range=["2025-01-30", "2025-11-08"],
        dimensions=dimensions,
        pagination={"limit": 10_000},
    )
    answers = [asyncio.run(run_with_threshold(one, asked, threshold)) for one in (service, remote)]
    assert answers[0].results == answers[1].results
    assert not dimensions or answers[0].results[-1].below_threshold is True
