"""Ranges, comparisons and buckets on ordinary days and on days of 23 and 25 hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.errors import RequestError
from analytics_server.query.dimensions import Interval
from analytics_server.query.language.buckets import buckets, choose_interval
from analytics_server.query.language.comparisons import comparison_range
from analytics_server.query.language.time_range import RangeSpec, TimeRange, resolve_range

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
KOLKATA = ZoneInfo("Asia/Kolkata")
UTC_ZONE = ZoneInfo("UTC")
HAVANA = ZoneInfo("America/Havana")  # summer time begins and ends at midnight
SAO_PAULO = ZoneInfo("America/Sao_Paulo")  # summer time began at midnight until 2018
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # summer time is half an hour


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def utc(text: str) -> datetime:
    return at(text).replace(tzinfo=UTC)


def local_range(spec: RangeSpec, now: str, zone: ZoneInfo = BERLIN) -> tuple[str, str]:
    found = resolve_range(spec, now=at(now), zone=zone)
    return found.start.astimezone(zone).isoformat(), found.end.astimezone(zone).isoformat()


@pytest.mark.parametrize(
    ("spec", "start", "end"),
    [
        ("day", "2025-03-30T00:00:00+01:00", "2025-03-31T00:00:00+02:00"),
        ("7d", "2025-03-24T00:00:00+01:00", "2025-03-31T00:00:00+02:00"),
        ("28d", "2025-03-03T00:00:00+01:00", "2025-03-31T00:00:00+02:00"),
        ("30d", "2025-03-01T00:00:00+01:00", "2025-03-31T00:00:00+02:00"),
        ("91d", "2024-12-30T00:00:00+01:00", "2025-03-31T00:00:00+02:00"),
        ("month", "2025-03-01T00:00:00+01:00", "2025-04-01T00:00:00+02:00"),
        ("6mo", "2024-10-01T00:00:00+02:00", "2025-04-01T00:00:00+02:00"),
        ("12mo", "2024-04-01T00:00:00+02:00", "2025-04-01T00:00:00+02:00"),
        ("year", "2025-01-01T00:00:00+01:00", "2026-01-01T00:00:00+01:00"),
        ("all", "2025-03-30T00:00:00+01:00", "2025-03-31T00:00:00+02:00"),
        ("24h", "2025-03-29T14:00:00+01:00", "2025-03-30T15:00:00+02:00"),
        ("realtime", "2025-03-30T14:08:00+02:00", "2025-03-30T14:38:00+02:00"),
        (("2025-03-30", "2025-03-30"), "2025-03-30T00:00:00+01:00", "2025-03-31T00:00:00+02:00"),
        (("2025-03-30T00:00", "2025-03-30T12:00"), "2025-03-30T00:00:00+01:00", "2025-03-30T12:00:00+02:00"),
        (("2025-03-30T00:00Z", "2025-03-30"), "2025-03-30T01:00:00+01:00", "2025-03-31T00:00:00+02:00"),
        ((1743289200000, 1743289200001), "2025-03-30T00:00:00+01:00", "2025-03-30T00:00:00.001000+01:00"),
    ],
)
def test_resolves_ranges_in_the_sites_zone(spec: RangeSpec, start: str, end: str) -> None:
    assert local_range(spec, "2025-03-30T14:37:12.5+02:00") == (start, end)


def test_all_begins_on_the_local_day_of_the_first_event() -> None:
    found = resolve_range("all", now=utc("2025-06-01T12:00"), zone=NEW_YORK, earliest=utc("2025-03-10T02:00"))
    assert found.start == at("2025-03-09T00:00:00-05:00")


def test_24h_begins_on_a_local_hour_where_offsets_are_not_whole_hours() -> None:
    start, end = local_range("24h", "2025-03-30T14:37:00+05:30", KOLKATA)
    assert (start, end) == ("2025-03-29T15:00:00+05:30", "2025-03-30T15:00:00+05:30")


def test_day_begins_at_its_first_instant_where_midnight_does_not_exist() -> None:
    found = resolve_range(("2025-03-09", "2025-03-09"), now=utc("2025-06-01T00:00"), zone=HAVANA)
    assert found.start == utc("2025-03-09T05:00")
    assert found.end - found.start == timedelta(hours=23)


@pytest.mark.parametrize(
    "spec",
    [
        "yesterday-ish",
        "",
        ("2025-02-30", "2025-03-01"),
        ("2025-03-02", "2025-03-01"),
        ("2025-03-02T00:00", "2025-03-02T00:00"),
        ("now", "2025-03-01"),
        ("1999-12-31", "2000-01-01"),
        ("2025-01-01", "9999-12-31"),
        (0, 10**18),
        (-(10**30), 10**30),
        ("", ""),
    ],
)
def test_refuses_what_is_no_range(spec: RangeSpec) -> None:
    with pytest.raises(RequestError) as caught:
        resolve_range(spec, now=utc("2025-03-30T12:00"), zone=BERLIN)
    assert caught.value.code == "bad_date_range"


@pytest.mark.parametrize(
    ("spec", "mode", "start", "end"),
    [
        # Whole months move by months, whole days by days, the rest by its length.
        (("2025-03-01", "2025-03-31"), "previous_period", "2025-02-01T00:00+01:00", "2025-03-01T00:00+01:00"),
        (("2025-03-28", "2025-03-31"), "previous_period", "2025-03-24T00:00+01:00", "2025-03-28T00:00+01:00"),
        (("2025-03-30", "2025-03-30"), "previous_period", "2025-03-29T00:00+01:00", "2025-03-30T00:00+01:00"),
        (
            ("2025-03-30T06:00", "2025-03-30T09:00"),
            "previous_period",
            "2025-03-30T03:00+02:00",
            "2025-03-30T06:00+02:00",
        ),
        (("2024-02-29", "2024-02-29"), "previous_year", "2023-02-28T00:00+01:00", "2023-03-01T00:00+01:00"),
        (("2024-02-28", "2024-02-28"), "previous_year", "2023-02-28T00:00+01:00", "2023-03-01T00:00+01:00"),
        (("2024-02-01", "2024-02-28"), "previous_year", "2023-02-01T00:00+01:00", "2023-03-01T00:00+01:00"),
        (("2024-02-01", "2024-02-29"), "previous_year", "2023-02-01T00:00+01:00", "2023-03-01T00:00+01:00"),
        (("2025-02-01", "2025-02-28"), "previous_year", "2024-02-01T00:00+01:00", "2024-03-01T00:00+01:00"),
        (("2025-03-01", "2025-03-31"), "previous_year", "2024-03-01T00:00+01:00", "2024-04-01T00:00+02:00"),
    ],
)
def test_compares_with_the_range_before(spec: RangeSpec, mode: str, start: str, end: str) -> None:
    range_ = resolve_range(spec, now=utc("2025-06-01T00:00"), zone=BERLIN)
    found = comparison_range(
        range_, "previous_year" if mode == "previous_year" else "previous_period", now=utc("2025-06-01T00:00")
    )
    assert (found.start, found.end) == (at(start), at(end))


@pytest.mark.parametrize(
    ("spec", "mode", "start", "end"),
    [
        # 4 November 2018 began at one o'clock there: that is the end of the third, and the beginning of the fourth.
        (("2018-11-03", "2018-11-03"), "previous_period", "2018-11-02T00:00-03:00", "2018-11-03T00:00-03:00"),
        (("2018-11-04", "2018-11-05"), "previous_period", "2018-11-02T00:00-03:00", "2018-11-04T01:00-02:00"),
        (("2018-11-04", "2018-11-09"), "previous_year", "2017-11-04T00:00-02:00", "2017-11-10T00:00-02:00"),
        (("2018-11-01", "2018-11-03"), "previous_year", "2017-11-01T00:00-02:00", "2017-11-04T00:00-02:00"),
    ],
)
def test_compares_whole_days_where_a_day_begins_at_one(spec: RangeSpec, mode: str, start: str, end: str) -> None:
    range_ = resolve_range(spec, now=utc("2025-06-01T00:00"), zone=SAO_PAULO)
    found = comparison_range(
        range_, "previous_year" if mode == "previous_year" else "previous_period", now=utc("2025-06-01T00:00")
    )
    assert (found.start, found.end) == (at(start), at(end))


def test_compares_a_running_range_with_the_same_part_of_the_earlier_one() -> None:
    now = at("2025-03-31T10:20:00+02:00")
    range_ = resolve_range("7d", now=now, zone=BERLIN)
    found = comparison_range(range_, "previous_period", now=now)
    assert found.start == at("2025-03-18T00:00:00+01:00")
    assert found.end == at("2025-03-24T10:30:00+01:00")


def test_a_comparison_is_never_empty() -> None:
    now = at("2025-03-31T00:00:00+02:00")
    range_ = resolve_range("day", now=now, zone=BERLIN)
    found = comparison_range(range_, "previous_period", now=now)
    assert found.end - found.start == timedelta(minutes=15)


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


@given(
    zone=st.sampled_from((BERLIN, NEW_YORK, KOLKATA, UTC_ZONE, HAVANA, LORD_HOWE)),
    interval=st.sampled_from(("minute", "hour", "day", "week", "month")),
    start=st.datetimes(datetime(2024, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC)),
    minutes=st.integers(1, 5_000),
    inside=st.floats(0, 1, exclude_max=True),
)
def test_every_instant_of_a_range_has_its_bucket(
    zone: ZoneInfo, interval: Interval, start: datetime, minutes: int, inside: float
) -> None:
    range_ = TimeRange(start, start + timedelta(minutes=minutes), zone)
    # A fraction just below one is rounded up to the end, which lies outside.
    moment = min(start + timedelta(minutes=minutes) * inside, range_.end - timedelta(microseconds=1))
    found = buckets(range_, interval, limit=6_000)
    keys = [bucket.key for bucket in found]
    assert len(set(keys)) == len(keys)
    local = moment.astimezone(zone)
    own = {
        "minute": local.replace(second=0, microsecond=0),
        "hour": local.replace(minute=0, second=0, microsecond=0),
        "day": local.date(),
        "week": local.date() - timedelta(days=local.weekday()),
        "month": local.date().replace(day=1),
    }[interval]
    assert (int(own.timestamp()) if isinstance(own, datetime) else own) in keys
