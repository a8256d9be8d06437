"""The daily purge: removes what is older than a site keeps its data, by one server at a time.

`retention_days` of a site counts, else `[privacy] retention_days`; 0 there keeps everything, and a profile may set a
limit to both. `rollup_retention_days` keeps totals of days for longer (`kept_totals.py`). A deleted site's data expires
as its last settings say. What was purged is in the audit log, site by site. A purge that was broken off is completed by
the next one (`site_tables.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from analytics_server.access.sites.kept_days import KeptDays, first_kept_day, kept_days_of
from analytics_server.config import PrivacySection
from analytics_server.http.audit import Recorder
from analytics_server.model import Site
from analytics_server.privacy.erasure_jobs import ErasureJobs
from analytics_server.privacy.expiry.expired_files import Found, find_expired, remove_expired
from analytics_server.privacy.expiry.kept_totals import KeptTotals
from analytics_server.privacy.expiry.recording import Around, OnPhase, record_removal, unheard, within
from analytics_server.privacy.expiry.site_tables import ExpiryTables, first_unsettled, unfinished
from analytics_server.profiles.tables import PROFILES
from analytics_server.store.lease import Lease, leased
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

ACTION = "expire"
LEASE = "expiry"
LEASE_S = 60.0
SITES_AT_ONCE = 500
NEWEST = 2**63 - 1
"""No batch has a greater id."""


class SiteExpiry(msgspec.Struct, frozen=True, kw_only=True):
    """What goes of one site: rows by table, of UTC days earlier than `before`. Sessions over the cut are shortened."""

    site_id: str
    before: date
    rows: dict[str, int]


class Expiry:
    """`sites`: all that something may be stored of. `settings`: for those that say nothing. `clock`: UTC. `around`:
    contexts in which a purge works, such as one that lets parts vanish. `on_phase`: see `recording.py`."""

    def __init__(
        self,
        store: Store,
        sites: Callable[[], list[Site]],
        *,
        settings: PrivacySection,
        letters: Path,
        quarantine: Path,
        cluster: str,
        recorder: Recorder,
        holder: str,
        around: Iterable[Around] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_phase: OnPhase = unheard,
    ) -> None:
        self._store = store
        self._sites = sites
        self._settings = settings
        self._letters = letters
        self._quarantine = quarantine
        self._cluster = cluster
        self._recorder = recorder
        self._holder = holder
        self._around = tuple(around)
        self._clock = clock
        self._on_phase = on_phase
        self._totals = KeptTotals(store, sites, clock)
        self.held_up: set[str] = set()
        """Sites of which the last purge removed nothing, as their totals of days can't be kept yet."""

    async def plan(self, settled: int = 0) -> list[SiteExpiry]:
        """What would go now, of sites with anything to go. `settled`: as `ExpiryTables` takes it.

        Raises a store error.
        """
        cuts = self._cuts()
        planned = []
        for at in range(0, len(cuts), SITES_AT_ONCE):
            part = dict(sorted(cuts.items())[at : at + SITES_AT_ONCE])
            found = await self._tables(part, settled=settled).rows()
            planned += [SiteExpiry(site_id=site, before=part[site], rows=found[site]) for site in sorted(found)]
        return planned

    async def purge(self) -> list[SiteExpiry] | None:
        """Remove it; what went, or None when another server is at it. Raises a store error, `AuditUnavailable`."""
        lease = Lease(self._store, LEASE, holder=self._holder, ttl_s=LEASE_S)
        async with leased(lease) as taken:
            if not taken:
                return None
            self.held_up.clear()
            async with within(self._around):
                done = await self._finish_earlier()
            files = await self._remove_from_files()
            settled = first_unsettled(self._clock().timestamp())  # so that what goes is what was counted
            planned = await self.plan(settled)
            for at in range(0, len(planned), SITES_AT_ONCE):
                if not lease.is_held:
                    log.warning("expiry stops, as its lease is lost: another server may be at it")
                    break
                part = await self._with_totals(planned[at : at + SITES_AT_ONCE])
                if part and lease.is_held:
                    rest = len(planned) - at
                    about = f"sites from {part[0].site_id} on, {rest:,} of {len(planned):,} left: "
                    done += await self._purge_part(
                        part, files, lambda: lease.is_held, about if len(planned) > SITES_AT_ONCE else "", settled
                    )
            for site_id, rows in sorted(files.items()):  # those of which ClickHouse had nothing that is too old
                await self._record(site_id, "", rows)
            return done

    async def _purge_part(
        self, part: Iterable[SiteExpiry], files: Found, is_held: Callable[[], bool], about: str, settled: int
    ) -> list[SiteExpiry]:
        """Totals are made before the turn, as that may take long, and looked at again in it: an erasure that had it
        meanwhile has discarded those of its days. One that was broken off goes first, as it discards them later."""
        async with within(self._around):
            ready = await self._with_totals(await self._without_erasure(part))
            if not ready or not is_held():
                return []
            tables = self._tables({site.site_id: site.before for site in ready}, about, settled)
            await tables.purge({site.site_id: site.rows for site in ready})
            await tables.finish()
        return await self._close(tables, ready, files)

    async def _with_totals(self, part: Iterable[SiteExpiry]) -> list[SiteExpiry]:
        """Those whose totals of days are kept now, where a site keeps them for longer than events."""
        sites = {site.site_id: site for site in self._sites()}
        ready = []
        for expiry in part:
            since = self._totals_cuts([expiry.site_id]).get(expiry.site_id)
            if since is not None:
                self._on_phase(f"totals of {expiry.site_id}")
            if since is None or await self._totals.mark(sites[expiry.site_id], since, expiry.before):
                ready.append(expiry)
            else:
                self.held_up.add(expiry.site_id)
        return ready

    async def _without_erasure(self, part: Iterable[SiteExpiry]) -> list[SiteExpiry]:
        """Those whose totals of days are not about to be discarded by an erasure. In the turn, which such an erasure
        holds while it is at work, one is seen only where it failed, or its server ended, in the middle of it."""
        part = list(part)
        if not self._totals_cuts([site.site_id for site in part]):
            return part
        jobs = ErasureJobs(self._store)
        await jobs.documents.catch_up()
        scopes = [job.scope for job in jobs.all() if job.phase.leaves_totals]
        waiting = self._totals_cuts([site.site_id for site in part if any(one.covers(site.site_id) for one in scopes)])
        if waiting:
            log.warning(
                "expiry waits until an erasure that was broken off is done",
                extra={"sites": ", ".join(sorted(waiting))[:1_000]},
            )
            self.held_up.update(waiting)
        return [site for site in part if site.site_id not in waiting]

    async def _finish_earlier(self) -> list[SiteExpiry]:
        """Complete what a purge that was broken off has left. It removes no more events: the settings may be others."""
        left, settled = await unfinished(self._store)
        if not left:
            return []
        cuts = {site_id: before for site_id, (before, _) in left.items()}
        tables = self._tables(cuts, "what an earlier run left: ", settled)
        await tables.finish()
        still = await tables.rows()
        gone = []
        for site_id, (before, planned) in left.items():
            there = still.get(site_id, {})
            if 0 < planned.get("events", 0) <= there.get("events", 0):
                continue  # its events were not removed; the other rows were only made again
            rows = {table: n for table, rows in planned.items() if (n := rows - there.get(table, 0)) > 0}
            if rows:
                gone.append(SiteExpiry(site_id=site_id, before=before, rows=rows))
        return await self._close(tables, gone, {})

    async def purge_daily(self) -> bool:
        """Purge and log what went; False when another server is at it. Raises what `purge` does."""
        done = await self.purge()
        for site in done or ():
            log.info("expired data removed", extra={"site": site.site_id, "rows": sum(site.rows.values())})
        return done is not None

    async def _close(self, tables: ExpiryTables, sites: Iterable[SiteExpiry], files: Found) -> list[SiteExpiry]:
        """Tell the audit log, once or, after a crash, twice. What is told of `files` is taken out."""
        done = []
        for site in sites:
            rows = {**site.rows, **files.pop(site.site_id, {})}
            await self._record(site.site_id, site.before.isoformat(), rows)
            done.append(msgspec.structs.replace(site, rows=rows))
        await tables.forget()
        return done

    async def _record(self, site_id: str, before: str, rows: Mapping[str, int]) -> None:
        await record_removal(self._recorder, ACTION, site_id, rows, {"before": before} if before else {})

    async def _remove_from_files(self) -> Found:
        """What went. Nothing could tell of it after a kill, so that an entry of each site stands in front of it."""
        cuts = self._cuts()
        are_all_limited = bool(cuts) and len(cuts) == len(self._sites())
        oldest = min(cuts.values()) if are_all_limited else None
        places = self._letters, self._quarantine, cuts, oldest
        for site_id, rows in sorted((await asyncio.to_thread(find_expired, *places)).items()):
            details = {"state": "begun"} | ({"before": cuts[site_id].isoformat()} if site_id in cuts else {})
            await record_removal(self._recorder, ACTION, site_id, rows, details)
        return await asyncio.to_thread(remove_expired, *places)

    def _cuts(self) -> dict[str, date]:
        """The sites of which something may go, and the first day of which nothing goes.

        Not those whose settings are unknown, as of a document that is damaged or of a newer version: they may say that
        the data is kept for longer.
        """
        today, sites = self._today(), self._sites()
        if unknown := sorted(site.site_id for site in sites if site.profile not in PROFILES):
            log.warning("sites without readable settings do not expire", extra={"sites": ", ".join(unknown)[:1_000]})
        kept = {site.site_id: self._kept(site).events_days for site in sites if site.profile in PROFILES}
        return {site_id: first_kept_day(today, days) for site_id, days in kept.items() if days}

    def _totals_cuts(self, site_ids: Collection[str]) -> dict[str, date]:
        """The first day of which no totals go, of those sites that keep totals for longer than events."""
        found = {site.site_id: self._kept(site) for site in self._sites() if site.site_id in site_ids}
        today = self._today()
        return {
            site_id: first_kept_day(today, kept.totals_days) for site_id, kept in found.items() if kept.totals_outlive
        }

    def _kept(self, site: Site) -> KeptDays:
        return kept_days_of(site, self._settings)

    def _today(self) -> date:
        return self._clock().astimezone(UTC).date()

    def _tables(self, cuts: Mapping[str, date], about: str = "", settled: int = 0) -> ExpiryTables:
        """`about`: which work a phase is of, where that has to be said."""
        return ExpiryTables(
            self._store,
            cuts,
            self._clock().timestamp(),
            cluster=self._cluster,
            totals_cuts=self._totals_cuts(cuts.keys()),
            settled=settled,
            on_phase=lambda phase: self._on_phase(f"{about}{phase}"),
        )
