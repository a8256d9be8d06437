"""Removal of a deleted site's data, when its deletion asks for that.

The site's document says so (`Site.removal`), so it is gone on with after a crash, by any server. What arrives later,
from a log that another server had not delivered, goes with the next daily round. It works under the lease of expiry.

Every table with a column `site_id` is emptied of the site, `events` first, but for those that are to stay: the audit
log; opt-outs, which hold when the site is created again; and the sites themselves. Saved things are replaced by
deleted ones without content. Dead letters and quarantined segments lose the site's rows. The certificates of erasures
that name the site stay, as evidence. All is looked at again before it is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from analytics_server.access.sites.sites import Sites
from analytics_server.errors import AuditUnavailable, StoreError, StoreRetryable
from analytics_server.http.audit import Recorder
from analytics_server.ingest.flush.letter_removal import remove_from_letters, remove_from_quarantine
from analytics_server.ingest.wal import rewriting
from analytics_server.ingest.wal.segment import Sealed, SegmentError
from analytics_server.privacy.expiry.expired_files import sites_in
from analytics_server.privacy.expiry.purge import LEASE, NEWEST
from analytics_server.privacy.expiry.recording import Around, OnPhase, record_removal, unheard, within
from analytics_server.rollups.comparison import SETTINGS, TIMEOUT_S
from analytics_server.rollups.mutations import delete_rows
from analytics_server.store.lease import Lease, leased
from analytics_server.store.literals import literal
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

ACTION = "erase_site"
KEPT = ("audit", "erasure_keys", "opt_outs", "sites")
SAVED = "saved"
LOOK_S = 1.0
RETRY_S = 5.0
ROUNDS = 5
NEIGHBOURS_S = 15.0
"""By then other servers know that the site is deleted, and have delivered what they had taken before."""
REMOVAL_LEASE_S = 300.0
"""After so long another server goes on where this one was killed. It is renewed for each site."""

_TABLES = (
    "SELECT c.table FROM system.columns AS c INNER JOIN system.tables AS t ON t.name = c.table "
    "WHERE c.database = currentDatabase() AND t.database = currentDatabase() AND c.name = 'site_id' "
    "AND t.engine LIKE '%MergeTree' ORDER BY c.table != 'events', c.table"
)


class SiteRemoval:
    """`deliver`: wait until what this server's log holds is stored; True then. None: no server runs here, and its next
    start looks through the log. `has_other_servers`: other servers may not know yet. `on_phase`: see `recording.py`.
    `run` is a task to own."""

    def __init__(
        self,
        store: Store,
        sites: Sites,
        *,
        letters: Path,
        quarantine: Path,
        recorder: Recorder,
        holder: str,
        deliver: Callable[[], Awaitable[bool]] | None = None,
        reload_saved: Callable[[], Awaitable[None]] | None = None,
        has_other_servers: bool = False,
        around: Iterable[Around] = (),
        on_phase: OnPhase = unheard,
    ) -> None:
        self._store = store
        self._sites = sites
        self._letters = letters
        self._quarantine = quarantine
        self._recorder = recorder
        self._holder = holder
        self._deliver = deliver
        self._reload_saved = reload_saved
        self._has_other_servers = has_other_servers
        self._around = tuple(around)
        self._on_phase = on_phase
        self._cleaned: set[str] = set()
        """Sites whose data had gone when this server's files were looked through."""
        self._begun: set[str] = set()
        """Sites whose removal this process has told of and not ended: an attempt that fails is repeated in seconds."""

    async def run(self) -> None:
        """Remove what deletions ask for, until cancelled."""
        while True:
            pause_s = LOOK_S
            removals = self._forget_recreated()
            if any(removals.values()) or not removals.keys() <= self._cleaned:
                try:
                    pause_s = LOOK_S if await self.remove() else RETRY_S
                except (StoreError, AuditUnavailable, OSError) as error:
                    pause_s = RETRY_S
                    log.warning("a site's data is not removed, will try again", extra={"reason": str(error)[:300]})
            await asyncio.sleep(pause_s)

    async def remove(self) -> bool:
        """Remove what is stored of the sites, late arrivals of those that were removed before included.

        False when another server is at it, or the log could not be delivered. Raises a store error, `AuditUnavailable`,
        `OSError`.
        """
        if not self._forget_recreated():
            return True
        lease = Lease(self._store, LEASE, holder=self._holder, ttl_s=REMOVAL_LEASE_S)
        async with leased(lease) as taken:
            if not taken or (self._deliver is not None and not await self._deliver()):
                return False
            await self._sites.load()
            for site_id, is_asked in self._sites.removals().items():
                found = await self._found(site_id)
                if not found and not is_asked:
                    continue
                if not lease.is_held:
                    return False
                await self._begin(site_id, found)
                log.info("a deleted site's data is being removed", extra={"site": site_id})
                async with within(self._around):
                    await self._remove(site_id)
                    if self._has_other_servers and is_asked:
                        await asyncio.sleep(NEIGHBOURS_S)
                        await self._remove(site_id)
                if self._reload_saved is not None:
                    await self._reload_saved()
                self._on_phase(f"{site_id}: files")
                files = await asyncio.to_thread(self._clean_files, site_id)
                # The entry first: killed in between, this is done again and told twice, never untold.
                await self._end(site_id, {**found, **files})
                await self._sites.data_removed(site_id)
                log.info("a deleted site's data is removed", extra={"site": site_id, "rows": sum(found.values())})
        await self._clean_own_files()
        return True

    def _forget_recreated(self) -> dict[str, bool]:
        """The removals. One that another server has ended was never ended here: of a site that is there again the next
        removal is another one."""
        removals = self._sites.removals()
        self._begun &= removals.keys()
        return removals

    async def _clean_own_files(self) -> None:
        """Take such sites out of this server's files when another server has removed the rest. Raises `OSError`."""
        gone = {site_id for site_id, is_asked in self._sites.removals().items() if not is_asked}
        held = await asyncio.to_thread(sites_in, self._letters, self._quarantine)
        for site_id in sorted(gone & held):
            await self._begin(site_id, {})  # killed in between, nothing would tell of it
            files = await asyncio.to_thread(self._clean_files, site_id)
            await self._end(site_id, files)
        self._cleaned = gone

    async def clean(self, left_over: Sequence[Sealed]) -> None:
        """Before what an earlier run left is delivered: take out what is of such sites. Raises `OSError`."""
        gone = frozenset(self._sites.removals())
        if gone:
            await asyncio.to_thread(_clean_segments, gone, left_over)

    async def _remove(self, site_id: str) -> None:
        of_site = f"site_id = {literal(site_id)}"
        for _ in range(ROUNDS):
            for table in await self._found(site_id):
                self._on_phase(f"{site_id}: {table}")
                if table == SAVED:
                    await self._empty_saved(of_site)
                else:
                    await delete_rows(self._store, table, of_site, marker=of_site)
            if not await self._found(site_id):
                return
        raise StoreRetryable("Rows of a deleted site arrive again and again.")

    async def _empty_saved(self, of_site: str) -> None:
        """A deleted version without content wins over all others, and the merge leaves it alone."""
        await self._store.command(
            "INSERT INTO saved (kind, site_id, id, document, deleted, updated_at) "
            f"SELECT kind, site_id, id, '', 1, toDateTime64('2200-01-01 00:00:00', 6, 'UTC') FROM saved FINAL "
            f"WHERE {of_site}"
        )
        await self._store.command("OPTIMIZE TABLE saved FINAL")

    async def _found(self, site_id: str) -> dict[str, int]:
        """Rows by table, of tables that have any. Raises a store error."""
        tables = [str(name) for (name,) in (await self._store.query(_TABLES)).rows if name not in KEPT]
        counts = [
            f"SELECT '{table}' AS name, count() AS n FROM {table} WHERE site_id = {{site:String}}"
            + (" AND document != ''" if table == SAVED else "")
            for table in tables
        ]
        answer = await self._store.query(
            f"SELECT name, n FROM ({' UNION ALL '.join(counts)}) WHERE n > 0 ORDER BY name != 'events', name",
            {"site": site_id},
            settings=SETTINGS,
            timeout_s=TIMEOUT_S,
        )
        return {str(table): int(str(rows)) for table, rows in answer.rows}

    def _clean_files(self, site_id: str) -> dict[str, int]:
        def is_of_site(of_row: str, user_id: str) -> bool:
            return of_row == site_id

        letters = remove_from_letters(self._letters, is_of_site, NEWEST)
        kept = remove_from_quarantine(self._quarantine, is_of_site)
        return {name: rows for name, rows in (("dead_letters", letters), ("quarantined_segments", kept)) if rows}

    async def _begin(self, site_id: str, rows: dict[str, int]) -> None:
        if site_id not in self._begun:
            await self._record(site_id, "begun", rows)
            self._begun.add(site_id)

    async def _end(self, site_id: str, rows: dict[str, int]) -> None:
        await self._record(site_id, "done", rows)
        self._begun.discard(site_id)

    async def _record(self, site_id: str, state: str, rows: dict[str, int]) -> None:
        await record_removal(self._recorder, ACTION, site_id, rows, {"state": state})


def _clean_segments(gone: frozenset[str], left_over: Iterable[Sealed]) -> None:
    for sealed in left_over:
        try:
            sealed.events -= rewriting.remove_rows(sealed.path, lambda site_id, user_id: site_id in gone)
        except (SegmentError, ValueError):  # the flush meets the same and says so
            continue
