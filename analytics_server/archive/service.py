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
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry, Counter

from analytics_server.access.sites.kept_days import is_archived, kept_days_of
from analytics_server.access.sites.sites import Sites
from analytics_server.analyses.event_files.run import EventFiles
from analytics_server.archive.days import count_days, days_to_write, first_kept, last_complete, of_other_zones
from analytics_server.archive.manifest import DayFile, FailedDay
from analytics_server.archive.place import ArchiveFailed, ArchivePlace, Held, failed
from analytics_server.archive.rights import ACTION, ArchiveRights
from analytics_server.archive.site_files import SiteFiles
from analytics_server.archive.writer import DayWriter, LeaseLost
from analytics_server.config import Config
from analytics_server.errors import AnalyticsError, StoreRetryable
from analytics_server.http.audit import AuditEntry, Recorder
from analytics_server.model import Site, stored_site_id
from analytics_server.profiles.tables import PROFILES
from analytics_server.query.context import QueryContext, zone_of
from analytics_server.query.language.time_range import EARLIEST
from analytics_server.store.protocol import Store
from analytics_server.store.unreadable import UnreadableDocuments

log = logging.getLogger(__name__)

PORTION_S = 60.0
REST_S = 10.0
"""Between two portions. An erasure that has to rewrite files tries to get the lease every five seconds."""
WAIT_S = 1.0
REASON_CHARS = 300


