"""Writes the complete days of one site: each file whole, then the manifest that names it.

A crash between the two leaves a file that no manifest names, or an older sum of it; the next run writes it again. The
events of a day are counted before and after they are read: where the numbers differ, as beside an erasure or a purge,
the file is read once more, so that a manifest's number is that of the file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from analytics_server.analyses.event_files.request import EventsRequest
from analytics_server.analyses.event_files.run import EventFiles
from analytics_server.archive.days import DAY, count_day
from analytics_server.archive.manifest import (
    FORMAT,
    MANIFEST,
    DayFile,
    file_name,
    manifest_of,
    read_site,
    site_directory,
)
from analytics_server.archive.whole_files import is_whole, make_directory, part_of, write_manifest, write_whole
from analytics_server.errors import StoreRetryable
from analytics_server.query.language.time_range import midnight
from analytics_server.store.protocol import Store

TRIES = 5


@dataclass(slots=True)
class SiteFiles:
    """What there is of a site: its directory, and its manifest's days, by date."""

    site_id: str
    directory: Path
    days: dict[date, DayFile] = field(default_factory=dict)

    @classmethod
    async def read(cls, root: Path, site_id: str) -> SiteFiles:
        """As it is on disk. Raises `AnalyticsError`, `OSError`."""
        manifest = await asyncio.to_thread(read_site, root, site_id)
        return cls(site_id, site_directory(root, site_id), manifest.by_date() if manifest else {})

    def remove(self, day: date) -> None:
        """Remove what a day without events, or one that the manifest does not name, may have left. Blocking.

        Raises `OSError`.
        """
        path = self.directory / file_name(day)
        for each in (path, part_of(path)):
            each.unlink(missing_ok=True)

    def is_whole(self, file: DayFile) -> bool:
        """Is the day's file there, as long as it was written? Blocking."""
        return not file.name or is_whole(self.directory / file.name, file.bytes)

    async def write_manifest(self) -> None:
        """Put the manifest in its place. Raises `OSError`."""
        await asyncio.to_thread(make_directory, self.directory)
        await asyncio.to_thread(write_manifest, self.directory / MANIFEST, manifest_of(self.site_id, self.days))


class DayWriter:
    """`files` reads the events of a site as its profile lets them be seen."""

    def __init__(self, store: Store, files: EventFiles, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._files = files
        self._clock = clock

    async def write(self, site: SiteFiles, day: date, zone: ZoneInfo, *, again: bool = False) -> DayFile:
        """Write one day; the manifest is yours to write after it. Of a day without events there is no file.

        One that is there as it has to be is not written, but `again`.

        Raises `StoreRetryable` where events of the day come or go all the time, what reading the events raises, and
        `OSError`.
        """
        for _ in range(TRIES):
            events = await count_day(self._store, site.site_id, zone, day) if _is_any(day, zone) else 0
            known = site.days.get(day)
            if not again and known and (known.events, known.time_zone) == (events, zone.key) and site.is_whole(known):
                return known
            began = self._clock().astimezone(UTC)
            name = file_name(day) if events else ""
            written = 0, ""
            if events:
                path = site.directory / name
                await asyncio.to_thread(make_directory, path.parent)
                asked = EventsRequest(site_id=site.site_id, date_range=(str(day), str(day)), format=FORMAT)
                async with aclosing(self._files.write(asked)) as pieces:
                    written = await write_whole(path, pieces)
                if await count_day(self._store, site.site_id, zone, day) != events:
                    continue
            site.days[day] = DayFile(
                name=name,
                bytes=written[0],
                sha256=written[1],
                written_at=began.isoformat(timespec="seconds"),
                events=events,
                date=day,
                time_zone=zone.key,
            )
            return site.days[day]
        raise StoreRetryable(f"Events of {day} come or go all the time: its file is written another time.")


def _is_any(day: date, zone: ZoneInfo) -> bool:
    """Is there such a day? A zone that changes its side of the date line leaves one out."""
    return midnight(day, zone) < midnight(day + DAY, zone)
