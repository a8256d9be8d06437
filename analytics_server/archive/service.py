"""The archive of one server: complete days as files, by one server at a time, and what a person's rights ask of them.

Works in portions of about a minute, each under the lease, with a rest between them, one file at a time, and waits while
the log is behind: filling a directory of years holds up neither ingestion nor other daily work, and an erasure that has
to rewrite a file waits for one portion at most.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry, Counter

from analytics_server.access.retention import is_archived, retention_of
from analytics_server.access.sites import Sites
from analytics_server.analyses.event_files.run import EventFiles
from analytics_server.archive.days import count_days, count_days_of, days_to_write, first_kept, last_complete
from analytics_server.archive.manifest import DayFile, archived_sites, root_of
from analytics_server.archive.writer import DayWriter, SiteFiles
from analytics_server.config import Config
from analytics_server.errors import AnalyticsError, StoreRetryable
from analytics_server.http.audit import AuditEntry, Recorder
from analytics_server.model import Site, stored_site_id
from analytics_server.profiles.tables import PROFILES
from analytics_server.query.context import QueryContext, zone_of
from analytics_server.query.language.time_range import EARLIEST
from analytics_server.store.lease import Lease, leased
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

ACTION = "archive"
LEASE = "archive"
LEASE_S = 300.0
PORTION_S = 60.0
REST_S = 10.0
"""Between two portions. An erasure that has to rewrite files tries to get the lease every five seconds."""
WAIT_S = 1.0


class ArchiveFailed(AnalyticsError):
    """Files could not be written; the next run tries it again."""

    code = "archive_failed"


class Archive:
    """`[export] directory`; where that is empty nothing is written. `must_wait`: other work is more urgent now."""

    def __init__(
        self,
        config: Config,
        store: Store,
        sites: Sites,
        recorder: Recorder,
        registry: CollectorRegistry,
        *,
        must_wait: Callable[[], bool] = lambda: False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = config.export
        self.root = root_of(config.export)
        self._privacy = config.privacy
        self._holder = str(config.data_dir)
        self._store = store
        self._sites = sites
        self._recorder = recorder
        self._must_wait = must_wait
        self._clock = clock
        files = EventFiles(QueryContext(store, sites, clock, config.limits))  # beside those that are asked for
        self._writer = DayWriter(store, files, clock)
        self._written = Counter(
            "archive_files_total", "Files of days written to [export] directory.", registry=registry
        )
        self._failures = Counter(
            "archive_failures_total", "Sites and runs of which files of days were not written.", registry=registry
        )

    def daily(self) -> Iterator[tuple[str, Callable[[], Awaitable[bool]]]]:
        """What is done once a day, with a name for it."""
        if self.root is not None:
            yield "archive", self.run

    async def run(self) -> bool:
        """Write what is complete and not there; False when another server is at it.

        Raises `ArchiveFailed` when all others are done, or the directory can't be written; a store error.
        """
        try:
            return await self._run()
        except (AnalyticsError, OSError):
            self._failures.inc()
            raise

    async def _run(self) -> bool:
        waiting, failed = deque(self._chosen()), list[str]()
        while waiting:
            while self._must_wait():  # noqa: ASYNC110 - nobody tells when the log is delivered
                await asyncio.sleep(WAIT_S)
            if not await self._portion(waiting, failed):
                return False
            if waiting:
                await asyncio.sleep(REST_S)
        if failed:
            raise ArchiveFailed(f"{len(failed)} sites were not archived, {failed[0]} first: the log says why.")
        return True

    async def _portion(self, waiting: deque[str], failed: list[str]) -> bool:
        """Write under the lease for a while, and take the sites that are done off the list; False without the lease."""
        lease, until = self._lease(), time.monotonic() + PORTION_S

        def may_go_on() -> bool:
            return lease.is_held and time.monotonic() < until and not self._must_wait()

        async with leased(lease) as taken:
            if not taken:
                return False
            await self._check_root()
            await self._store.catch_up(["events"])
            while waiting:
                try:
                    if await self._write_site(waiting[0], may_go_on):
                        waiting.popleft()
                except AnalyticsError as error:
                    log.warning("a site is not archived", extra={"site": waiting[0], "reason": error.message[:300]})
                    failed.append(waiting.popleft())
                except OSError as error:
                    raise self._failed(error) from error
                if not may_go_on():
                    break
        return True

    def _chosen(self) -> list[str]:
        """The sites to be archived: not those whose settings nobody knows, as of a damaged document."""
        sites = [site for site in self._sites.all() if is_archived(site, self._settings)]
        found = {stored_site_id(site.site_id) for site in sites}
        if missing := [site_id for site_id in self._settings.sites if stored_site_id(site_id) not in found]:
            log.warning("[export] sites names sites that are not there", extra={"sites": ", ".join(missing)[:1_000]})
        if unknown := sorted(site.site_id for site in sites if site.profile not in PROFILES):
            log.warning("sites without readable settings are not archived", extra={"sites": ", ".join(unknown)[:1_000]})
        return [site.site_id for site in sites if site.profile in PROFILES]

    async def _write_site(self, site_id: str, may_go_on: Callable[[], bool]) -> bool:
        """Write days until all are there, or it has to stop; is it done? At least one is written."""
        site = self._sites.get(stored_site_id(site_id))
        if site is None or self.root is None:
            return True  # deleted meanwhile
        files = await SiteFiles.read(self.root, site.site_id)
        days = await self._due(site, files)
        written: list[DayFile] = []
        is_done = True
        try:
            for number, day in enumerate(days):
                if number and not may_go_on():
                    is_done = False
                    break
                known = files.days.get(day)
                file = await self._writer.write(files, day, zone_of(site))
                if file is known:
                    continue
                written.append(file)
                if file.name:
                    await files.write_manifest()
                    self._written.inc()
        finally:
            if written:
                await self._close(files, written)
        return is_done

    async def _due(self, site: Site, files: SiteFiles) -> list[date]:
        zone, now = zone_of(site), self._clock()
        counts = await count_days(self._store, site.site_id, zone)
        kept = first_kept(now, zone, retention_of(site, self._privacy).events_days)
        return await asyncio.to_thread(
            partial(
                days_to_write,
                files.days,
                counts,
                zone=zone.key,
                first=max(kept, EARLIEST.date().replace(day=2)),
                last=last_complete(now, zone, self._settings.after_hours),
                is_whole=files.is_whole,
            )
        )

    async def _close(self, files: SiteFiles, written: list[DayFile]) -> None:
        """Name the days without files too, and tell the audit log."""
        await files.write_manifest()
        with_events = [file for file in written if file.name]
        if not with_events:
            return
        log.info("days archived", extra={"site": files.site_id, "files": len(with_events)})
        await self._record(files.site_id, with_events, "written")

    async def _record(self, site_id: str, written: list[DayFile], state: str) -> None:
        await self._recorder.append(
            AuditEntry(
                action=ACTION,
                principal_kind="internal",
                principal_name="archive",
                site_id=site_id,
                rows=sum(file.events for file in written),
                details={
                    "state": state,
                    "files": str(len(written)),
                    "first": min(file.date for file in written).isoformat(),
                    "last": max(file.date for file in written).isoformat(),
                },
            )
        )

    # ---- a person's rights ---------------------------------------------

    def time_zone(self, site_id: str) -> str | None:
        """The zone by whose days a site is archived; None where it is not, or is gone."""
        zone = self._zone(site_id)
        return zone.key if zone is not None and self.root is not None else None

    def _zone(self, site_id: str) -> ZoneInfo | None:
        site = self._sites.get(stored_site_id(site_id))
        return None if site is None else zone_of(site)

    async def rewrite(self, erased: Mapping[tuple[str, date], int]) -> None:
        """Write the files of days again from which so many events of a person were erased.

        Not those of which other events are gone as well: the file is all that is left of these. Nor those of another
        time zone. `unsearched` names both. Raises `StoreRetryable` while the directory is written to, `ArchiveFailed`,
        a store error.
        """
        if self.root is None or not erased:
            return
        async with self._alone() as root:
            for site_id in sorted({site_id for site_id, _ in erased}):
                site = self._sites.get(stored_site_id(site_id))
                if site is None or site.profile not in PROFILES:
                    continue
                files, zone = await SiteFiles.read(root, site_id), zone_of(site)
                counts = await count_days(self._store, site_id, zone)
                rewritten = []
                for day in sorted(day for of_site, day in erased if of_site == site_id):
                    file, events = files.days.get(day), counts.get(day, 0)
                    if file is not None and file.time_zone != zone.key:
                        continue
                    if file is not None and events < file.events - erased[site_id, day]:
                        continue
                    if file is not None and file.name:
                        rewritten.append(await self._writer.write(files, day, zone, again=True))
                        await files.write_manifest()
                    if file is None or not files.days[day].name:
                        await asyncio.to_thread(files.remove, day)
                if rewritten:
                    await self._record(site_id, rewritten, "rewritten")

    async def unsearched(self, covers: Callable[[str], bool]) -> list[str]:
        """Files of these sites that may hold events which the server has no more, so that it can't tell whose they are.

        Raises `ArchiveFailed`, a store error.
        """
        found = []
        try:
            sites = await self._archived_sites()
            archived = {
                site_id: await SiteFiles.read(self.root, site_id) if self.root is not None else None
                for site_id in filter(covers, sites)
            }
        except OSError as error:
            raise self._failed(error) from error
        zones = {site_id: zone for site_id in archived if (zone := self._zone(site_id)) is not None}
        counts = await count_days_of(self._store, zones)
        for site_id, files in archived.items():
            if files is None or not files.days or site_id not in zones:
                found.append(f"archived days of {site_id}, which lie elsewhere or are of a deleted site")
                continue
            left = [
                file.date
                for file in files.days.values()
                if file.name
                and (file.events > counts[site_id].get(file.date, 0) or file.time_zone != zones[site_id].key)
            ]
            if left:
                found.append(f"{len(left)} archived days of {site_id} from {min(left)} to {max(left)}")
        return found

    async def _archived_sites(self) -> list[str]:
        """Sites of which there are files here, or of which any server has written some, as the audit log says."""
        answer = await self._store.query(
            "SELECT DISTINCT site_id FROM audit WHERE action = {action:String}", {"action": ACTION}
        )
        here = await asyncio.to_thread(archived_sites, self.root) if self.root is not None else []
        return sorted({*here, *(str(site_id) for (site_id,) in answer.rows)})

    # ---- inside --------------------------------------------------------

    def _lease(self) -> Lease:
        return Lease(self._store, LEASE, holder=self._holder, ttl_s=LEASE_S)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[Path]:
        async with leased(self._lease()) as taken:
            if not taken:
                raise StoreRetryable("Files of days are being written: those of a person are rewritten afterwards.")
            root = await self._check_root()
            await self._store.catch_up(["events"])
            try:
                yield root
            except OSError as error:
                raise self._failed(error) from error

    async def _check_root(self) -> Path:
        """The directory is never made here: an empty mount point must not be taken for it."""
        assert self.root is not None
        if not await asyncio.to_thread(self.root.is_dir):
            raise ArchiveFailed(f"[export] directory {self.root} is not there: make it, or mount it.")
        return self.root

    def _failed(self, error: OSError) -> ArchiveFailed:
        return ArchiveFailed(f"[export] directory {self.root} can't be written: {error.strerror or error}.")