@dataclass(slots=True)
class _Run:
    """One run: the sites that are not done yet, and those that failed, and single days with the reasons."""

    waiting: deque[str]
    sites: list[str] = field(default_factory=list)
    days: dict[tuple[str, date], str] = field(default_factory=dict)

    def raise_failed(self) -> None:
        """Raises `ArchiveFailed`."""
        if self.sites:
            raise ArchiveFailed(f"{len(self.sites)} sites were not archived, {self.sites[0]} first: the log says why.")
        if self.days:
            site_id, day = min(self.days)
            raise ArchiveFailed(
                f"{len(self.days)} days were not archived, {day} of {site_id} first: {self.days[site_id, day]}"
            )


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
        unreadable: UnreadableDocuments | None = None,
    ) -> None:
        self._settings = config.export
        self._place = ArchivePlace(config, store, unreadable)
        self.root = self._place.root
        self._privacy = config.privacy
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
            "archive_failures_total", "Days, sites and runs of which files were not written.", registry=registry
        )
        self._rights = ArchiveRights(self._place, store, sites, self._writer, self._record, self._note_failed)

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
        except AnalyticsError:
            self._failures.inc()
            raise

    async def _run(self) -> bool:
        run = _Run(deque(self._chosen()))
        is_ours = True
        while run.waiting and is_ours:
            while self._must_wait():  # noqa: ASYNC110 - there is no signal for the end of a delivery
                await asyncio.sleep(WAIT_S)
            is_ours = await self._portion(run)
            if run.waiting and is_ours:
                await asyncio.sleep(REST_S)
        run.raise_failed()
        return is_ours

    async def _portion(self, run: _Run) -> bool:
        """Write under the lease for a while, and take the sites that are done off the list; False without the lease."""
        until = time.monotonic() + PORTION_S
        async with self._place.alone() as here:
            if here is None:
                return False

            def may_go_on() -> bool:
                return here.lease.is_held and time.monotonic() < until and not self._must_wait()

            while run.waiting:
                site_id = run.waiting[0]
                try:
                    if await self._write_site(here, site_id, run, may_go_on):
                        run.waiting.popleft()
                except LeaseLost:
                    return False
                except (AnalyticsError, OSError) as error:
                    reason = str(error)[:REASON_CHARS]
                    log.warning("a site is not archived", extra={"site": site_id, "reason": reason})
                    run.sites.append(run.waiting.popleft())
                if not may_go_on():
                    break
        return True

    def _chosen(self) -> list[str]:
        """The sites to be archived: not those whose settings are unknown, as of a damaged document."""
        sites = [site for site in self._sites.all() if is_archived(site, self._settings)]
        found = {stored_site_id(site.site_id) for site in sites}
        if missing := [site_id for site_id in self._settings.sites if stored_site_id(site_id) not in found]:
            log.warning("[export] sites names sites that are not there", extra={"sites": ", ".join(missing)[:1_000]})
        if unknown := sorted(site.site_id for site in sites if site.profile not in PROFILES):
            log.warning("sites without readable settings are not archived", extra={"sites": ", ".join(unknown)[:1_000]})
        return [site.site_id for site in sites if site.profile in PROFILES]

    async def _write_site(self, here: Held, site_id: str, run: _Run, may_go_on: Callable[[], bool]) -> bool:
        """Write days until all are there, or it has to stop; is it done? At least one is tried.

        A day that can't be written is noted, and does not hold up the others.
        """
        site = self._sites.get(stored_site_id(site_id))
        if site is None:
            return True  # deleted meanwhile
        files = await SiteFiles.read(here.root, site.site_id)
        await asyncio.to_thread(files.tidy)
        days = [day for day in await self._due(site, files) if (site.site_id, day) not in run.days]
        if days:
            await self._place.roots.note(here.id, [site.site_id])
        written: list[DayFile] = []
        try:
            for number, day in enumerate(days):
                if number and not may_go_on():
                    return False
                known = files.days.get(day)
                try:
                    file = await self._writer.write(
                        files, day, zone_of(site), is_held=lambda: here.lease.is_held, again=day in files.left
                    )
                except StoreRetryable:
                    raise
                except (AnalyticsError, OSError) as error:
                    run.days[site.site_id, day] = self._note_failed(files, day, error)
                    await files.write_manifest()
                    continue
                if file is known:
                    continue
                written.append(file)
                if file.name:
                    await files.write_manifest()
                    self._written.inc()
        finally:
            if written and here.lease.is_held:
                await self._close(files, written)
        return True

    def _note_failed(self, files: SiteFiles, day: date, error: AnalyticsError | OSError) -> str:
        """The reason, which the manifest has to name: the doctor tells of it until the day is written."""
        self._failures.inc()
        why = failed(error) if isinstance(error, OSError) else error
        reason = f"{why.code}: {why.message}"[:REASON_CHARS]
        log.warning("a day is not archived", extra={"site": files.site_id, "day": str(day), "reason": reason})
        now = self._clock().astimezone(UTC).isoformat(timespec="seconds")
        files.failed[day] = FailedDay(date=day, reason=reason, tried_at=now)
        return reason

    async def _due(self, site: Site, files: SiteFiles) -> list[date]:
        zone, now = zone_of(site), self._clock()
        counts = await count_days(self._store, site.site_id, zone)
        moved = set[date]()
        for key, of_zone in of_other_zones(files.days, zone.key).items():
            before = await count_days(self._store, site.site_id, ZoneInfo(key))
            moved |= {file.date for file in of_zone if before.get(file.date, 0) >= file.events}
        kept = first_kept(now, zone, kept_days_of(site, self._privacy).events_days)
        return await asyncio.to_thread(
            partial(
                days_to_write,
                files.days,
                counts,
                zone=zone.key,
                first=max(kept, EARLIEST.date().replace(day=2)),
                last=last_complete(now, zone, self._settings.after_hours),
                is_whole=files.is_whole,
                again=files.left & files.failed.keys(),
                moved=moved,
            )
        )

    async def _close(self, files: SiteFiles, written: list[DayFile]) -> None:
        """Name the days without files too, and tell the audit log."""
        await files.write_manifest()
        await asyncio.to_thread(files.tidy)
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
        zone = self._rights.zone(site_id)
        return zone.key if zone is not None and self.root is not None else None

    async def rewrite(self, erased: Mapping[tuple[str, date], Sequence[int]]) -> None:
        """See `ArchiveRights`."""
        await self._rights.rewrite(erased)

    async def unsearched(self, covers: Callable[[str], bool]) -> list[str]:
        """See `ArchiveRights`."""
        return await self._rights.unsearched(covers)
