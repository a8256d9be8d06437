"""Time ranges: parses dates and relative ranges into instants.

Pure: the clock's reading and the site's zone come in as values. A range is
`[start, end)` in UTC whose edges were chosen in the site's time zone; days of 23
and 25 hours are whole days.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from analytics_server.errors import RequestError

Pair = tuple[str | int, str | int]
RangeSpec = str | Pair

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
REALTIME_MINUTES = 30
MAX_SHOWN = 40

MAX_DAYS_BACK = 5_000
MAX_MONTHS_BACK = 100
"""How many days and months a range such as 7d or 6mo may count; a longer one is asked for by its two dates."""

RANGE_NAMES: tuple[str, ...] = ("day", "yesterday", "24h", "30m", "week", "month", "year", "all", "realtime")
COUNTED_RANGES = r"^(([1-9][0-9]{0,2}|[1-4][0-9]{3}|5000)d|([1-9][0-9]?|100)mo)$"
"""The ranges of so many days or months, for the API's description."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(_DAY.pattern + "[Tt ][0-9]")
"""Forms that `fromisoformat` takes besides, such as 20250131 and 2025-W05, would be moments at their midnight."""
_COUNTED = re.compile(r"([0-9]+)(d|mo)")
_MOST = {"d": MAX_DAYS_BACK, "mo": MAX_MONTHS_BACK}


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
        return resolve_pair(spec, zone)
    today = now.astimezone(zone).date()
    tomorrow = today + timedelta(days=1)
    counted = _COUNTED.fullmatch(spec)
    if counted is not None:
        number = _count(counted[1], counted[2])
        months = counted[2] == "mo"
        first = add_months(today.replace(day=1), 1 - number) if months else today - timedelta(days=number - 1)
        if first < EARLIEST.date():
            raise _out_of_bounds()
        return _from_dates(first, next_month(today) if months else tomorrow, zone)
    match spec:
        case "day":
            return _from_dates(today, tomorrow, zone)
        case "yesterday":
            return _from_dates(_day_before(today, zone), today, zone)
        case "week":
            monday = today - timedelta(days=today.weekday())
            return _from_dates(monday, monday + timedelta(days=7), zone)
        case "month":
            return _from_dates(today.replace(day=1), next_month(today), zone)
        case "year":
            return _from_dates(today.replace(month=1, day=1), date(today.year + 1, 1, 1), zone)
        case "all":
            first = earliest.astimezone(zone).date() if earliest else today
            return _from_dates(min(first, today), tomorrow, zone)
        case "24h":
            hour = floor_to(now, 3600, zone)
            return TimeRange(hour - timedelta(hours=23), hour + timedelta(hours=1), zone)
        case "30m" | "realtime":
            minute = floor_to(now, 60, zone)
            return TimeRange(minute - timedelta(minutes=REALTIME_MINUTES - 1), minute + timedelta(minutes=1), zone)
    raise _no_range(spec)


def _count(digits: str, unit: str) -> int:
    """The number of a range such as 7d. Raises `RequestError` for one that is none, or too large."""
    most = _MOST[unit]
    if digits.startswith("0"):
        plain = digits.lstrip("0")
        raise _bad(f"There is no date range {_quote(digits + unit)}. Write {plain[:5] or 1}{unit}")
    if len(digits) > len(str(most)) or int(digits) > most:
        raise _bad(
            f"The date range {_quote(digits + unit)} is too long: {most}{unit} at most. Give a pair [from, to]"
            ' or "all" instead'
        )
    return int(digits)


def _no_range(spec: str) -> RequestError:
    return _bad(
        f"There is no date range {_quote(spec)}.{_remedy(spec)} Valid: {', '.join(RANGE_NAMES)}; so many days or"
        f" months, such as 7d or 6mo (1d to {MAX_DAYS_BACK}d, 1mo to {MAX_MONTHS_BACK}mo); or a pair [from, to]"
    )


