"""ClickHouse and Python agree on every event's bucket, in every kind of time zone, and so do query and trends."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from analytics_server.config import LimitsSection
from analytics_server.model import Site
from analytics_server.query.dimensions import Interval, find_dimension
from analytics_server.query.engine import QueryService
from analytics_server.query.language.buckets import buckets, label_bucket
from analytics_server.query.language.request import Pagination, QueryRequest
from analytics_server.query.language.time_range import TimeRange, local_days, midnight
from analytics_server.query.parameters import Binder
from analytics_server.query.sql.scope import hour_expression
from analytics_server.query.trends import parse_trends, run_trends
from analytics_server.store import Store
from tests.query.conftest import Directory, insert_events
from tests.query.oracle import Oracle, bucket_label
from tests.query.plan.test_coverage import fresh
from tests.query.time_oracle import first_instant, labels
from tests.query.world import Event, micros
from tests.query.zones import YEARS, ZONES, changes_of

INTERVALS: tuple[Interval, ...] = ("minute", "hour", "day", "week", "month")
AROUND = timedelta(hours=27)


def moments_of(zone: str) -> list[datetime]:
    """Some of the whole years, and every five minutes around each change of the clock."""
    random_ = random.Random(zone)
    years = [datetime(year, 1, 1, tzinfo=UTC) for year in YEARS[zone]]
    found = [year + timedelta(seconds=random_.uniform(0, 365 * 86_400)) for year in years for _ in range(200)]
    for change in changes_of(zone):
        found += [change + timedelta(minutes=5 * step, microseconds=-step % 2) for step in range(-320, 320)]
    return sorted(found)


@pytest.mark.parametrize("zone", ZONES)
async def test_engine_and_python_agree_on_buckets(store: Store, zone: str) -> None:
    moments = moments_of(zone)
    place = ZoneInfo(zone)
    texts = [moment.strftime("%Y-%m-%d %H:%M:%S.%f") for moment in moments]
    whole = TimeRange(moments[0], moments[-1] + timedelta(hours=1), place)
    for interval in INTERVALS:
        binder = Binder({"moments": texts, "tz": zone})
        sql = find_dimension(f"time:{interval}").events
        sql = hour_expression(sql, "moment", whole, binder) if interval == "hour" else sql.replace("@at", "moment")
        answer = await store.query(
            f"SELECT {sql} FROM (SELECT arrayJoin({{moments:Array(String)}}) AS text,"
            " toDateTime64(text, 6, 'UTC') AS moment)",
            binder.values,
        )
        wrong = {}
        for moment, (key,) in zip(moments, answer.rows, strict=True):
            one = TimeRange(moment, moment + timedelta(microseconds=1), place)
            (bucket,) = buckets(one, interval, limit=3)
            expected = bucket_label(f"time:{interval}", moment.astimezone(place))
            if (bucket.key, bucket.label, label_bucket(key, interval, place)) != (key, expected, expected):
                wrong[moment.isoformat()] = (bucket, key, expected)
        assert not wrong, f"{interval}: {dict(list(wrong.items())[:5])}"


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("America/St_Johns", "2010-11-07T02:31"),  # 00:01 became 23:01 of the day before
        ("America/St_Johns", "2010-03-14T03:31"),
        ("America/Goose_Bay", "2010-11-07T03:01"),
        ("Antarctica/Casey", "2010-03-04T15:00"),  # 02:00 became 23:00 of the day before
    ],
)
async def test_a_day_that_clocks_go_back_from_begins_once(store: Store, zone: str, change: str) -> None:
    place = ZoneInfo(zone)
    first = datetime.fromisoformat(change).replace(tzinfo=UTC) - timedelta(hours=5)
    moments = [first + timedelta(minutes=minute) for minute in range(600)]
    whole = TimeRange(moments[0], moments[-1] + timedelta(minutes=1), place)
    binder = Binder({"moments": [moment.strftime("%Y-%m-%d %H:%M:%S") for moment in moments], "tz": zone})
    day = find_dimension("time:day").events.replace("@at", "moment")
    hour = hour_expression(find_dimension("time:hour").events, "moment", whole, binder)
    answer = await store.query(
        f"SELECT {day}, {hour} FROM (SELECT arrayJoin({{moments:Array(String)}}) AS text,"
        " toDateTime64(text, 6, 'UTC') AS moment)",
        binder.values,
    )
    named = {bucket.key for bucket in buckets(whole, "hour", limit=99)}
    for moment, (date_, key) in zip(moments, answer.rows, strict=True):
        assert isinstance(date_, date)
        one = TimeRange(moment, moment + timedelta(seconds=1), place)
        assert [bucket.key for bucket in buckets(one, "day", limit=2)] == [date_]
        assert [day for day, _, _ in local_days(one)] == [date_]
        assert midnight(date_, place) <= moment < midnight(date_ + timedelta(days=1), place)
        assert key in named
        assert label_bucket(key, "hour", place) == bucket_label("time:hour", moment.astimezone(place))


def page_view(site_id: str, time: datetime, session_id: str, **parts: Any) -> Event:
    """An event that is a session of its own; `source` is its traffic source."""
    at = micros(time)
    return Event(
        site_id=site_id,
        at=at,
        name=parts.get("name", "pageview"),
        session_id=session_id,
        opened_at=at,
        visitor_id=parts.get("visitor", 1),
        hostname="",
        path=parts.get("path", "/"),
        title="",
        element_id="",
        experiment="",
        variant="",
        props={},
        attributes={"source": parts.get("source", "")},
    )


def events_around(zone: str, site_id: str) -> list[Event]:
    """Page views on many quarters of an hour and at odd times, around each change of the clock."""
    random_ = random.Random(zone)
    found = []
    for number, change in enumerate(changes_or_a_day(zone)):
        times = [change + timedelta(minutes=15 * step) for step in range(-110, 110) if random_.random() < 0.6]
        times += [change + random_.uniform(-1, 1) * AROUND for _ in range(40)]
        found += [
            page_view(
                site_id,
                time,
                f"{number}-{index}",
                name=random_.choice(("pageview", "click")),
                visitor=random_.randrange(1, 9),
                path=random_.choice(("/", "/a")),
                source=random_.choice(("Google", "")),
            )
            for index, time in enumerate(times)
        ]
    return found


def changes_or_a_day(zone: str) -> list[datetime]:
    """When the zone's clocks are changed; some moment, where they are not."""
    return changes_of(zone) or [datetime(2025, 3, 30, tzinfo=UTC)]


