"""Person rights in the archive: an erasure rewrites files of days, and names those it can't search.

Messages name neither paths nor sites that the caller's scope does not cover: they stand in certificates and exports.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from typing import Protocol
from zoneinfo import ZoneInfo

from analytics_server.access.sites.sites import Sites
from analytics_server.archive.days import count_days, count_days_of
from analytics_server.archive.manifest import DayFile, site_directories
from analytics_server.archive.place import ArchivePlace, failed
from analytics_server.archive.site_files import SiteFiles
from analytics_server.archive.writer import DayUnsettled, DayWriter
from analytics_server.errors import AnalyticsError, StoreRetryable
from analytics_server.model import stored_site_id
from analytics_server.profiles.tables import PROFILES
from analytics_server.query.context import zone_of
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

ACTION = "archive"

Record = Callable[[str, list[DayFile], str], Awaitable[None]]


class NoteFailed(Protocol):
    """Takes a day that could not be written, and says why."""

    def __call__(self, files: SiteFiles, day: date, error: AnalyticsError | OSError) -> str: ...


class ArchiveRights:
    """`record` takes an audit entry of files, `note_failed` a day that could not be written."""

    def __init__(
        self,
        place: ArchivePlace,
        store: Store,
        sites: Sites,
        writer: DayWriter,
        record: Record,
        note_failed: NoteFailed,
    ) -> None:
        self._place = place
        self._store = store
        self._sites = sites
        self._writer = writer
        self._record = record
        self._note_failed = note_failed

    def zone(self, site_id: str) -> ZoneInfo | None:
        """A site's zone; None where it is gone."""
        site = self._sites.get(stored_site_id(site_id))
        return None if site is None else zone_of(site)

    async def rewrite(self, erased: Mapping[tuple[str, date], Sequence[int]]) -> None:
        """Write the files of days again from which events of a person were erased: how many of each day by each erasure
        under way, of which some may have written the file already, and some may not have deleted theirs.

        Not those of which the server had another number of events before: the file may be all that is left of some.
        Nor those of another time zone, nor what can't be written. `unsearched` names all of these. Neither a day nor a
        site that fails holds up the others. Raises `StoreRetryable` while the directory is written to, `DayUnsettled`,
        `ArchiveFailed`, a store error.
        """
        if self._place.root is None or not erased:
            return
        unsettled: AnalyticsError | None = None
        async with self._place.alone() as here:
            if here is None:
                raise StoreRetryable("Files of days are being written: those of a person are rewritten afterwards.")
            for site_id in sorted({site_id for site_id, _ in erased}):
                zone, days = self._zone_of_readable(site_id), _days_of(site_id, erased)
                if zone is None:
                    continue
                try:
                    files = await SiteFiles.read(here.root, site_id)
                except AnalyticsError as error:
                    log.warning("a manifest can't be read", extra={"site": site_id, "reason": error.message[:300]})
                    continue
                try:
                    unsettled = await self._rewrite_site(files, zone, days, lambda: here.lease.is_held) or unsettled
                except OSError as error:
                    unsettled = failed(error)
        if unsettled is not None:
            raise unsettled

    def _zone_of_readable(self, site_id: str) -> ZoneInfo | None:
        site = self._sites.get(stored_site_id(site_id))
        return None if site is None or site.profile not in PROFILES else zone_of(site)

    async def _rewrite_site(
        self, files: SiteFiles, zone: ZoneInfo, erased: Mapping[date, Sequence[int]], is_held: Callable[[], bool]
    ) -> DayUnsettled | None:
        """The error of a day that has to be tried again, when all others are done."""
        await asyncio.to_thread(files.tidy)
        rewritten = list[DayFile]()
        try:
            return await self._rewrite_days(files, zone, erased, is_held, rewritten)
        finally:
            if rewritten:
                await self._record(files.site_id, rewritten, "rewritten")

    async def _rewrite_days(
        self,
        files: SiteFiles,
        zone: ZoneInfo,
        erased: Mapping[date, Sequence[int]],
        is_held: Callable[[], bool],
        rewritten: list[DayFile],
    ) -> DayUnsettled | None:
        """`rewritten` takes what was, also where an error is raised."""
        counts = await count_days(self._store, files.site_id, zone)
        unsettled = None
        for day, gone in sorted(erased.items()):
            file, events = files.days.get(day), counts.get(day, 0)
            if file is None or not file.name:
                await asyncio.to_thread(files.remove, day)
                continue
            if file.time_zone != zone.key:
                continue
            if not is_sum_of_some(file.events - events, gone):
                files.left.add(day)
                await files.write_manifest()
                continue
            try:
                rewritten.append(await self._writer.write(files, day, zone, is_held=is_held, again=True))
            except DayUnsettled as error:
                unsettled = error
                continue
            except StoreRetryable:
                raise
            except (AnalyticsError, OSError) as error:
                self._note_failed(files, day, error)
                files.left.add(day)
            await files.write_manifest()
            if not files.days[day].name:
                await asyncio.to_thread(files.remove, day)
        return unsettled

    async def unsearched(self, covers: Callable[[str], bool]) -> list[str]:
        """Files of these sites that may hold events which the server has no more, so that it can't tell whose they are.

        Raises `ArchiveFailed`, a store error.
        """
        archived, zones = dict[str, SiteFiles](), dict[str, ZoneInfo]()
        try:
            _, roots = await self._place.directories()
            found = [
                f"archived days of {site_id} in another directory, {root}"
                for root, sites in sorted(roots.items())
                for site_id in sorted(filter(covers, sites))
            ]
            root = self._place.root
            known = {site.site_id for site in self._sites.all()}.union(*roots.values())
            here = await asyncio.to_thread(site_directories, root, known) if root is not None else {}
            for site_id, directory in here.items():
                if not covers(site_id):
                    continue
                zone = self.zone(site_id)
                if zone is None:
                    found.append(f"archived days of {site_id}, a deleted site")
                    continue
                try:
                    archived[site_id], zones[site_id] = await SiteFiles.read(directory.parent, site_id), zone
                except AnalyticsError as error:
                    log.warning("a manifest can't be read", extra={"site": site_id, "reason": error.message[:300]})
                    found.append(f"archived days of {site_id}, whose manifest can't be read")
            counts = await count_days_of(self._store, {site_id: zones[site_id] for site_id in archived})
            for site_id, files in archived.items():
                try:
                    found += await asyncio.to_thread(_unsearched_of, files, zones[site_id].key, counts[site_id])
                except OSError as error:
                    failed(error)  # tells the log
                    found.append(f"archived days of {site_id}, which can't be read")
        except OSError as error:
            raise failed(error) from error
        return found


def is_sum_of_some(number: int, of: Sequence[int]) -> bool:
    """Is the number a sum of some of these, which may be all or none?"""
    sums = 1  # a bit for each
    for each in of:
        sums |= sums << each
    return number >= 0 and bool(sums >> number & 1)


def _days_of(site_id: str, erased: Mapping[tuple[str, date], Sequence[int]]) -> dict[date, Sequence[int]]:
    return {day: events for (of_site, day), events in erased.items() if of_site == site_id}


def _unsearched_of(files: SiteFiles, zone: str, counts: Mapping[date, int]) -> list[str]:
    """What a certificate says of a site. Blocking. Raises `OSError`."""
    left = [
        file.date
        for file in files.days.values()
        if file.name and (file.events > counts.get(file.date, 0) or file.time_zone != zone or file.date in files.left)
    ]
    unnamed = files.unnamed()
    return [
        f"{len(days)} {what} of {files.site_id} from {min(days)} to {max(days)}"
        for days, what in ((left, "archived days"), (unnamed, "archived files that no manifest names"))
        if days
    ]
