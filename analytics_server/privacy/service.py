"""People's rights on one server: salts, export, erasure, opt-outs, expiry, with their endpoints and background work."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from analytics_server.access.actions import ERASE_PERSON
from analytics_server.access.service import AccessService
from analytics_server.access.stored_link import ShareLink
from analytics_server.config import Config
from analytics_server.http.audit import AuditEntry, Recorder, append_all
from analytics_server.http.endpoint import Endpoint
from analytics_server.ingest.service import IngestService
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.model import stored_site_id
from analytics_server.privacy.certificate import Certificate
from analytics_server.privacy.erasure import DELIVERY_WAIT_S, ErasureResources
from analytics_server.privacy.erasure_jobs import ErasureJobs
from analytics_server.privacy.erasures import Erasures
from analytics_server.privacy.expiry.purge import Expiry
from analytics_server.privacy.expiry.recording import REMOVAL_TURN
from analytics_server.privacy.expiry.routes import endpoints as expiry_endpoints
from analytics_server.privacy.expiry.site_removal import SiteRemoval
from analytics_server.privacy.export import PersonExport
from analytics_server.privacy.opt_outs import OptOuts
from analytics_server.privacy.report.history import ERASURE_DONE, AuditHistory
from analytics_server.privacy.report.routes import endpoints as report_endpoints
from analytics_server.privacy.routes import PrivacyRoutes
from analytics_server.privacy.salts import Salts
from analytics_server.privacy.scope import ArchivedDays, NothingArchived
from analytics_server.privacy.user_hashes import UserHashes
from analytics_server.store.integrity import Integrity
from analytics_server.store.lease import SharedTurn, end_left_over
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)


class PrivacyService:
    """`recorder` gets an entry of each erasure that is done, with its certificate's hash. `reload_saved`: read what is
    saved with sites again, where this process keeps it. `archive`: files of days that this server writes."""

    def __init__(
        self,
        config: Config,
        store: Store,
        access: AccessService,
        ingest: IngestService,
        integrity: Integrity,
        recorder: Recorder,
        *,
        reload_saved: Callable[[], Awaitable[None]] | None = None,
        archive: ArchivedDays | None = None,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self.salts = Salts(store)
        self.hashes = UserHashes(store)
        self.opt_outs = OptOuts(store, self.hashes, unreadable=access.unreadable)
        letters, holder = config.data_dir / "dead-letters", str(config.data_dir)
        self._turn = SharedTurn(store, REMOVAL_TURN, holder=holder)
        self.export = PersonExport(store, ingest, letters, self.opt_outs, archive)
        self.erasures = Erasures(
            store,
            ErasureJobs(store, unreadable=access.unreadable),
            self.hashes,
            ErasureResources(
                log=ingest,
                letters=letters,
                quarantine=config.wal_dir / "quarantine",
                has_other_servers=not store.capabilities.owns_files,
                merging=ingest.merges.released,
                removing=integrity.removing,
                archive=archive or NothingArchived(),
                turn=self._turn.taken,
            ),
            wal=config.wal_dir,
            cluster=config.clickhouse.cluster,
            on_done=self._done,
        )
        around = (self.removing, integrity.removing, ingest.merges.released)
        self.expiry = Expiry(
            store,
            access.sites.all_stored,
            settings=config.privacy,
            letters=letters,
            quarantine=config.wal_dir / "quarantine",
            cluster=config.clickhouse.cluster,
            recorder=recorder,
            holder=holder,
            around=around,
            on_phase=lambda phase: log.info("expiry goes on", extra={"phase": phase}),
        )
        self.site_removal = SiteRemoval(
            store,
            access.sites,
            letters=letters,
            quarantine=config.wal_dir / "quarantine",
            recorder=recorder,
            holder=holder,
            deliver=lambda: ingest.delivered(ingest.cut_off(), DELIVERY_WAIT_S),
            reload_saved=reload_saved,
            has_other_servers=not store.capabilities.owns_files,
            around=around,
        )
        self._access = access
        self._config = config

    @asynccontextmanager
    async def removing(self) -> AsyncIterator[None]:
        """Alone with the rollups, on this server and among all: rows are taken out of them, or made again."""
        async with self.erasures.working, self._turn.taken():
            yield

    async def load(self, reading: Callable[[str, Callable[[], Awaitable[object]]], Awaitable[None]]) -> None:
        """Read salts, opt-outs and erasures. `reading` goes on without the salts where their files are damaged.

        Raises a store error.
        """
        await end_left_over(self._store)
        await reading("salts", self.salts.load)
        await reading("privacy_keys", self.hashes.load)
        await reading("opt_outs", self.opt_outs.load)
        await reading("erasures", self.erasures.jobs.documents.load)

    async def start(self, reading: Callable[[str, Callable[[], Awaitable[object]]], Awaitable[None]]) -> None:
        """Keep the salts right in the background. Raises a store error."""
        # Another server may have made today's salt or the key at the same moment.
        await reading("salts", self.salts.load)
        await reading("privacy_keys", self.hashes.load)
        self.salts.start()

    async def clean(self, left_over: Sequence[Sealed]) -> None:
        """Take out of what an earlier run left what was erased meanwhile; before it is delivered."""
        await self.erasures.clean(left_over)
        await self.site_removal.clean(left_over)

    def tasks(self) -> Iterator[tuple[Callable[[], Coroutine[Any, Any, None]], str]]:
        """What runs in the background, with a name for each."""
        yield self.opt_outs.run, "opt-outs"
        yield self.erasures.run, "erasures"
        yield self.site_removal.run, "site-removal"
        if not self._store.capabilities.owns_files:
            yield self.erasures.follow, "erasures-elsewhere"

    def daily(self) -> Iterator[tuple[str, Callable[[], Awaitable[bool]]]]:
        """What is done once a day, with a name for it."""
        yield "expiry", self._expire

    async def _expire(self) -> bool:
        return await self.expiry.purge_daily() and await self.site_removal.remove()

    def endpoints(self) -> list[Endpoint]:
        """Export, erasure, opt-outs, the report and expiry over HTTP."""
        sites = self._access.sites
        return [
            *PrivacyRoutes(self.export, self.erasures, self.opt_outs, sites).endpoints(),
            *report_endpoints(self._config, sites.get, self._open_links, AuditHistory(self._store)),
            *expiry_endpoints(self.expiry),
        ]

    async def _open_links(self, site_id: str) -> Sequence[ShareLink]:
        links = self._access.people.links
        await links.load()
        return links.open_of_site(site_id)

    async def _done(self, certificate: Certificate) -> None:
        """An entry for each site of the erasure; of one on all sites, for each on which the person had rows."""
        job = self.erasures.jobs.get(certificate.erasure_id)
        removed = Counter[str]() if job is None else Counter(job.removed_of)
        sites = sorted(removed) if certificate.sites is None else certificate.sites
        total = sum(certificate.removed.values())
        entry = AuditEntry(
            action=ERASE_PERSON.name,
            operation=ERASURE_DONE,
            principal_kind="internal",
            principal_name="server",
            resource=certificate.erasure_id,
            rows=total,
            details={"user_hash": certificate.user_hash, "certificate_hash": certificate.hash},
        )
        rows_of = removed if len(sites) > 1 else dict.fromkeys(sites, total)
        of_sites = [msgspec.structs.replace(entry, site_id=stored_site_id(site), rows=rows_of[site]) for site in sites]
        await append_all(self._recorder, of_sites or [entry])
