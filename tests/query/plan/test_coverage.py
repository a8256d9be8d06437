"""Closed-day totals give the same answers as the events they were made from, whatever state they are in."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_server.config import ClickhouseSection, Config, LimitsSection
from analytics_server.model import Site
from analytics_server.query.day_totals import DayTotals
from analytics_server.query.engine import QueryService
from analytics_server.query.plan.coverage import EVENT_DIMENSIONS, SESSION_DIMENSIONS
from analytics_server.store import Store, make_store, migrate
from tests.query.conftest import Directory, insert_events
from tests.query.oracle import COUNTING_METRICS, SESSION_METRICS, Oracle
from tests.query.test_oracle import VALUES, ask, check, filter_lists, ranges, some
from tests.query.world import SITES, Event, make_world, micros

NOW = datetime(2025, 11, 9, 12, 34, 56, tzinfo=UTC)
OF_SESSIONS = [*(dimension.name for dimension in SESSION_DIMENSIONS), "visit:country_name"]
KEPT = [*(dimension.name for dimension in EVENT_DIMENSIONS), *OF_SESSIONS]
SITE = "berlin.example"


class Listed(Directory):
    """Sites that can be listed, as the builder wants them."""

    def all(self) -> list[Site]:
        return [site for site_id, site in sorted(self.sites.items()) if site_id != "empty.example"]


def service_of(store: Store, directory: Directory, **options: Any) -> QueryService:
    return QueryService(store, directory, lambda: NOW, LimitsSection(), cache_s=0.0, **options)


def builder_of(store: Store, directory: Listed, now: datetime = NOW, rebuild_s: float = 0.0) -> DayTotals:
    return DayTotals(store, directory, lambda: now, settle_s=0.0, rebuild_s=rebuild_s)


def around(world: list[Event], *periods: tuple[str, str]) -> list[Event]:
    """The sessions opened in these periods, so that there are not too many days to build."""
    spans = [[micros(datetime.fromisoformat(text).replace(tzinfo=UTC)) for text in period] for period in periods]
    return [event for event in world if any(first <= event.opened_at < last for first, last in spans)]


async def fresh(store: Store) -> Store:
    """Another database in the same engine: a process can open one only."""
    location = (await store.open()).location
    name = f"totals_{uuid.uuid4().hex}"
    section = ClickhouseSection(url=f"chdb://{location}", database=name, threads=2)
    found = make_store(Config(clickhouse=section))
    await found.open()
    await migrate(found)
    return found


@pytest.fixture(scope="module")
def changing(world: list[Event]) -> list[Event]:
    """Events around changes of the clock in Berlin and New York."""
    return around(world, ("2025-03-28", "2025-04-01"), ("2025-10-30", "2025-11-05"))


@pytest.fixture(scope="module")
def mixed(store: Store, changing: list[Event]) -> Iterator[tuple[Store, Directory]]:
    """Some days built, some stale because events came later, some never built."""
    directory = Listed()

    async def prepare() -> Store:
        own = await fresh(store)
        late = random.Random(5).sample(changing, 15)
        held_back = {id(event) for event in late}
        await insert_events(own, [event for event in changing if id(event) not in held_back], seed=12)
        # What lies after this moment is not built at all.
        assert await builder_of(own, directory, datetime(2025, 11, 4, 5, tzinfo=UTC)).build_all() > 20
        await insert_events(own, late, seed=13)
        return own

    own = asyncio.run(prepare())
    yield own, directory
    asyncio.run(own.close())


def whole_days(zone: str) -> st.SearchStrategy[tuple[datetime, datetime]]:
    """Ranges from midnight to midnight, around the changes of the clock."""
    first = st.sampled_from([date(2025, 3, 27), date(2025, 10, 29)])

    def span(day: date, skip: int, length: int) -> tuple[datetime, datetime]:
        start = day + timedelta(days=skip)
        edges = (datetime.combine(d, datetime.min.time(), ZoneInfo(zone)) for d in (start, start + timedelta(length)))
        begin, end = (edge.astimezone(UTC) for edge in edges)
        return begin, end

    return st.builds(span, first, st.integers(0, 4), st.integers(1, 40))


@st.composite
def questions(draw: st.DrawFn) -> dict[str, Any]:
    """What the totals may answer, with and without a time, a breakdown and a filter on it."""
    name = draw(st.sampled_from(["", *KEPT]))
    timed = draw(st.sampled_from([[], [], ["time:day"], ["time:week"], ["time:month"], ["time:hour"]]))
    metrics = [*COUNTING_METRICS, "percentage", "engagement_time", "exit_rate"]
    if not name or name in OF_SESSIONS:
        metrics += SESSION_METRICS
    if not name:
        return {"metrics": draw(some(metrics)), "dimensions": timed}
    if draw(st.booleans()):
        value = draw(st.sampled_from(VALUES[name]))
        if name == "event:page":
            metrics.append("bounce_rate")
        return {"metrics": draw(some(metrics)), "dimensions": timed, "filters": [["is", name, [value]]]}
    if name == "event:page" and not timed:
        metrics += ["sessions", "bounce_rate"]
    filters = draw(filter_lists([name]))
    return {"metrics": draw(some(metrics)), "dimensions": [*timed, name], "filters": filters}


@st.composite
def cases(draw: st.DrawFn) -> tuple[Site, tuple[datetime, datetime], dict[str, Any]]:
    """A site, a range in its zone, and a question."""
    site = draw(st.sampled_from(SITES))
    span = draw(st.one_of(whole_days(site.timezone), ranges()))
    return site, span, draw(questions()) | {"exact": draw(st.booleans())}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(case=cases())
def test_totals_equal_the_oracle_built_stale_and_missing(
    mixed: tuple[Store, Directory],
    changing: list[Event],
    case: tuple[Site, tuple[datetime, datetime], dict[str, Any]],
) -> None:
    (store, directory), (site, span, asked) = mixed, case
    with_totals, without = (service_of(store, directory, use_totals=use) for use in (True, False))
    oracle = Oracle(changing, site.site_id, site.timezone)
    answer = check(with_totals, oracle, site.site_id, *span, **asked)
    plain = ask(without, site.site_id, *span, **asked)
    rows = {tuple(row.dimensions): row.metrics for row in plain.results}
    assert len(rows) == len(answer.results)
    for row in answer.results:
        assert row.metrics == pytest.approx(rows[tuple(row.dimensions)], abs=0.051)
    assert "day_totals" not in plain.meta.table


MARCH = (datetime(2025, 3, 28, 23, tzinfo=UTC), datetime(2025, 3, 31, 22, tzinfo=UTC))
"""Three days in Berlin, the one with 23 hours among them."""
EVERYTHING: dict[str, Any] = {"metrics": [*COUNTING_METRICS, *SESSION_METRICS], "dimensions": ["visit:source"]}


@pytest.fixture
async def small(store: Store) -> AsyncIterator[tuple[Store, Listed, list[Event]]]:
    """A database of its own with a few sessions of one site in it."""
    events = [event for event in make_world(seed=3, sessions=300) if event.site_id == SITE]
    events = around(events, ("2025-03-28T12:00", "2025-04-01T12:00"))
    own = await fresh(store)
    await insert_events(own, events, seed=4)
    yield own, Listed({SITE: SITES[1]}), events
    await own.close()


async def table(store: Store, directory: Directory, events: list[Event], **parts: Any) -> str:
    """Check the answer for three days in March against the oracle, and say where it was read."""
    zone = directory.sites[SITE].timezone
    oracle = Oracle(events, SITE, zone)
    answer = await asyncio.to_thread(check, service_of(store, directory), oracle, SITE, *MARCH, **(EVERYTHING | parts))
    return answer.meta.table


async def test_whole_days_that_are_built_are_read_from_totals_alone(small: Any) -> None:
    store, directory, events = small
    assert await table(store, directory, events) == "sessions+events"
    await builder_of(store, directory).build_all()
    assert await table(store, directory, events) == "day_totals"
    pages = {"metrics": ["visitors", "bounce_rate"], "dimensions": ["event:page"]}
    assert await table(store, directory, events, **pages) == "day_totals+sessions"


async def test_bounces_by_page_of_a_range_that_runs_add_up_by_entry_page(small: Any) -> None:
    store, directory, events = small
    late = datetime(2025, 3, 31, 12, tzinfo=UTC)
    await builder_of(store, directory, late).build_all()
    service = QueryService(store, directory, lambda: late, LimitsSection(), cache_s=0.0)
    span = (MARCH[0], datetime(2025, 4, 30, 22, tzinfo=UTC))
    for dimensions in (["event:page"], ["time:day", "event:page"]):
        parts: Any = {"metrics": ["visitors", "bounce_rate"], "dimensions": dimensions}
        answer = await asyncio.to_thread(check, service, Oracle(events, SITE, "Europe/Berlin"), SITE, *span, **parts)
        assert answer.meta.table == "day_totals+events+sessions"


async def test_totals_are_not_approximate(small: Any) -> None:
    store, directory, _ = small
    await builder_of(store, directory).build_all()
    answer = await asyncio.to_thread(ask, service_of(store, directory), SITE, *MARCH, **EVERYTHING)
    assert answer.meta.approximate == []


async def test_building_again_finds_nothing_to_do(small: Any) -> None:
    store, directory, _ = small
    builder = builder_of(store, directory)
    assert await builder.build_all() > 0
    assert await builder.build_all() == 0


@pytest.mark.parametrize("after_hours", [0, 30], ids=["on the day", "on the day after"])
async def test_late_events_make_a_day_stale_at_once_and_a_rebuild_heals(small: Any, after_hours: int) -> None:
    """An event of the day after makes the session longer that began on the day."""
    store, directory, events = small
    await builder_of(store, directory).build_all()
    first, last = (int(edge.timestamp()) * 1_000_000 for edge in MARCH)
    old = next(
        e for e in sorted(events, key=lambda e: e.at, reverse=True) if e.site_id == SITE and first < e.opened_at < last
    )
    late = replace(old, at=old.at + after_hours * 3_600_000_000, name="pageview", path="/late")
    events.append(late)
    await insert_events(store, [late], seed=9)
    assert await table(store, directory, events) == "day_totals+sessions+events"
    await builder_of(store, directory, NOW + timedelta(seconds=1)).build_all()
    assert await table(store, directory, events) == "day_totals"


async def test_a_stale_day_is_not_built_again_at_once(small: Any) -> None:
    store, directory, events = small
    await builder_of(store, directory).build_all()
    late = next(e for e in events if e.site_id == SITE and e.at < MARCH[1].timestamp() * 1e6)
    await insert_events(store, [late], seed=9)
    for seconds, expected in ((10, False), (301, True)):
        later = builder_of(store, directory, NOW + timedelta(seconds=seconds), rebuild_s=300.0)
        assert (await later.build_all() > 0) is expected


async def test_a_new_time_zone_makes_all_days_stale(small: Any) -> None:
    store, directory, events = small
    await builder_of(store, directory).build_all()
    directory.sites[SITE] = Site(site_id=SITE, timezone="Asia/Kolkata")
    assert "day_totals" not in await table(store, directory, events)
    assert await builder_of(store, directory).build_all() > 3
    assert "day_totals" in await table(store, directory, events)


async def test_two_builders_at_once_do_no_harm(small: Any) -> None:
    store, directory, events = small
    await asyncio.gather(*(builder_of(store, directory).build_all() for _ in range(2)))
    assert await table(store, directory, events) == "day_totals"
    later = builder_of(store, directory, NOW + timedelta(hours=3))
    await later.sweep()
    left = await store.query(
        "SELECT uniqExact(site_id, day, build_id), (SELECT count() FROM day_builds FINAL) FROM day_totals"
    )
    assert left.rows[0][0] == left.rows[0][1]
    assert await table(store, directory, events) == "day_totals"


async def test_a_build_that_died_before_its_last_step_is_never_read(small: Any) -> None:
    store, directory, events = small
    await builder_of(store, directory).build_all()
    await store.command("TRUNCATE TABLE day_builds")
    assert await table(store, directory, events) == "sessions+events"


async def test_events_that_arrive_while_a_day_is_built_keep_the_build_from_counting(small: Any) -> None:
    store, directory, events = small
    late = next(
        e for e in events if e.site_id == SITE and MARCH[0].timestamp() * 1e6 < e.at < MARCH[1].timestamp() * 1e6
    )

    class Racing:
        """A store into which an event comes just before the totals are read."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def query(self, sql: str, parameters: Any = None, **more: Any) -> Any:
            if sql.startswith("INSERT") and not raced:
                raced.append(True)
                await insert_events(store, [late], seed=9)
            return await store.query(sql, parameters, **more)

    raced: list[bool] = []
    events.append(late)
    racing: Any = Racing()
    await DayTotals(racing, directory, lambda: NOW, settle_s=0.0).build_all()
    assert raced
    await table(store, directory, events)


async def test_nothing_is_built_while_a_backlog_is_delivered(small: Any) -> None:
    store, directory, events = small
    waits = [True]
    builder = DayTotals(store, directory, lambda: NOW, settle_s=0.0, must_wait=lambda: waits[0])
    assert await builder.build_all() == 0
    assert await table(store, directory, events) == "sessions+events"
    waits[0] = False
    assert await builder.build_all() > 0
    assert await table(store, directory, events) == "day_totals"
