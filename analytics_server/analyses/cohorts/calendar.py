"""Calendar periods as numbers that follow one another, the same in Python and in SQL.

A day is the days since 1970, a week the Mondays since then (weeks begin on Monday), a month the months
since the year 0. Cohort period + k is then an addition, whatever the clock did in between. Pure.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Literal

from analytics_server.query.language.time_range import TimeRange, midnight
from analytics_server.query.sql.templates import fill

Period = Literal["day", "week", "month"]

NONE = 0
"""No period of any event: events begin in 2000."""

_EPOCH = date(1970, 1, 1)
_SQL = {
    "day": "toUInt16(toDate(@at, {tz:String}))",
    "week": "toUInt16(intDiv(toUInt16(toDate(@at, {tz:String})) + 3, 7))",
    "month": "toUInt16(toYear(@at, {tz:String}) * 12 + toMonth(@at, {tz:String}) - 1)",
}


def number_of(day: date, period: Period) -> int:
    """The period of a local day."""
    days = (day - _EPOCH).days
    if period == "day":
        return days
    return (days + 3) // 7 if period == "week" else day.year * 12 + day.month - 1


def first_day(number: int, period: Period) -> date:
    """The local day on which a period begins."""
    if period == "month":
        return date(number // 12, number % 12 + 1, 1)
    return _EPOCH + timedelta(days=number if period == "day" else number * 7 - 3)


def number_sql(at: str, period: Period) -> str:
    """The period of a moment as SQL; needs the parameter `tz`."""
    return fill(_SQL[period], at=at)


def starts_at(number: int, period: Period, range_: TimeRange) -> datetime:
    """The instant at which a period begins in the range's time zone, UTC."""
    return midnight(first_day(number, period), range_.zone)


def periods_of(range_: TimeRange, period: Period) -> tuple[int, int]:
    """The first and the last period that the range touches."""
    first = range_.start.astimezone(range_.zone).date()
    last = (range_.end - timedelta(microseconds=1)).astimezone(range_.zone).date()
    return number_of(first, period), number_of(last, period)


def period_at(moment: datetime, period: Period, range_: TimeRange) -> int:
    """The period that a moment lies in."""
    return number_of(moment.astimezone(UTC).astimezone(range_.zone).date(), period)
