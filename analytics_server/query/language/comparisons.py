"""Which range a range is compared with. Pure: the clock's reading comes in as a value."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from analytics_server.query.language.time_range import QUARTER, TimeRange, add_months, floor_to, is_midnight, midnight

ComparisonMode = Literal["previous_period", "previous_year"]


def comparison_range(range_: TimeRange, mode: ComparisonMode, *, now: datetime) -> TimeRange:
    """The range to compare with; as much of it as has passed of `range_`, in whole quarter hours.

    Whole calendar months move by months, whole days by days, anything else by its length.
    """
    start, end, zone = range_.start.astimezone(range_.zone), range_.end.astimezone(range_.zone), range_.zone
    whole_days = is_midnight(range_.start, zone) and is_midnight(range_.end, zone)
    months = (end.year - start.year) * 12 + end.month - start.month

    def shift(moment: datetime) -> datetime:
        if mode == "previous_year" and whole_days and moment == range_.end and end.day != 1:
            # By the last day, of which the earlier year may have none: else 28 February loses its own after a leap day.
            return midnight(add_months(end.date() - timedelta(days=1), -12) + timedelta(days=1), zone)
        if mode == "previous_year":
            return _shift_local(moment, zone, months=12)
        if whole_days and start.day == 1 and end.day == 1:
            return _shift_local(moment, zone, months=months)
        if whole_days:
            return _shift_local(moment, zone, days=(end.date() - start.date()).days)
        return moment - (range_.end - range_.start)

    compared = TimeRange(shift(range_.start), shift(range_.end), zone)
    if range_.start <= now < range_.end:
        until = floor_to(shift(now), int(QUARTER.total_seconds()), zone) + QUARTER
        return TimeRange(compared.start, max(compared.start + QUARTER, min(compared.end, until)), zone)
    return compared


def _shift_local(moment: datetime, zone: ZoneInfo, *, days: int = 0, months: int = 0) -> datetime:
    """The same local clock time some days or months earlier."""
    local = moment.astimezone(zone)
    day = add_months(local.date(), -months) - timedelta(days=days)
    if is_midnight(moment, zone):
        return midnight(day, zone)  # The day may begin at another time of the clock than the one it is compared with.
    return datetime.combine(day, local.time(), zone).astimezone(UTC)
