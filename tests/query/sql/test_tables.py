"""Every table that can answer a question gives the same answer, and the oracle's.

Each supported combination of dimension, interval and kind of filter is asked with all
metrics that go with it, once per way of reading it: the totals of days that are over where
they hold it, and each source that the planner could choose.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from analytics_server.config import LimitsSection
from analytics_server.errors import RequestError
from analytics_server.model import SESSION_ATTRIBUTES, Site
from analytics_server.query.answer import show_metric
from analytics_server.query.context import SETTINGS
from analytics_server.query.engine import QueryService, show_key
from analytics_server.query.language.buckets import choose_interval
from analytics_server.query.language.request import Question, check_request
from analytics_server.query.language.saved_filters import SiteLibrary
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.metrics import METRICS, Metric
from analytics_server.query.plan.coverage import Coverage, DayReader
from analytics_server.query.plan.plan import Plan, PlanTable, cheapest, make_plan
from analytics_server.query.sql.statement import compile_question
from analytics_server.saved.store import Saved
from analytics_server.store import Store
from tests.query.conftest import Directory, insert_events, save_things
from tests.query.filter_reading import chosen_goals
from tests.query.oracle import GOAL_METRICS, REVENUE_METRICS, Answer, Oracle
from tests.query.plan.test_coverage import Listed, around, builder_of, fresh
from tests.query.questions import NOW, request
from tests.query.test_oracle import EVENT_DIMENSIONS, SESSION_DIMENSIONS, TIME_DIMENSIONS
from tests.query.world import SITES, Event, micros

KINDS = (
    "",
    "event:name",
    "event:page",
    "event:goal",
    "event:props:plan",
    "visit:source",
    "visit:exit_page",
    "visit:country_name",
)
"""A dimension of each kind."""

FILTERS: dict[str, list[Any]] = {
    "none": [],
    "event name": [["is_not", "event:name", ["scroll"]]],
    "event": [["contains", "event:page", ["blog"]], ["is", "event:currency", ["EUR", ""]]],
    "visit": [["is", "visit:source", ["Google"]]],
    "one page": [["is", "event:page", ["/"]]],
    "joined": [["is_not", "visit:entry_page", ["/"]]],
    "has done": [["has_done", ["is", "event:name", ["click"]]]],
    "goal": [["goal", "Signed up"]],
    "goals": [["is", "event:goal", ["Read the blog", "Signed up"]], ["has_not_done", ["goal", "Clicked as a pro"]]],
    "segment": [["segment", "Readers"]],
    "sequence": [["sequence", [["is", "event:name", ["pageview"]], ["is_not", "event:page", ["/"]]]]],
    "three in order": [
        ["sequence", [["lt", "event:scroll_depth", [75]], ["goal", "Signed up"], ["is", "visit:exit_page", ["/"]]]]
    ],
}
INTERVALS = ("", "time:hour", "time:day", "time:month")
RANGES: dict[str, tuple[datetime, datetime]] = {
    "days": (datetime(2025, 10, 24, 22, tzinfo=UTC), datetime(2025, 10, 28, 23, tzinfo=UTC)),
    "pieces": (datetime(2025, 10, 25, 10, 15, 30, tzinfo=UTC), datetime(2025, 10, 27, 17, 45, tzinfo=UTC)),
}
"""The first is whole days in Berlin, the day with 25 hours among them."""


@dataclass(slots=True)
class Built:
    """A store whose days that are over have totals."""

    store: Store
    saved: Saved
    events: list[Event]


@pytest.fixture(scope="module")
def built(store: Store, world: list[Event]) -> Iterator[Built]:
    events = around(world, ("2025-10-24", "2025-10-29"))

    async def prepare() -> Built:
        own = await fresh(store)
        await insert_events(own, events, seed=2)
        assert await builder_of(own, Listed()).build_all() > 10
        return Built(own, await save_things(own), events)

    made = asyncio.run(prepare())
    yield made
    asyncio.run(made.store.close())


@dataclass(frozen=True, slots=True)
class Choice:
    """Reads each metric from the n-th cheapest of its tables."""

    place: int

    def __call__(self, _: Metric, tables: Sequence[PlanTable]) -> PlanTable:
        return tables[min(self.place, len(tables) - 1)]


def asked_of(built: Built, site_id: str, **parts: Any) -> Question:
    library = SiteLibrary(built.saved, site_id)
    return check_request(request(site_id=site_id, **parts), library, max_rows=10_000)


def supported(built: Built, site_id: str, range_: TimeRange, dimensions: list[str], filters: list[Any]) -> list[str]:
    """The metrics that go with these dimensions and filters."""
    found = []
    for metric in METRICS:
        with contextlib.suppress(RequestError):
            make_plan(asked_of(built, site_id, metrics=[metric.name], dimensions=dimensions, filters=filters), range_)
            found.append(metric.name)
    return found


def plans(question: Question, range_: TimeRange, coverage: Coverage | None) -> list[Plan]:
    """Every way of answering, each once."""
    found: list[Plan] = []
    for held, place in itertools.product([coverage, None] if coverage else [None], range(3)):
        plan = make_plan(question, range_, held, Choice(place))
        if plan not in found:
            found.append(plan)
    assert found[0] == make_plan(question, range_, coverage, cheapest)
    return found


async def rows_of(store: Store, question: Question, plan: Plan, range_: TimeRange) -> Answer:
    statement = compile_question(question, plan, range_)
    result = await store.query(statement.sql, statement.parameters, settings=SETTINGS)
    width = len(question.dimensions)
    return {
        tuple(str(part) for part in show_key(question, row[:width], range_)): [
            show_metric(metric, value) for metric, value in zip(question.metrics, row[width:], strict=True)
        ]
        for row in result.rows
    }


Span = tuple[datetime, datetime]


def compare(built: Built, site: Site, span: Span, dimensions: list[str], filters: list[Any]) -> Counter[str]:
    """Ask in every way; returns how often each source was read."""
    oracle = Oracle(built.events, site.site_id, site.timezone)
    range_ = TimeRange(*span, oracle.zone)
    metrics = supported(built, site.site_id, range_, dimensions, filters)
    assert {"visitors", "events", "scroll_depth"} <= set(metrics)
    assert set(GOAL_METRICS) <= set(metrics) or not (chosen_goals(filters) or "event:goal" in dimensions)
    parts = {"metrics": metrics, "dimensions": dimensions, "filters": filters}
    question = asked_of(built, site.site_id, **parts).with_interval(choose_interval(range_))
    reader = DayReader(built.store)
    coverage = asyncio.run(reader.coverage(site.site_id, range_, NOW, timeout_s=30))
    expected = oracle.answer(metrics, dimensions, filters, *span)
    used: Counter[str] = Counter()
    for plan in plans(question, range_, coverage):
        found = asyncio.run(rows_of(built.store, question, plan, range_))
        assert found.keys() == expected.keys(), plan.table
        for key, values in expected.items():
            for name, value, right in zip(metrics, found[key], values, strict=True):
                assert value == pytest.approx(right, abs=0.051), f"{name} of {key} read from {plan.table}"
        used.update({part.table.value for part in plan.all_parts})
    return used


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_the_same_answer(built: Built, kind: str) -> None:
    """A quarter of all combinations with each filter, so that every two of dimension, interval and filter meet."""
    used: Counter[str] = Counter()
    for place, (name, interval) in enumerate(itertools.product(FILTERS, INTERVALS)):
        if name != "none" and (place + place // len(INTERVALS) + KINDS.index(kind)) % 4:
            continue
        dimensions = [each for each in (interval, kind) if each]
        site = SITES[1] if place % 2 else SITES[place // 2 % len(SITES)]
        used += compare(built, site, RANGES["pieces" if place % 4 == 3 else "days"], dimensions, FILTERS[name])
    wanted = {"events", "scrolls"} | ({"totals"} if kind in ("", "event:name", "event:page") else set())
    assert wanted <= set(used)


@pytest.mark.parametrize("name", [*EVENT_DIMENSIONS, *SESSION_DIMENSIONS, *TIME_DIMENSIONS])
def test_every_dimension_is_the_same_from_every_source(built: Built, name: str) -> None:
    compare(built, SITES[1], RANGES["days"], [name], [])


async def test_parts_of_a_session_that_are_not_merged_count_once(store: Store) -> None:
    """A session that began days before the range, with a part inside it; one over midnight; one of two visitors."""
    day, hour = 86_400_000_000, 3_600_000_000
    begin = micros(datetime(2025, 10, 20, 12, tzinfo=UTC))
    old, night, pair = ([begin + day * offset for offset in days] for days in ((0, 6, 7), (6, 7), (6, 6)))
    night[0] += 9 * hour  # 23:00 in Berlin
    night[1] -= 13 * hour  # 01:00 there
    pair[1] += hour
    events = [
        event(session_id=name, opened_at=times[0], at=at, visitor_id=number * 10 + (place if name == "pair" else 0))
        for number, (name, times) in enumerate({"old": old, "night": night, "pair": pair}.items(), start=1)
        for place, at in enumerate(times)
    ]
    own = await fresh(store)
    await own.command("SYSTEM STOP MERGES sessions")
    for each in events:
        await insert_events(own, [each], seed=each.at)
    oracle = Oracle(events, SITES[1].site_id, SITES[1].timezone)
    span = (datetime(2025, 10, 24, 22, tzinfo=UTC), datetime(2025, 10, 28, 23, tzinfo=UTC))
    range_ = TimeRange(*span, oracle.zone)
    for metrics, dimensions in itertools.product(
        (["visitors"], ["pageviews", "events"], ["visitors", "events"]),
        (
            ["visit:source"],
            ["time:day", "visit:source"],
            ["time:month"],
            ["visit:entry_page"],
            ["time:day", "visit:exit_page"],
        ),
    ):
        parts: dict[str, Any] = {"metrics": metrics, "dimensions": dimensions}
        asked = check_request(request(site_id=SITES[1].site_id, **parts), max_rows=100)
        expected = oracle.answer(metrics, dimensions, [], *span)
        for place in range(3):
            plan = make_plan(asked, range_, None, Choice(place))
            assert await rows_of(own, asked, plan, range_) == expected, (plan.table, parts)
    await own.close()


def event(**parts: Any) -> Event:
    """A page view of Berlin's site."""
    texts = {
        "name": "pageview",
        "hostname": "",
        "path": "/",
        "title": "",
        "element_id": "",
        "experiment": "",
        "variant": "",
    }
    attributes = dict.fromkeys(SESSION_ATTRIBUTES, "x")
    return Event(site_id=SITES[1].site_id, props={}, attributes=attributes, **(texts | parts))


def test_revenue_of_one_currency_is_read_through_the_service(built: Built) -> None:
    service = QueryService(built.store, Directory(), lambda: NOW, LimitsSection(), built.saved)
    span = [edge.isoformat() for edge in RANGES["days"]]
    parts = {"metrics": list(REVENUE_METRICS), "date_range": span}
    answer = asyncio.run(service.run(request(site_id=SITES[1].site_id, **parts)))
    oracle = Oracle(built.events, SITES[1].site_id, SITES[1].timezone)
    expected = oracle.answer(REVENUE_METRICS, [], [], *RANGES["days"])
    assert answer.meta.currency == "EUR"
    assert answer.results[0].metrics == pytest.approx(expected[()], abs=0.00006)
