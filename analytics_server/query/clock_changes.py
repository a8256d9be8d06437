"""Clock changes of a time zone (daylight saving time), as whole seconds since 1970.

Python's zones tell the offset of an instant, not the next change. The changes of a year are found by looking at
each day's offset, once per zone and year. Pure but for that cache, which is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

HOUR_S = 3600
QUARTER_S = 900
_DAY_S = 86_400
_CACHED_YEARS = 4096


@dataclass(frozen=True, slots=True)
class ClockPeriod:
    """A time in which a zone's clocks are not changed: when it begins, and how far they are ahead of UTC, in seconds.

    The first of several begins at 0, whenever the change before it was.
    """

    start: int
    offset: int

    def floor(self, moment: int, seconds: int) -> int:
        """The start of the local clock's hour (or another `seconds`) around a moment, which may lie before `start`."""
        return moment - (moment + self.offset) % seconds


def clock_periods(start: int, end: int, zone: ZoneInfo) -> list[ClockPeriod]:
    """What the span from `start` to `end` is divided into by the zone's clock changes, in order."""
    years = range(_year_of(start), _year_of(max(start, end)) + 1)
    changes = [change for year in years for change in _changes(zone, year) if start < change < end]
    return [ClockPeriod(0, _offset(start, zone)), *(ClockPeriod(change, _offset(change, zone)) for change in changes)]


def changes_within_hours(periods: list[ClockPeriod]) -> bool:
    """Does a change lie inside an hour of the clock before or after it, as in Pacific/Chatham and Lord Howe?"""
    return any(
        period.start % HOUR_S != -clock.offset % HOUR_S
        for before, period in pairwise(periods)
        for clock in (before, period)
    )


@lru_cache(maxsize=_CACHED_YEARS)
def _changes(zone: ZoneInfo, year: int) -> tuple[int, ...]:
    return tuple(_find(int(datetime(year, 1, 1, tzinfo=UTC).timestamp()), year, zone))


def _find(moment: int, year: int, zone: ZoneInfo) -> Iterator[int]:
    end = int(datetime(year + 1, 1, 1, tzinfo=UTC).timestamp())
    while moment < end:
        offset, later = _offset(moment, zone), min(moment + _DAY_S, end)
        if _offset(later, zone) == offset:
            moment = later
            continue
        before, moment = moment, later
        while moment - before > 1:
            middle = (before + moment) // 2
            if _offset(middle, zone) == offset:
                before = middle
            else:
                moment = middle
        yield moment


def _offset(moment: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(moment, zone).utcoffset()
    assert offset is not None, "a zone knows its offset"
    return int(offset.total_seconds())


def _year_of(moment: int) -> int:
    return datetime.fromtimestamp(moment, UTC).year
