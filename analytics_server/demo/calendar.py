"""When sessions begin: growth, weekdays, the hours of the site's zone, and days that differ.

The range is cut into quarters of an hour of UTC; each gets the weight of its local hour
and weekday, so daylight-saving days have the right length. Times are epoch seconds.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo

QUARTER_S = 900
GROWTH = 0.6
"""How much more traffic the last day has than the first, as a share of the first."""

_HOURS = (16, 10, 7, 6, 7, 12, 26, 48, 70, 82, 86, 84, 88, 86, 82, 80, 80, 82, 84, 88, 90, 80, 56, 32)
_WEEKDAYS = (1.08, 1.12, 1.1, 1.05, 0.98, 0.78, 0.86)


class Span:
    """The days to fill. `start` and `end` are epoch seconds; the last day may be cut off at `end`."""

    __slots__ = ("days", "end", "first_day", "start", "zone")

    def __init__(self, days: int, end: datetime | date, zone: ZoneInfo) -> None:
        """`end` is a moment, or a date whose whole day is filled."""
        if isinstance(end, datetime):
            last, until = end.astimezone(zone).date(), end
        else:
            last, until = end, _midnight(end + timedelta(days=1), zone)
        self.days = days
        self.zone = zone
        self.first_day = last - timedelta(days=days - 1)
        self.start = _midnight(self.first_day, zone).timestamp()
        self.end = until.timestamp()

    def share(self, moment: float) -> float:
        """How much of the range is over, 0 to 1."""
        return (moment - self.start) / max(1.0, self.end - self.start)


def session_times(span: Span, sessions: int, rng: random.Random) -> list[float]:
    """When each session begins, in order."""
    quarters, weights = [], []
    days: dict[date, float] = {}
    moment = span.start
    while moment < span.end:
        local = datetime.fromtimestamp(moment, UTC).astimezone(span.zone)
        day = local.date()
        if day not in days:
            spike = 1.7 if rng.random() < 0.03 else 1.0
            days[day] = rng.uniform(0.92, 1.08) * spike
        growth = 1 + GROWTH * span.share(moment)
        length = min(QUARTER_S, span.end - moment) / QUARTER_S
        quarters.append(moment)
        weights.append(growth * _WEEKDAYS[local.weekday()] * _HOURS[local.hour] * days[day] * length)
        moment += QUARTER_S
    sums = list(accumulate(weights))
    drawn = rng.choices(quarters, cum_weights=sums, k=sessions)
    return sorted(min(start + rng.random() * QUARTER_S, span.end - 1) for start in drawn)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)
