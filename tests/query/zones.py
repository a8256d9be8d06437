"""Time zones in which counting by the clock is hard, and when their clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

YEARS = {
    "UTC": (2025,),
    "Europe/Berlin": (2025,),
    "America/New_York": (2025,),
    "Asia/Kolkata": (2025,),
    "Asia/Kathmandu": (2025,),
    "America/Havana": (2025,),  # at midnight
    "America/Santiago": (2025, 2026),  # at midnight
    "Asia/Beirut": (2025, 2026),  # at midnight
    "Africa/Cairo": (2025, 2026),  # at midnight
    "America/Sao_Paulo": (2018,),  # at midnight
    "America/St_Johns": (2025,),
    "Australia/Lord_Howe": (2025, 2026),  # by half an hour
    "Africa/Casablanca": (2025,),  # twice in spring
    "Pacific/Chatham": (2025, 2026),  # at a quarter to
    "Antarctica/Troll": (2025, 2026),  # by two hours
    "Pacific/Apia": (2010, 2011, 2012),  # left out 30 December 2011
    "America/Caracas": (2007, 2016),  # its offset from UTC, by half an hour
    "Asia/Pyongyang": (2015, 2018),  # the same, at midnight and before it
    "Asia/Colombo": (2006,),  # the same, half an hour after midnight
    "Antarctica/Casey": (2009, 2020, 2023),  # by three hours, also a minute after midnight
}
"""The years whose changes are tried, by zone."""

ZONES = tuple(YEARS)


@lru_cache(maxsize=len(ZONES))
def changes_of(zone: str) -> list[datetime]:
    """When the clocks of those years are changed, by looking at every quarter of an hour, then at every minute."""
    found = []
    for year in YEARS[zone]:
        moment = datetime(year, 1, 1, tzinfo=UTC)
        offset = _offset(moment, zone)
        while moment.year == year:
            later = moment + timedelta(minutes=15)
            if (now := _offset(later, zone)) != offset:
                minutes = (moment + timedelta(minutes=minute) for minute in range(1, 16))
                found.append(next(minute for minute in minutes if _offset(minute, zone) != offset))
            moment, offset = later, now
    return found


def _offset(moment: datetime, zone: str) -> timedelta | None:
    return moment.astimezone(ZoneInfo(zone)).utcoffset()
