"""Which days of a site are complete, and which of them have to be written. Pure but for counting.

A day is complete some hours after its end (`[export] after_hours`), as events may come late. It is written once, and
again only if the server has more events of it than before, as after an import; if its file is gone, or was cut short,
and the server still has its events; or if the site got another time zone, so that its days are others. Of a day whose
events have begun to expire nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from analytics_server.archive.manifest import DayFile
from analytics_server.query.language.time_range import midnight
from analytics_server.rollups.comparison import SETTINGS, TIMEOUT_S
from analytics_server.store.protocol import Store

DAY = timedelta(days=1)


def last_complete(now: datetime, zone: ZoneInfo, after_hours: int) -> date:
    """The last day that ended at least so many hours ago."""
    return (now - timedelta(hours=after_hours)).astimezone(zone).date() - DAY


def first_kept(now: datetime, zone: ZoneInfo, events_days: int) -> date:
    """The first day of which no event has expired; `events_days`: for so long they are kept, 0: always."""
    if not events_days:
        return date.min
    cut = now.astimezone(UTC).date() - timedelta(days=events_days)
    start = datetime.combine(cut, time(), UTC)
    day = start.astimezone(zone).date()
    return day if midnight(day, zone) >= start else day + DAY


def days_to_write(
    known: Mapping[date, DayFile],
    counts: Mapping[date, int],
    *,
    zone: str,
    first: date,
    last: date,
    is_whole: Callable[[DayFile], bool],
    again: Set[date] = frozenset(),
    moved: Set[date] = frozenset(),
) -> list[date]:
    """The days from `first` to `last` that have to be written, the oldest first. `counts`: the events of each day.

    `again`: days to be written whatever there is of them. `moved`: days of another zone, before the first one that has
    events, whose events the server still has all: they belong to other days now.
    """
    begin = min(counts, default=date.max)
    found = sorted(day for day in moved if first <= day <= last and day < begin)
    day = max(first, begin)
    while day <= last:
        file, events = known.get(day), counts.get(day, 0)
        if (
            file is None
            or day in again
            or file.time_zone != zone
            or events > file.events
            or (events == file.events > 0 and not is_whole(file))
        ):
            found.append(day)
        day += DAY
    return found


def of_other_zones(known: Mapping[date, DayFile], zone: str) -> dict[str, list[DayFile]]:
    """Files of days of other zones than the site's, by zone."""
    found: dict[str, list[DayFile]] = {}
    for file in known.values():
        if file.name and file.time_zone != zone:
            found.setdefault(file.time_zone, []).append(file)
    return found


async def count_days(store: Store, site_id: str, zone: ZoneInfo) -> dict[date, int]:
    """The events of each of a site's days that has any. Raises a store error."""
    return (await count_days_of(store, {site_id: zone}))[site_id]


async def count_days_of(store: Store, zones: Mapping[str, ZoneInfo]) -> dict[str, dict[date, int]]:
    """The same of several sites, each with its time zone: a question for each zone. Raises a store error."""
    found: dict[str, dict[date, int]] = {site_id: {} for site_id in zones}
    for key in sorted({zone.key for zone in zones.values()}):
        answer = await store.query(
            "SELECT site_id, toDate(ts, {zone:String}) AS day, count() FROM events"
            " WHERE site_id IN {sites:Array(String)} GROUP BY site_id, day",
            {"sites": [site_id for site_id, zone in zones.items() if zone.key == key], "zone": key},
            settings=SETTINGS,
            timeout_s=TIMEOUT_S,
        )
        for site_id, day, events in answer.rows:
            found[str(site_id)][_date(day)] = int(str(events))
    return found


async def count_day(store: Store, site_id: str, zone: ZoneInfo, day: date) -> int:
    """The events of one day. Raises a store error."""
    answer = await store.query(
        "SELECT count() FROM events WHERE site_id = {site:String} AND ts >= fromUnixTimestamp64Micro({start:Int64})"
        " AND ts < fromUnixTimestamp64Micro({end:Int64})",
        {"site": site_id, "start": _micros(midnight(day, zone)), "end": _micros(midnight(day + DAY, zone))},
        settings=SETTINGS,
        timeout_s=TIMEOUT_S,
    )
    return int(str(answer.rows[0][0]))


def _micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def _date(value: object) -> date:
    assert isinstance(value, date)
    return value
