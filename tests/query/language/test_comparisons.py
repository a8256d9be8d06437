"""What a range is compared with, on ordinary days and where the clock or the calendar is changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_server.errors import RequestError
from analytics_server.query.language.comparisons import ComparisonMode, comparison_range
from analytics_server.query.language.time_range import RangeSpec, TimeRange, resolve_range
from tests.query.time_oracle import first_instant

BERLIN = ZoneInfo("Europe/Berlin")
SAO_PAULO = ZoneInfo("America/Sao_Paulo")  # summer time began at midnight until 2018
APIA = ZoneInfo("Pacific/Apia")  # 30 December 2011 was left out
LATER = datetime(2027, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def utc(text: str) -> datetime:
    return at(text).replace(tzinfo=UTC)


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
def test_compares_with_the_range_before(spec: RangeSpec, mode: ComparisonMode, start: str, end: str) -> None:
    range_ = resolve_range(spec, now=utc("2025-06-01T00:00"), zone=BERLIN)
    found = comparison_range(range_, mode, now=utc("2025-06-01T00:00"))
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
def test_compares_whole_days_where_a_day_begins_at_one(
    spec: RangeSpec, mode: ComparisonMode, start: str, end: str
) -> None:
    range_ = resolve_range(spec, now=utc("2025-06-01T00:00"), zone=SAO_PAULO)
    found = comparison_range(range_, mode, now=utc("2025-06-01T00:00"))
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


@pytest.mark.parametrize(
    ("spec", "mode", "start", "end"),
    [
        # 30 days: a Sunday is compared with the Sunday before the Friday that lies 30 days back.
        (("2026-11-01", "2026-11-30"), "previous_period", "2026-09-27T00:00+02:00", "2026-10-28T00:00+01:00"),
        (("2026-11-02", "2026-11-29"), "previous_period", "2026-10-05T00:00+02:00", "2026-11-02T00:00+01:00"),
        (("2026-11-07", "2026-11-13"), "previous_period", "2026-10-31T00:00+01:00", "2026-11-07T00:00+01:00"),
        (("2026-11-10", "2026-11-10"), "previous_period", "2026-11-03T00:00+01:00", "2026-11-04T00:00+01:00"),
        (("2026-11-05", "2026-11-14"), "previous_period", "2026-10-22T00:00+02:00", "2026-11-01T00:00+01:00"),
        # Hours keep their place in the day.
        (
            ("2026-11-10T00:00", "2026-11-10T12:00"),
            "previous_period",
            "2026-11-03T00:00+01:00",
            "2026-11-03T12:00+01:00",
        ),
        (
            ("2026-03-30T06:00", "2026-04-06T07:00"),
            "previous_period",
            "2026-03-16T06:00+01:00",
            "2026-03-23T07:00+01:00",
        ),
        # The nearest, earlier or later: 1 January 2023 was a Sunday, a year before a Saturday.
        (("2023-01-01", "2023-01-31"), "previous_year", "2022-01-02T00:00+01:00", "2022-02-02T00:00+01:00"),
        (("2024-03-01", "2024-03-31"), "previous_year", "2023-03-03T00:00+01:00", "2023-04-03T00:00+02:00"),
        (("2025-03-01", "2025-03-31"), "previous_year", "2024-03-02T00:00+01:00", "2024-04-02T00:00+02:00"),
        (("2026-11-23T12:00", "2026-11-24T12:00"), "previous_year", "2025-11-24T12:00+01:00", "2025-11-25T12:00+01:00"),
    ],
)
def test_matches_the_day_of_the_week(spec: RangeSpec, mode: ComparisonMode, start: str, end: str) -> None:
    range_ = resolve_range(spec, now=LATER, zone=BERLIN)
    found = comparison_range(range_, mode, now=LATER, match_day_of_week=True)
    assert (found.start, found.end) == (at(start), at(end))


def test_a_running_range_that_matches_the_day_of_the_week_is_compared_with_the_same_part() -> None:
    now = at("2026-11-18T10:20:00+01:00")
    range_ = resolve_range("month", now=now, zone=BERLIN)
    found = comparison_range(range_, "previous_period", now=now, match_day_of_week=True)
    assert (found.start, found.end) == (at("2026-09-27T00:00+02:00"), at("2026-10-14T10:30+02:00"))


@settings(max_examples=60)
@given(
    zone=st.sampled_from(("Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "UTC")),
    first=st.dates(datetime(2024, 1, 1).date(), datetime(2026, 12, 31).date()),
    days=st.integers(1, 120),
    mode=st.sampled_from(("previous_period", "previous_year")),
)
def test_matching_days_of_the_week_shifts_to_the_nearest_such_range(
    zone: str, first: datetime, days: int, mode: ComparisonMode
) -> None:
    place = ZoneInfo(zone)
    start, end = first_instant(first, place), first_instant(first + days * DAY, place)
    range_ = TimeRange(start, end, place)
    plain = comparison_range(range_, mode, now=LATER)
    matched = comparison_range(range_, mode, now=LATER, match_day_of_week=True)
    was, last = (edge.astimezone(place).date() for edge in (plain.start, plain.end))
    allowed = [
        shift
        for shift in sorted(range(-7, 8), key=abs)
        if (was + shift * DAY).weekday() == first.weekday() and (mode == "previous_year" or last + shift * DAY <= first)
    ]
    nearest = allowed[0] * DAY
    assert (matched.start, matched.end) == (first_instant(was + nearest, place), first_instant(last + nearest, place))


def test_a_pair_stands_as_it_is() -> None:
    now = at("2026-11-18T10:20:00+01:00")
    range_ = resolve_range("7d", now=now, zone=BERLIN)
    for matching in (False, True):
        found = comparison_range(range_, ("2026-10-01", "2026-10-31"), now=now, match_day_of_week=matching)
        assert (found.start, found.end) == (at("2026-10-01T00:00+02:00"), at("2026-11-01T00:00+01:00"))
    with pytest.raises(RequestError) as caught:
        comparison_range(range_, ("2026-10-31", "2026-10-01"), now=now)
    assert caught.value.code == "bad_date_range"


@pytest.mark.parametrize("matching", [False, True])
def test_a_day_that_the_calendar_leaves_out_is_no_counterpart(matching: bool) -> None:
    range_ = resolve_range(("2011-12-31", "2011-12-31"), now=LATER, zone=APIA)
    found = comparison_range(range_, "previous_period", now=LATER, match_day_of_week=matching)
    day = "2011-12-24" if matching else "2011-12-29"
    assert (found.start, found.end) == (at(f"{day}T10:00Z"), at(f"{day}T10:00Z") + DAY)


def test_hours_that_are_repeated_have_a_counterpart_of_the_same_length() -> None:
    range_ = TimeRange(at("2025-10-26T02:50+02:00"), at("2025-10-26T02:10+01:00"), BERLIN)
    found = comparison_range(range_, "previous_year", now=LATER)
    assert (found.start, found.end) == (at("2024-10-26T02:50+02:00"), at("2024-10-26T03:10+02:00"))
