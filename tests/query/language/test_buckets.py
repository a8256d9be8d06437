"""Buckets on ordinary days, on days of 23 and 25 hours, and in hours within which the clock is changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_server.errors import RequestError
from analytics_server.query.clock_changes import ClockPeriod, clock_periods
from analytics_server.query.dimensions import Interval
from analytics_server.query.language.buckets import buckets, choose_interval, with_found
from analytics_server.query.language.time_range import TimeRange, resolve_range
from tests.query.oracle import bucket_label
from tests.query.time_oracle import labels
from tests.query.zones import ZONES, changes_of

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # summer time is half an hour


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_day_has_23_or_25_hours_when_the_clock_changes() -> None:
    for day, hours in ((("2025-03-30", "2025-03-30"), 23), (("2025-10-26", "2025-10-26"), 25)):
        range_ = resolve_range(day, now=utc("2025-12-01T00:00"), zone=BERLIN)
        found = buckets(range_, "hour", limit=100)
        assert len(found) == hours
        assert len({bucket.label for bucket in found}) == hours


def test_hours_of_the_repeated_hour_differ_by_their_offset() -> None:
    range_ = resolve_range(("2025-10-26", "2025-10-26"), now=utc("2025-12-01T00:00"), zone=BERLIN)
    labels = [bucket.label for bucket in buckets(range_, "hour", limit=100)]
    assert labels[1:5] == [
        "2025-10-26T01:00+02:00",
        "2025-10-26T02:00+02:00",
        "2025-10-26T02:00+01:00",
        "2025-10-26T03:00+01:00",
    ]


def test_hours_in_which_clocks_change_by_half_an_hour_are_named_by_the_clock() -> None:
    for day, names in {
        "2026-04-05": ["01:00+11:00", "01:00+10:30", "02:00+10:30"],
        "2026-10-04": ["01:00+10:30", "02:00+11:00", "03:00+11:00"],
    }.items():
        range_ = resolve_range((day, day), now=utc("2025-12-01T00:00"), zone=LORD_HOWE)
        assert [b.label for b in buckets(range_, "hour", limit=100)][1:4] == [f"{day}T{name}" for name in names]


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    range_ = resolve_range(("2025-03-30", "2025-04-07"), now=utc("2025-12-01T00:00"), zone=NEW_YORK)
    assert [b.key for b in buckets(range_, "week", limit=9)] == [date(2025, 3, 24), date(2025, 3, 31), date(2025, 4, 7)]
    assert [b.label for b in buckets(range_, "month", limit=9)] == ["2025-03-01", "2025-04-01"]


def test_refuses_more_buckets_than_the_limit() -> None:
    range_ = resolve_range("year", now=utc("2025-12-01T00:00"), zone=BERLIN)
    with pytest.raises(RequestError, match="longer interval"):
        buckets(range_, "minute", limit=1000)


@pytest.mark.parametrize(
    ("spec", "interval"),
    [("realtime", "minute"), ("day", "hour"), ("24h", "hour"), ("7d", "day"), ("91d", "day"), ("12mo", "month")],
)
def test_chooses_an_interval_that_suits_the_range(spec: str, interval: str) -> None:
    assert choose_interval(resolve_range(spec, now=utc("2025-10-26T12:00"), zone=BERLIN)) == interval


@settings(max_examples=100)
@given(
    zone=st.sampled_from(ZONES),
    interval=st.sampled_from(("minute", "hour", "day", "week", "month")),
    start=st.datetimes(datetime(2024, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC)),
    minutes=st.integers(1, 5_000),
    inside=st.floats(0, 1, exclude_max=True),
)
def test_every_instant_of_a_range_has_its_bucket(
    zone: str, interval: Interval, start: datetime, minutes: int, inside: float
) -> None:
    range_ = TimeRange(start, start + timedelta(minutes=minutes), ZoneInfo(zone))
    # A fraction just below one is rounded up to the end, which lies outside.
    moment = min(start + timedelta(minutes=minutes) * inside, range_.end - timedelta(microseconds=1))
    found = buckets(range_, interval, limit=6_000)
    assert len({bucket.key for bucket in found}) == len({bucket.label for bucket in found}) == len(found)
    assert bucket_label(f"time:{interval}", moment.astimezone(range_.zone)) in {bucket.label for bucket in found}


@pytest.mark.parametrize("zone", ZONES)
def test_buckets_where_clocks_change_are_those_that_each_minute_names(zone: str) -> None:
    place = ZoneInfo(zone)
    for change in changes_of(zone):
        range_ = TimeRange(change - timedelta(minutes=100), change + timedelta(minutes=95), place)
        for interval in ("minute", "hour", "day"):
            found = [bucket.label for bucket in buckets(range_, interval, limit=6_000)]
            assert found == labels(f"time:{interval}", (range_.start, range_.end), place)


@pytest.mark.parametrize(
    ("day", "names"),
    [
        # 03:45 becomes 02:45, and 02:45 becomes 03:45.
        ("2026-04-05", ["02:00+13:45", "03:00+13:45", "02:00+12:45", "03:00+12:45", "04:00+12:45"]),
        ("2026-09-27", ["02:00+12:45", "03:00+13:45", "04:00+13:45"]),
    ],
)
def test_each_hour_of_chatham_is_named_by_its_own_clock(day: str, names: list[str]) -> None:
    range_ = resolve_range((day, day), now=utc("2025-12-01T00:00"), zone=ZoneInfo("Pacific/Chatham"))
    found = buckets(range_, "hour", limit=100)
    assert [bucket.label for bucket in found[2 : 2 + len(names)]] == [f"{day}T{name}" for name in names]
    assert [bucket.key for bucket in found] == sorted({bucket.key for bucket in found})


def test_a_day_that_the_calendar_leaves_out_has_no_bucket() -> None:
    range_ = resolve_range(("2011-12-28", "2012-01-01"), now=utc("2025-12-01T00:00"), zone=ZoneInfo("Pacific/Apia"))
    days = [bucket.label for bucket in buckets(range_, "day", limit=100)]
    assert days == ["2011-12-28", "2011-12-29", "2011-12-31", "2012-01-01"]
    assert len(buckets(range_, "hour", limit=200)) == 4 * 24


def test_changes_are_found_to_the_second_and_once() -> None:
    start, end = (int(utc(f"{year}-01-01T00:00").timestamp()) for year in (2025, 2027))
    periods = clock_periods(start, end, ZoneInfo("Europe/Berlin"))
    assert periods == [
        ClockPeriod(0, 3600),
        *(
            ClockPeriod(int(utc(text).timestamp()), offset)
            for text, offset in (
                ("2025-03-30T01:00", 7200),
                ("2025-10-26T01:00", 3600),
                ("2026-03-29T01:00", 7200),
                ("2026-10-25T01:00", 3600),
            )
        ),
    ]
    change = periods[1].start
    assert clock_periods(change, change, ZoneInfo("Europe/Berlin")) == [ClockPeriod(0, 7200)]
    assert clock_periods(change - 1, change + 1, ZoneInfo("Europe/Berlin")) == [
        ClockPeriod(0, 3600),
        ClockPeriod(change, 7200),
    ]


def test_a_bucket_that_only_clickhouse_knows_has_its_place() -> None:
    range_ = resolve_range(("2025-01-01", "2025-01-03"), now=utc("2025-12-01T00:00"), zone=BERLIN)
    days = buckets(range_, "day", limit=9)
    assert with_found(days, [date(2025, 1, 2)], "day", BERLIN) == days
    assert with_found([days[0], days[2]], [date(2025, 1, 2), days[0].key], "day", BERLIN) == days
    hours = buckets(range_, "hour", limit=99)
    assert with_found(hours[1:], [hours[0].key], "hour", BERLIN) == hours
