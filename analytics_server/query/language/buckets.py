"""A range → its calendar buckets: minutes, hours, days, weeks and months of the site's time zone.

Pure. Days of 23 and 25 hours are whole days, weeks begin on Monday.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from math import ceil
from zoneinfo import ZoneInfo

from analytics_server.errors import RequestError
from analytics_server.query.clock_changes import HOUR_S, clock_periods
from analytics_server.query.dimensions import Interval
from analytics_server.query.language.time_range import TimeRange, is_local_day, local_day, next_month


@dataclass(frozen=True, slots=True)
class Bucket:
    """One calendar bucket: `key` is what SQL groups by, `label` what the answer shows.

    The key of a minute or hour is its first instant (seconds since 1970), that of a longer bucket its first date.
    """

    key: date | int
    label: str


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


def with_found(named: Sequence[Bucket], found: Iterable[object], interval: Interval, zone: ZoneInfo) -> list[Bucket]:
    """The buckets, and those of an answer that are none of them: ClickHouse may have other rules of a zone than Python.

    What was counted is never left out, and stands where its time belongs.
    """
    known = {bucket.key for bucket in named}
    others = [key for key in {*found} - known if isinstance(key, int | date)]
    if not others:
        return list(named)
    more = [Bucket(key, label_bucket(key, interval, zone)) for key in others]
    return sorted([*named, *more], key=lambda b: b.key if isinstance(b.key, int) else b.key.toordinal())


def label_bucket(key: object, interval: Interval, zone: ZoneInfo) -> str:
    """A bucket's name: a date, or a local time with its offset for minutes and hours."""
    if isinstance(key, int):
        local = datetime.fromtimestamp(key, zone)
        offset = timezone(local.utcoffset() or timedelta())
        # The hour that a change of the clock begins or cuts off is named by the clock its events were read on.
        shown = local.replace(second=0, tzinfo=offset)
        return (shown.replace(minute=0) if interval == "hour" else shown).isoformat(timespec="minutes")
    if isinstance(key, date):
        return key.isoformat()
    raise TypeError(f"A bucket of one {interval} can't be {key!r}.")


def _walk(range_: TimeRange, interval: Interval) -> Iterator[Bucket]:
    if interval in ("minute", "hour"):
        for key in _clock_walk(range_, 60 if interval == "minute" else HOUR_S):
            yield Bucket(key, label_bucket(key, interval, range_.zone))
        return
    zone = range_.zone
    day = local_day(range_.start, zone)
    last = local_day(range_.end - timedelta(microseconds=1), zone)
    if interval == "week":
        day -= timedelta(days=day.weekday())
    elif interval == "month":
        day = day.replace(day=1)
    while day <= last:
        if interval != "day" or is_local_day(day, zone):
            yield Bucket(day, day.isoformat())
        day = next_month(day) if interval == "month" else day + timedelta(days=7 if interval == "week" else 1)


def _clock_walk(range_: TimeRange, seconds: int) -> Iterator[int]:
    """The first instants of the local clock's hours or minutes. A change of the clock ends one and begins another."""
    start, end = int(range_.start.timestamp()), range_.end.timestamp()
    periods = clock_periods(start - seconds, ceil(end), range_.zone)
    for period, until in zip(periods, [*(period.start for period in periods[1:]), end], strict=True):
        moment = max(start, period.start)
        while moment < until:
            floor = period.floor(moment, seconds)
            yield max(floor, period.start)
            moment = floor + seconds
