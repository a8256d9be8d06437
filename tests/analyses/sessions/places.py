"""Both engines with the people in them, and the questions that hypothesis draws about them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from analytics_server.config import ClickhouseSection, Config, LimitsSection
from analytics_server.query.context import QueryContext
from analytics_server.query.language.request import decode_request
from analytics_server.store import Store, make_store, migrate
from tests.analyses.sessions.people import (
    DAYS,
    FIRST_DAY,
    NAMES,
    NOW,
    PATHS,
    PLANS,
    SITES,
    SOURCES,
    Directory,
    Event,
    Past,
    insert_people,
    make_people,
)
from tests.clickhouse import drop_database

T = TypeVar("T")

many = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
sites = st.sampled_from(SITES)


class Place:
    """One engine and a context on it. No dataclass: hypothesis would show all events."""

    def __init__(self, context: QueryContext, runner: asyncio.Runner, events: list[Event]) -> None:
        self.context = context
        self._runner = runner
        self.pasts = {site.site_id: Past(events, site) for site in SITES}

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)


def open_place(url: str, store: Store | None, database: str) -> Iterator[Place]:
    """A context on the open store, or on one of its own at `url`."""
    events = make_people(seed=7, sessions=90)
    own = store is None
    used = store or make_store(Config(clickhouse=ClickhouseSection(url=url, database=database, threads=2)))
    with asyncio.Runner() as runner:

        async def prepare() -> None:
            if own:
                await used.open()
                await migrate(used)
            known = await used.query("SELECT count() FROM events WHERE site_id = {s:String}", {"s": SITES[0].site_id})
            if known.rows == [(0,)]:  # the engine in process is shared
                await insert_people(used, events)

        runner.run(prepare())
        context = QueryContext(used, Directory(), lambda: NOW, LimitsSection())
        yield Place(context, runner, events)
        if own:
            runner.run(used.close())


def place_on(request: pytest.FixtureRequest, database: str) -> Iterator[Place]:
    """The engine that a fixture's parameter names."""
    if request.param == "embedded":
        yield from open_place("", request.getfixturevalue("store"), "")
        return
    url = str(request.getfixturevalue("clickhouse_server"))
    yield from open_place(url, None, database)
    drop_database(url, database)


def asked(kind: type[T], **parts: Any) -> T:
    """A request as it comes over the wire."""
    return decode_request(msgspec.json.encode(parts), kind)


def date_ranges() -> st.SearchStrategy[Any]:
    """Whole days, odd moments, and names."""
    days = st.integers(0, DAYS).map(lambda number: FIRST_DAY + timedelta(days=number))
    pairs = st.tuples(days, days).map(lambda pair: [str(min(pair)), str(max(pair))])
    moments = st.tuples(days, days, st.sampled_from(("00:00:00.000001", "23:59:59.999999", "11:07:00"))).map(
        lambda three: [f"{min(three[:2])}T{three[2]}Z", f"{max(three[:2]) + timedelta(days=1)}T{three[2]}Z"]
    )
    return st.one_of(pairs, moments, st.sampled_from(("30d", "91d", "6mo", "month", "all")))


def filters(most: int = 2, least: int = 0) -> st.SearchStrategy[list[Any]]:
    """Trees over events and sessions."""
    values = {
        "event:name": sorted(set(NAMES)),
        "event:page": PATHS,
        "event:props:plan": PLANS,
        "visit:source": SOURCES,
        "visit:entry_page": PATHS,
        "visit:exit_page": PATHS,
    }
    leaves = st.sampled_from(sorted(values)).flatmap(
        lambda name: st.tuples(
            st.sampled_from(("is", "is_not")),
            st.just(name),
            st.lists(st.sampled_from(values[name]), min_size=1, max_size=3, unique=True),
        ).map(list)
    )
    trees = st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(("and", "or")), st.lists(inner, min_size=1, max_size=2)).map(list),
            st.tuples(st.sampled_from(("not", "has_done", "has_not_done")), inner).map(list),
            st.tuples(st.just("sequence"), st.lists(inner, min_size=2, max_size=3)).map(list),
        ),
        max_leaves=3,
    )
    return st.lists(trees, min_size=least, max_size=most)
