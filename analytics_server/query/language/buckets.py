"""A range → its calendar buckets: minutes, hours, days, weeks and months of the site's time zone.

Pure. Days of 23 and 25 hours are whole days, weeks begin on Monday.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from analytics_server.errors import RequestError
from analytics_server.query.dimensions import Interval
from analytics_server.query.language.time_range import TimeRange, floor_to, next_month


@dataclass(frozen=True, slots=True)
class Bucket:
    """One calendar bucket: `key` is what SQL groups by, `label` what the answer shows."""

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


def _walk(range_: TimeRange, interval: Interval) -> Iterator[Bucket]:
    zone = range_.zone
    if interval in ("minute", "hour"):
        seconds = 60 if interval == "minute" else 3600
        moment = floor_to(range_.start, seconds, zone)
        while moment < range_.end:
            key = int(moment.timestamp())
            yield Bucket(key, label_bucket(key, interval, zone))
            moment = floor_to(moment + timedelta(seconds=seconds), seconds, zone)
        return
    day = range_.start.astimezone(zone).date()
    last = (range_.end - timedelta(microseconds=1)).astimezone(zone).date()
    if interval == "week":
        day -= timedelta(days=day.weekday())
    elif interval == "month":
        day = day.replace(day=1)
    while day <= last:
        yield Bucket(day, day.isoformat())
        day = next_month(day) if interval == "month" else day + timedelta(days=7 if interval == "week" else 1)
