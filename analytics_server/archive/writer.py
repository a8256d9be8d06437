"""Writes the complete days of one site: each file whole, then the manifest that names it.

A crash between the two leaves a file that no manifest names, or an older sum of it; the next run writes it again. The
events of a day are counted before and after they are read: where the numbers differ, as beside an erasure or a purge,
they are read once more, so that a manifest's number is that of the file. Only who holds the lease puts anything in its
place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from analytics_server.analyses.event_files.request import EventsRequest
from analytics_server.analyses.event_files.run import EventFiles
from analytics_server.archive.days import DAY, count_day
from analytics_server.archive.manifest import FORMAT, DayFile, file_name
from analytics_server.archive.site_files import SiteFiles
from analytics_server.archive.whole_files import make_directory, write_whole
from analytics_server.errors import AnalyticsError, StoreRetryable
from analytics_server.query.language.time_range import midnight
from analytics_server.store.protocol import Store

TRIES = 5


class DayUnsettled(AnalyticsError):
    """Events of a day come or go all the time: its file is written another time."""

    code = "day_unsettled"


class LeaseLost(StoreRetryable):
    """Another server may write files of days by now."""


class DayWriter:
    """`files` reads the events of a site as its profile lets them be seen."""

    def __init__(self, store: Store, files: EventFiles, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._files = files
        self._clock = clock

    async def write(
        self, site: SiteFiles, day: date, zone: ZoneInfo, *, is_held: Callable[[], bool], again: bool = False
    ) -> DayFile:
        """Write one day; the manifest is yours to write after it. Of a day without events there is no file: one of
        before is yours to remove, once the manifest does not name it.

        One that is there as it has to be is not written, but `again`. `is_held`: has this process the lease?

        Raises `DayUnsettled`, `LeaseLost`, what reading the events raises, and `OSError`.
        """
        for _ in range(TRIES):
            events = await count_day(self._store, site.site_id, zone, day) if _is_any(day, zone) else 0
            known = site.days.get(day)
            if not again and known and (known.events, known.time_zone) == (events, zone.key) and site.is_whole(known):
                return known
            began = self._clock().astimezone(UTC)
            name = file_name(day) if events else ""
            written = await self._write_file(site, day, zone, events, is_held) if events else (0, "")
            if written is None:
                continue
            check_held(is_held)
            site.put(
                DayFile(
                    name=name,
                    bytes=written[0],
                    sha256=written[1],
                    written_at=began.isoformat(timespec="seconds"),
                    events=events,
                    date=day,
                    time_zone=zone.key,
                )
            )
            return site.days[day]
        raise DayUnsettled(f"Events of {day} come or go all the time: its file is written another time.")

    async def _write_file(
        self, site: SiteFiles, day: date, zone: ZoneInfo, events: int, is_held: Callable[[], bool]
    ) -> tuple[int, str] | None:
        """Its size and sum; None where the day has another number of events by now: the file of before stays."""

        async def may_place() -> bool:
            is_same = await count_day(self._store, site.site_id, zone, day) == events
            check_held(is_held)
            return is_same

        path = site.directory / file_name(day)
        await asyncio.to_thread(make_directory, path.parent)
        span = midnight(day, zone).isoformat(), midnight(day + DAY, zone).isoformat()  # the site's zone may change now
        asked = EventsRequest(site_id=site.site_id, date_range=span, format=FORMAT)
        async with aclosing(self._files.write(asked)) as pieces:
            return await write_whole(path, pieces, may_place=may_place)


def check_held(is_held: Callable[[], bool]) -> None:
    """Raises `LeaseLost`."""
    if not is_held():
        raise LeaseLost("The lease is lost: another server writes files of days.")


def _is_any(day: date, zone: ZoneInfo) -> bool:
    """Is there such a day? A zone that changes its side of the date line leaves one out."""
    return midnight(day, zone) < midnight(day + DAY, zone)