def _remedy(spec: str) -> str:
    """What may have been meant."""
    text = spec.strip().lower()[:20]
    told = {"today": "day", "now": "realtime", "quarter": "3mo"}
    counted = re.fullmatch(r"([1-9][0-9]{0,3}) *(m|mo|months?|d|days?|w|weeks?|y|years?)", text)
    if counted is not None:
        number, unit = int(counted[1]), counted[2]
        meant = {"d": f"{number}d", "w": f"{7 * number}d", "m": f"{number}mo", "y": f"{12 * number}mo"}[unit[0]]
        return f" Did you mean {meant!r}?"
    near = told.get(text) or next(iter(difflib.get_close_matches(text, RANGE_NAMES, n=1, cutoff=0.6)), "")
    return f" Did you mean {near!r}?" if near else ""


def _quote(spec: str) -> str:
    return repr(spec if len(spec) <= MAX_SHOWN else f"{spec[:MAX_SHOWN]}…")


def on_quarter_hours(range_: TimeRange) -> bool:
    """Do both edges lie on quarter hours, as the buckets of `traffic` do?"""
    return all(edge.timestamp() % QUARTER.total_seconds() == 0 for edge in (range_.start, range_.end))


def resolve_pair(pair: Pair, zone: ZoneInfo) -> TimeRange:
    """The instants a pair [from, to] means. Raises `RequestError` (bad_date_range)."""
    first, last = (parse_moment(part, zone) for part in pair)
    start = midnight(first, zone) if not isinstance(first, datetime) else first
    end = midnight(last + timedelta(days=1), zone) if not isinstance(last, datetime) else last
    if start >= end:
        raise _bad(
            f"The range {pair[0]!r} to {pair[1]!r} is empty: the first must lie before the second, and a day must be"
            f" one that the calendar of {zone.key} holds"
        )
    if start < EARLIEST or end > LATEST:
        raise _out_of_bounds()
    return TimeRange(start, end, zone)


def parse_moment(part: str | int, zone: ZoneInfo) -> date | datetime:
    """A date, or an aware UTC datetime; a time without offset is the site's."""
    try:
        if isinstance(part, int):
            return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=part)
        if _DAY.fullmatch(part):
            day = date.fromisoformat(part)
            if not EARLIEST.year <= day.year <= LATEST.year:
                raise _out_of_bounds()
            return day
        if not _MOMENT.match(part):
            raise ValueError("not of the one form of dates and times")
        moment = datetime.fromisoformat(part)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _bad(f"{part!r} is no date. Write 2025-01-31, 2025-01-31T12:00:00+01:00 or epoch milliseconds") from error


def _from_dates(first: date, after: date, zone: ZoneInfo) -> TimeRange:
    return TimeRange(midnight(first, zone), midnight(after, zone), zone)


def _day_before(day: date, zone: ZoneInfo) -> date:
    """The last day before this one that the zone's calendar holds: Pacific/Apia had no 30 December 2011."""
    before = day - timedelta(days=1)
    return before if is_local_day(before, zone) else _day_before(before, zone)


def local_days(range_: TimeRange) -> Iterator[tuple[date, datetime, datetime]]:
    """The local days that a range touches, in order: the date, and the instants at which it begins and ends."""
    day = local_day(range_.start, range_.zone)
    start = midnight(day, range_.zone)
    while start < range_.end:
        following = day + timedelta(days=1)
        end = midnight(following, range_.zone)
        yield day, start, end
        day, start = following, end


@lru_cache(maxsize=16_384)
def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day, also where summer time begins or ends at midnight.

    Where a clock is put back over midnight, a day begins when it has come for good, as for ClickHouse: in
    America/St_Johns, where 00:01 became 23:01 until 2011, at the second midnight.
    """
    local = datetime.combine(day, time(), zone)
    first, last = local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)
    if last > first and (last - timedelta(microseconds=1)).astimezone(zone).date() < day:
        return last
    return first


def local_day(moment: datetime, zone: ZoneInfo) -> date:
    """The local day that a moment belongs to."""
    day = moment.astimezone(zone).date()
    return day if midnight(day, zone) <= moment else day - timedelta(days=1)


def is_local_day(day: date, zone: ZoneInfo) -> bool:
    """Does the zone's calendar hold that day? A zone that crosses the date line leaves one out."""
    return midnight(day, zone).astimezone(zone).date() == day


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


def _out_of_bounds() -> RequestError:
    return _bad(f"Ranges must lie between {EARLIEST.date()} and {LATEST.date()}")


def _bad(message: str) -> RequestError:
    return RequestError(f"{message}.", code="bad_date_range")
