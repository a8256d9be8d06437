"""Ranges on ordinary days and on days of 23 and 25 hours."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_server.errors import RequestError
from analytics_server.query.language.time_range import (
    COUNTED_RANGES,
    MAX_DAYS_BACK,
    MAX_MONTHS_BACK,
    RangeSpec,
    resolve_range,
)
from tests.query.time_oracle import span_of

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
KOLKATA = ZoneInfo("Asia/Kolkata")
HAVANA = ZoneInfo("America/Havana")  # summer time begins and ends at midnight
APIA = ZoneInfo("Pacific/Apia")  # 30 December 2011 was left out


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
        ("1d", "2025-03-30T00:00:00+01:00", "2025-03-31T00:00:00+02:00"),
        ("10d", "2025-03-21T00:00:00+01:00", "2025-03-31T00:00:00+02:00"),
        ("1mo", "2025-03-01T00:00:00+01:00", "2025-04-01T00:00:00+02:00"),
        ("3mo", "2025-01-01T00:00:00+01:00", "2025-04-01T00:00:00+02:00"),
        (f"{MAX_DAYS_BACK}d", "2011-07-23T00:00:00+02:00", "2025-03-31T00:00:00+02:00"),
        (f"{MAX_MONTHS_BACK}mo", "2016-12-01T00:00:00+01:00", "2025-04-01T00:00:00+02:00"),
        ("yesterday", "2025-03-29T00:00:00+01:00", "2025-03-30T00:00:00+01:00"),
        ("week", "2025-03-24T00:00:00+01:00", "2025-03-31T00:00:00+02:00"),
        ("30m", "2025-03-30T14:08:00+02:00", "2025-03-30T14:38:00+02:00"),
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
    ("now", "start", "end"),
    [
        ("2011-12-31T08:00:00+14:00", "2011-12-29T10:00Z", "2011-12-30T10:00Z"),
        ("2011-12-29T08:00:00-10:00", "2011-12-28T10:00Z", "2011-12-29T10:00Z"),
    ],
)
def test_yesterday_is_a_day_that_the_calendar_holds(now: str, start: str, end: str) -> None:
    found = resolve_range("yesterday", now=at(now), zone=APIA)
    assert (found.start, found.end) == (at(start), at(end))


@settings(max_examples=40)
@given(
    zone=st.sampled_from(
        ("Europe/Berlin", "America/Santiago", "Asia/Beirut", "Africa/Cairo", "Pacific/Chatham", "UTC")
    ),
    now=st.datetimes(datetime(2024, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)),
    spec=st.one_of(
        st.sampled_from(("day", "yesterday", "week", "month", "year")),
        st.integers(1, 400).map(lambda number: f"{number}d"),
        st.integers(1, 30).map(lambda number: f"{number}mo"),
    ),
)
def test_ranges_of_days_equal_those_chosen_from_a_calendar(zone: str, now: datetime, spec: str) -> None:
    found = resolve_range(spec, now=now, zone=ZoneInfo(zone))
    assert (found.start, found.end) == span_of(spec, now, ZoneInfo(zone))


@pytest.mark.parametrize(
    "spec",
    [
        "yesterday-ish",
        "",
        "0d",
        "00d",
        "01d",
        "0mo",
        "-1d",
        "+1d",
        " 7d",
        "7d\n",
        "7D",
        "1.5d",
        "٣d",
        "7",
        "d",
        "12h",
        "29m",
        f"{MAX_DAYS_BACK + 1}d",
        f"{MAX_MONTHS_BACK + 1}mo",
        "9" * 5_000 + "d",
        ("2025-02-30", "2025-03-01"),
        ("2025-03-02", "2025-03-01"),
        ("2025-03-02T00:00", "2025-03-02T00:00"),
        ("now", "2025-03-01"),
        ("1999-12-31", "2000-01-01"),
        ("2025-01-01", "9999-12-31"),
        (0, 10**18),
        (-(10**30), 10**30),
        ("", ""),
        ("20250301", "20250302"),
        ("2025-W05", "2025-W06"),
        ("2025-W05-5", "2025-W05-6"),
        ("2025-03-01", "20250302T120000"),
    ],
)
def test_refuses_what_is_no_range(spec: RangeSpec) -> None:
    with pytest.raises(RequestError) as caught:
        resolve_range(spec, now=utc("2025-03-30T12:00"), zone=BERLIN)
    assert caught.value.code == "bad_date_range"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("0d", "Write 1d"),
        ("007d", "Write 7d"),
        ("5001d", "5000d at most. Give a pair"),
        ("101mo", "100mo at most"),
        ("6m", "Did you mean '6mo'?"),
        ("2 weeks", "Did you mean '14d'?"),
        ("today", "Did you mean 'day'?"),
        ("yesterdays", "Did you mean 'yesterday'?"),
        ("soon", "Valid: day, yesterday, 24h, 30m, week, month, year, all, realtime; so many days or months"),
    ],
)
def test_says_what_would_be_right(spec: str, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        resolve_range(spec, now=utc("2025-03-30T12:00"), zone=BERLIN)
    assert said in caught.value.message
    assert len(caught.value.message) < 400


def test_a_day_that_the_calendar_leaves_out_is_no_range() -> None:
    with pytest.raises(RequestError, match="the calendar of Pacific/Apia"):
        resolve_range(("2011-12-30", "2011-12-30"), now=utc("2025-03-30T12:00"), zone=APIA)


def test_a_range_that_begins_before_2000_is_refused() -> None:
    with pytest.raises(RequestError, match="2000-01-01"):
        resolve_range("5000d", now=utc("2013-09-07T12:00"), zone=BERLIN)
    assert resolve_range("5000d", now=utc("2013-09-08T12:00"), zone=BERLIN).start == at("2000-01-01T00:00+01:00")


def test_the_described_pattern_takes_the_same_numbers() -> None:
    for unit, most in (("d", MAX_DAYS_BACK), ("mo", MAX_MONTHS_BACK)):
        taken = [number for number in range(6_000) if re.search(COUNTED_RANGES, f"{number}{unit}")]
        assert taken == list(range(1, most + 1))
