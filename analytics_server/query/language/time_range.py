"""Dates as people say them → instants, and instants → calendar buckets.

Pure: the clock's reading and the site's zone come in as values. A range is
`[start, end)` in UTC whose edges were chosen in the site's time zone; days of 23
and 25 hours are whole days, weeks begin on Monday.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Literal
from zoneinfo import ZoneInfo

from analytics_server.errors import RequestError
from analytics_server.query.dimensions import Interval

ComparisonMode = Literal["previous_period", "previous_year"]
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


@dataclass(frozen=True, slots=True)
class Bucket:
    """One calendar bucket: `key` is what SQL groups by, `label` what the answer shows."""

    key: date | int
    label: str


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
        return _from_dates(_add_months(today.replace(day=1), 1 - _MONTHS[spec]), _next_month(today), zone)
    if spec == "year":
        return _from_dates(today.replace(month=1, day=1), date(today.year + 1, 1, 1), zone)
    if spec == "all":
        first = earliest.astimezone(zone).date() if earliest else today
        return _from_dates(min(first, today), tomorrow, zone)
    if spec == "24h":
        hour = _floor(now, 3600, zone)
        return TimeRange(hour - timedelta(hours=23), hour + timedelta(hours=1), zone)
    if spec == "realtime":
        minute = _floor(now, 60, zone)
        return TimeRange(minute - timedelta(minutes=REALTIME_MINUTES - 1), minute + timedelta(minutes=1), zone)
    raise _bad(f"There is no date range {spec!r}. Valid: {', '.join(RANGE_NAMES)}, or a pair [from, to]")


def comparison_range(range_: TimeRange, mode: ComparisonMode, *, now: datetime) -> TimeRange:
    """The range to compare with; as much of it as has passed of `range_`, in whole quarter hours.

    Whole calendar months move by months, whole days by days, anything else by its length.
    """
    start, end, zone = range_.start.astimezone(range_.zone), range_.end.astimezone(range_.zone), range_.zone
    whole_days = _is_midnight(range_.start, zone) and _is_midnight(range_.end, zone)
    months = (end.year - start.year) * 12 + end.month - start.month

    def shift(moment: datetime) -> datetime:
        if mode == "previous_year" and whole_days and moment == range_.end and end.day != 1:
            # By the last day, of which the earlier year may have none: else 28 February loses its own after a leap day.
            return midnight(_add_months(end.date() - timedelta(days=1), -12) + timedelta(days=1), zone)
        if mode == "previous_year":
            return _shift_local(moment, zone, months=12)
        if whole_days and start.day == 1 and end.day == 1:
            return _shift_local(moment, zone, months=months)
        if whole_days:
            return _shift_local(moment, zone, days=(end.date() - start.date()).days)
        return moment - (range_.end - range_.start)

    compared = TimeRange(shift(range_.start), shift(range_.end), zone)
    if range_.start <= now < range_.end:
        until = _floor(shift(now), int(QUARTER.total_seconds()), zone) + QUARTER
        return TimeRange(compared.start, max(compared.start + QUARTER, min(compared.end, until)), zone)
    return compared


def choose_interval(range_: TimeRange) -> Interval:
    """The bucket that suits a range: what the dimension `time` stands for."""
    length = range_.end - range_.start
    if length <= timedelta(hours=2):
        return "minute"
    if length <= timedelta(days=2, hours=1):
        return "hour"
    return "day" if length <= timedelta(days=100) else "month"


def buckets(range_: TimeRange, interval: Interval, *, limit: int) -> list[Bucket]:
    """All buckets that overlap the range, in order. Raises `RequestError` past `limit`."""
    found: list[Bucket] = []
    for bucket in _walk(range_, interval):
        found.append(bucket)
        if len(found) > limit:
            raise RequestError(
                f"The range holds more than {limit} buckets of one {interval}. Choose a longer interval"
                " or a shorter range.",
                code="too_many_buckets",
            )
    return found


def label_bucket(key: object, interval: Interval, zone: ZoneInfo) -> str:
    """A bucket's name: a date, or a local time with its offset for minutes and hours."""
    if isinstance(key, int):
        local = datetime.fromtimestamp(key, zone)
        if interval == "hour" and local.minute:
            # Clocks change by half an hour within this hour: its name is that of the clock its events were read on.
            last = datetime.fromtimestamp(key + 3599, zone)
            local = last.replace(minute=0, second=0, tzinfo=timezone(last.utcoffset() or timedelta()))
        return local.isoformat(timespec="minutes")
    if isinstance(key, date):
        return key.isoformat()
    raise TypeError(f"A bucket of one {interval} can't be {key!r}.")


def on_quarter_hours(range_: TimeRange) -> bool:
    """Do both edges lie on quarter hours, as the buckets of `traffic` do?"""
    return all(edge.timestamp() % QUARTER.total_seconds() == 0 for edge in (range_.start, range_.end))


def _walk(range_: TimeRange, interval: Interval) -> Iterator[Bucket]:
    zone = range_.zone
    if interval in ("minute", "hour"):
        seconds = 60 if interval == "minute" else 3600
        moment = _floor(range_.start, seconds, zone)
        while moment < range_.end:
            key = int(moment.timestamp())
            yield Bucket(key, label_bucket(key, interval, zone))
            moment = _floor(moment + timedelta(seconds=seconds), seconds, zone)
        return
    day = range_.start.astimezone(zone).date()
    last = (range_.end - timedelta(microseconds=1)).astimezone(zone).date()
    if interval == "week":
        day -= timedelta(days=day.weekday())
    elif interval == "month":
        day = day.replace(day=1)
    while day <= last:
        yield Bucket(day, day.isoformat())
        day = _next_month(day) if interval == "month" else day + timedelta(days=7 if interval == "week" else 1)


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


def _is_midnight(moment: datetime, zone: ZoneInfo) -> bool:
    return midnight(moment.astimezone(zone).date(), zone) == moment


def _floor(moment: datetime, seconds: int, zone: ZoneInfo) -> datetime:
    """The start of the local clock's minute, quarter or hour; offsets differ by whole minutes."""
    local = moment.astimezone(zone)
    past = (local.minute * 60 + local.second) % seconds
    return (moment - timedelta(seconds=past, microseconds=moment.microsecond)).astimezone(UTC)


def _shift_local(moment: datetime, zone: ZoneInfo, *, days: int = 0, months: int = 0) -> datetime:
    """The same local clock time some days or months earlier."""
    local = moment.astimezone(zone)
    day = _add_months(local.date(), -months) - timedelta(days=days)
    if _is_midnight(moment, zone):
        return midnight(day, zone)  # The day may begin at another time of the clock than the one it is compared with.
    return datetime.combine(day, local.time(), zone).astimezone(UTC)


def _add_months(day: date, months: int) -> date:
    """The same day of another month, or its last day if that month is shorter."""
    index = day.year * 12 + day.month - 1 + months
    first = date(index // 12, index % 12 + 1, 1)
    return first.replace(day=min(day.day, (_next_month(first) - timedelta(days=1)).day))


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def _bad(message: str) -> RequestError:
    return RequestError(f"{message}.", code="bad_date_range")
