"""Dates as people say them → instants.

Pure: the clock's reading and the site's zone come in as values. A range is
`[start, end)` in UTC whose edges were chosen in the site's time zone; days of 23
and 25 hours are whole days.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from analytics_server.errors import RequestError

RangeSpec = str | tuple[str | int, str | int]

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
REALTIME_MINUTES = 30

_DAYS = {"day": 1, "7d": 7, "28d": 28, "30d": 30, "91d": 91}
_MONTHS = {"month": 1, "6mo": 6, "12mo": 12}
RANGE_NAMES: tuple[str, ...] = (*_DAYS, *_MONTHS, "24h", "year", "all", "realtime")


@dataclass(frozen=True, slots=True)
class TimeRange:
    """`[start, end)`, both UTC, as seen in `zone`."""

    start: datetime
    end: datetime
    zone: ZoneInfo


def resolve_range(spec: RangeSpec, *, now: datetime, zone: ZoneInfo, earliest: datetime | None = None) -> TimeRange:
    """The instants a date range means. `earliest`: the site's first event, for "all".

    Raises `RequestError` (bad_date_range).
    """
    if not isinstance(spec, str):
        return _resolve_pair(spec, zone)
    local = now.astimezone(zone)
    today = local.date()
    tomorrow = today + timedelta(days=1)
    if spec in _DAYS:
        return _from_dates(today - timedelta(days=_DAYS[spec] - 1), tomorrow, zone)
    if spec in _MONTHS:
        return _from_dates(add_months(today.replace(day=1), 1 - _MONTHS[spec]), next_month(today), zone)
    if spec == "year":
        return _from_dates(today.replace(month=1, day=1), date(today.year + 1, 1, 1), zone)
    if spec == "all":
        first = earliest.astimezone(zone).date() if earliest else today
        return _from_dates(min(first, today), tomorrow, zone)
    if spec == "24h":
        hour = floor_to(now, 3600, zone)
        return TimeRange(hour - timedelta(hours=23), hour + timedelta(hours=1), zone)
    if spec == "realtime":
        minute = floor_to(now, 60, zone)
        return TimeRange(minute - timedelta(minutes=REALTIME_MINUTES - 1), minute + timedelta(minutes=1), zone)
    raise _bad(f"There is no date range {spec!r}. Valid: {', '.join(RANGE_NAMES)}, or a pair [from, to]")


def on_quarter_hours(range_: TimeRange) -> bool:
    """Do both edges lie on quarter hours, as the buckets of `traffic` do?"""
    return all(edge.timestamp() % QUARTER.total_seconds() == 0 for edge in (range_.start, range_.end))


def _resolve_pair(pair: tuple[str | int, str | int], zone: ZoneInfo) -> TimeRange:
    first, last = (parse_moment(part, zone) for part in pair)
    start = midnight(first, zone) if not isinstance(first, datetime) else first
    end = midnight(last + timedelta(days=1), zone) if not isinstance(last, datetime) else last
    if start >= end:
        raise _bad(f"The range {pair[0]!r} to {pair[1]!r} is empty: the first must lie before the second")
    if start < EARLIEST or end > LATEST:
        raise _bad(f"Ranges must lie between {EARLIEST.date()} and {LATEST.date()}")
    return TimeRange(start, end, zone)


def parse_moment(part: str | int, zone: ZoneInfo) -> date | datetime:
    """A date, or an aware UTC datetime; a time without offset is the site's."""
    try:
        if isinstance(part, int):
            return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=part)
        if len(part) == len("2025-01-31"):
            day = date.fromisoformat(part)
            if not EARLIEST.year <= day.year <= LATEST.year:
                raise _bad(f"Ranges must lie between {EARLIEST.date()} and {LATEST.date()}")
            return day
        moment = datetime.fromisoformat(part)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _bad(f"{part!r} is no date. Write 2025-01-31, 2025-01-31T12:00:00+01:00 or epoch milliseconds") from error


def _from_dates(first: date, after: date, zone: ZoneInfo) -> TimeRange:
    return TimeRange(midnight(first, zone), midnight(after, zone), zone)


def local_days(range_: TimeRange) -> Iterator[tuple[date, datetime, datetime]]:
    """The local days that a range touches, in order: the date, and the instants at which it begins and ends."""
    day = range_.start.astimezone(range_.zone).date()
    start = midnight(day, range_.zone)
    while start < range_.end:
        following = day + timedelta(days=1)
        end = midnight(following, range_.zone)
        yield day, start, end
        day, start = following, end


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day, also where summer time begins or ends at midnight."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def is_midnight(moment: datetime, zone: ZoneInfo) -> bool:
    """Is it the first instant of a local day?"""
    return midnight(moment.astimezone(zone).date(), zone) == moment


def floor_to(moment: datetime, seconds: int, zone: ZoneInfo) -> datetime:
    """The start of the local clock's minute, quarter or hour; offsets differ by whole minutes."""
    local = moment.astimezone(zone)
    past = (local.minute * 60 + local.second) % seconds
    return (moment - timedelta(seconds=past, microseconds=moment.microsecond)).astimezone(UTC)


def add_months(day: date, months: int) -> date:
    """The same day of another month, or its last day if that month is shorter."""
    index = day.year * 12 + day.month - 1 + months
    first = date(index // 12, index % 12 + 1, 1)
    return first.replace(day=min(day.day, (next_month(first) - timedelta(days=1)).day))


def next_month(day: date) -> date:
    """The first day of the following month."""
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def _bad(message: str) -> RequestError:
    return RequestError(f"{message}.", code="bad_date_range")
