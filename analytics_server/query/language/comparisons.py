"""What a range is compared with: how it is asked for, and which range it is.

Pure: the clock's reading comes in as a value.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from analytics_server.errors import RequestError
from analytics_server.query.language.time_range import (
    QUARTER,
    Pair,
    TimeRange,
    add_months,
    floor_to,
    is_midnight,
    midnight,
    resolve_pair,
)

ComparisonMode = Literal["previous_period", "previous_year"]
ComparisonSpec = ComparisonMode | Pair

DAY = timedelta(days=1)
WEEK = timedelta(days=7)


class ComparisonRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A comparison as an object. `date_range`: the pair of the mode `custom`, which the other modes don't have."""

    mode: Literal["previous_period", "previous_year", "custom"]
    match_day_of_week: bool = False
    date_range: Pair | None = None


def read_comparison(
    asked: ComparisonSpec | ComparisonRequest | None, match_day_of_week: bool
) -> tuple[ComparisonSpec | None, bool]:
    """A comparison in its short form, and whether it matches days of the week. Raises `RequestError` (bad_request)."""
    if isinstance(asked, ComparisonRequest):
        match_day_of_week = match_day_of_week or asked.match_day_of_week
        if (asked.date_range is not None) != (asked.mode == "custom"):
            raise RequestError(
                "include.comparison needs a date_range with the mode custom, and with no other: give both or neither.",
                code="bad_request",
            )
        asked = asked.date_range if asked.mode == "custom" else asked.mode
    if asked is None and match_day_of_week:
        raise RequestError(
            "include.match_day_of_week needs include.comparison: add previous_period or previous_year.",
            code="bad_request",
        )
    return asked, match_day_of_week


def comparison_range(
    range_: TimeRange, spec: ComparisonSpec, *, now: datetime, match_day_of_week: bool = False
) -> TimeRange:
    """The range to compare with; of an earlier one as much as has passed of `range_`, in whole quarter hours.

    Whole calendar months move by months, whole days by days, anything else by its length. A pair stands as it is.
    Raises `RequestError` (bad_date_range) for a pair that is no range.
    """
    if not isinstance(spec, str):
        return resolve_pair(spec, range_.zone)
    shift = _Shift(range_, spec, match_day_of_week)
    compared = TimeRange(shift.moment(range_.start), shift.moment(range_.end), range_.zone)
    if range_.start <= now < range_.end:
        until = floor_to(shift.moment(now), int(QUARTER.total_seconds()), range_.zone) + QUARTER
        return TimeRange(compared.start, max(compared.start + QUARTER, min(compared.end, until)), range_.zone)
    return compared


class _Shift:
    """How far back the moments of a range are moved: decided once for all of them."""

    def __init__(self, range_: TimeRange, mode: ComparisonMode, match_day_of_week: bool) -> None:
        zone = range_.zone
        self._range, self._zone, self._mode = range_, zone, mode
        self._start, self._end = range_.start.astimezone(zone), range_.end.astimezone(zone)
        self._whole_days = is_midnight(range_.start, zone) and is_midnight(range_.end, zone)
        self._whole_months = self._whole_days and self._start.day == 1 and self._end.day == 1
        self._weeks = 0
        """Back by so many weeks and nothing else: the same hours of the same day of the week."""
        self._more_days = 0
        if match_day_of_week and mode == "previous_period" and not self._whole_days:
            self._weeks = 1 + (range_.end - range_.start - timedelta(microseconds=1)) // WEEK
            self._weeks += self._moved(range_.end) > range_.start  # longer by an hour, as clocks changed
        elif match_day_of_week:
            self._more_days = self._to_same_day_of_week()
        while self._whole_days and self._moved(range_.start) >= self._moved(range_.end):
            self._more_days += WEEK.days if match_day_of_week else 1  # past a day that the calendar does not hold
        # An hour that is repeated when summer time ends has no counterpart that ends after it began: then by length.
        self._by_length = not self._whole_days and self._moved(range_.start) >= self._moved(range_.end)

    def moment(self, moment: datetime) -> datetime:
        """The moment that is compared with this one."""
        if self._by_length:
            return self._moved(self._range.start) + (moment - self._range.start)
        return self._moved(moment)

    def _moved(self, moment: datetime) -> datetime:
        zone, end, more = self._zone, self._end, self._more_days
        if self._weeks:
            return _shift_local(moment, zone, days=self._weeks * WEEK.days)
        if self._mode == "previous_year" and self._whole_days and moment == self._range.end and end.day != 1:
            # By the last day, of which the earlier year may have none: else 28 February loses its own after a leap day.
            return midnight(add_months(end.date() - DAY, -12) + DAY - more * DAY, zone)
        if self._mode == "previous_year":
            return _shift_local(moment, zone, months=12, days=more)
        if self._whole_months:
            months = (end.year - self._start.year) * 12 + end.month - self._start.month
            return _shift_local(moment, zone, months=months, days=more)
        if self._whole_days:
            return _shift_local(moment, zone, days=(end.date() - self._start.date()).days + more)
        return moment - (self._range.end - self._range.start)

    def _to_same_day_of_week(self) -> int:
        """So many days more to the nearest start on the same day of the week; below 0 they are fewer.

        The period before is moved back only, as it must end before the range begins.
        """
        day = self._start.date()
        if self._mode == "previous_year":
            compared = add_months(day, -12)
        elif self._whole_months:
            compared = add_months(day, (day.year - self._end.year) * 12 + day.month - self._end.month)
        else:
            compared = day - (self._end.date() - day)
        earlier = (compared.weekday() - day.weekday()) % WEEK.days
        later = WEEK.days - earlier
        return earlier if self._mode == "previous_period" or earlier < later else -later


def _shift_local(moment: datetime, zone: ZoneInfo, *, days: int = 0, months: int = 0) -> datetime:
    """The same local clock time some days or months earlier."""
    local = moment.astimezone(zone)
    day = add_months(local.date(), -months) - timedelta(days=days)
    if is_midnight(moment, zone):
        return midnight(day, zone)  # The day may begin at another time of the clock than the one it is compared with.
    return datetime.combine(day, local.time(), zone).astimezone(UTC)