@pytest.fixture(scope="module")
def worlds() -> dict[str, tuple[Site, list[Event]]]:
    sites = {zone: Site(site_id=f"{zone.rpartition('/')[2].lower()}.example", timezone=zone) for zone in ZONES}
    return {zone: (site, events_around(zone, site.site_id)) for zone, site in sites.items()}


async def test_queries_and_trends_of_every_zone_equal_the_oracle(
    store: Store, worlds: dict[str, tuple[Site, list[Event]]]
) -> None:
    own = await fresh(store)
    await insert_events(own, [event for _, events in worlds.values() for event in events], seed=3)
    directory = Directory({site.site_id: site for site, _ in worlds.values()})
    service = QueryService(own, directory, lambda: datetime(2027, 1, 1, tzinfo=UTC), LimitsSection())
    for zone in ZONES:
        site, events = worlds[zone]
        oracle = Oracle(events, site.site_id, zone)
        for change in changes_or_a_day(zone):
            for interval in INTERVALS:
                await check_chart(service, oracle, site, change, interval)
            await check_day(service, oracle, site, change.astimezone(oracle.zone).date())
    await own.close()


async def check_day(service: QueryService, oracle: Oracle, site: Site, day: date) -> None:
    """A day of whatever length holds what happened from its first instant up to that of the next."""
    start, end = (first_instant(each, oracle.zone) for each in (day, day + timedelta(days=1)))
    metrics = ("pageviews", "visitors", "sessions")
    expected = oracle.answer(metrics, [], [], start, end)[()]
    for exact in (False, True):
        named = (day.isoformat(), day.isoformat())
        request = QueryRequest(site_id=site.site_id, metrics=metrics, date_range=named, exact=exact)
        answer = await service.run(request)
        assert (answer.meta.date_range[0], answer.results[0].metrics) == (
            start.astimezone(oracle.zone).isoformat(),
            expected,
        )


async def check_chart(service: QueryService, oracle: Oracle, site: Site, change: datetime, interval: Interval) -> None:
    """Cheap tables, events and sessions put every event into the bucket that the clock names."""
    margin = timedelta(hours=4) if interval == "minute" else AROUND
    start, end = (change + side * margin for side in (-1, 1))
    dimension = f"time:{interval}"
    questions: list[tuple[list[str], list[str], list[Any]]] = [
        (["pageviews", "visitors", "sessions"], [dimension], []),
        (["pageviews", "sessions"], [dimension, "visit:source"], []),
        (["events", "sessions"], [dimension], [["is", "event:page", ["/a"]]]),
    ]
    for metrics, dimensions, filters in questions if interval == "hour" else questions[:1]:
        asked: dict[str, Any] = {"metrics": tuple(metrics), "dimensions": tuple(dimensions), "filters": tuple(filters)}
        span = (start.isoformat(), end.isoformat())
        page = Pagination(limit=10_000)
        answer = await service.run(QueryRequest(site_id=site.site_id, date_range=span, pagination=page, **asked))
        found = {tuple(row.dimensions): row.metrics for row in answer.results}
        expected = oracle.answer(metrics, dimensions, filters, start, end)
        assert found == expected, f"{site.timezone} {change} {dimension}: {answer.meta.table}"
        if len(dimensions) > 1 or filters:
            continue
        parameters = {"site_id": site.site_id, "metrics": ",".join(metrics), "interval": interval}
        chart = await run_trends(service, parse_trends(parameters | {"from": span[0], "to": span[1]}))
        named = labels(dimension, (start, end), oracle.zone)
        assert [row["time"] for row in chart.rows] == named
        for row in chart.rows:
            assert [row[metric] for metric in metrics] == expected.get((str(row["time"]),), [0, 0, 0])
