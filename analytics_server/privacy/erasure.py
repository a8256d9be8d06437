"""Carries out an erasure (GDPR, article 17) in phases; each is idempotent and is run again after a crash.

1. *deliver*: what the log holds until the cut-off goes to ClickHouse, where it can be found.
2. *collect*: which batches, rollup keys and days concern the person is written down, before anything is removed.
3. *delete*: the events of these batches go.
4. *rollups*: the keys are removed and made again of the events that are left, and compared.
5. *builds*: totals of days and of funnels are discarded; the server builds them again.
6. *letters*: dead letters and quarantined files.
7. *archive*: files of days that held the person's events are written again.
8. *files*: ClickHouse's replaced parts are removed from disk. Then all is looked at again: what another server has
   delivered meanwhile of the time before the cut-off starts a further round.
9. *close*: the certificate; then the user id vanishes, and the erasure is done.

No statement names the person: conditions ask the table `erasure_subjects`, so that mutations, which ClickHouse keeps in
files, and its logs hold the erasure's id alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from analytics_server.errors import AnalyticsError, StoreError, StoreRetryable
from analytics_server.ingest.flush.letter_removal import remove_from_letters, remove_from_quarantine
from analytics_server.privacy.certificate import Certificate, sealed
from analytics_server.privacy.erasure_jobs import ErasureJob, ErasureJobs, ErasurePhase
from analytics_server.privacy.erasure_tables import ErasureTables
from analytics_server.privacy.export import Log
from analytics_server.privacy.opt_outs import KNOWN_S as OPT_OUT_KNOWN_S
from analytics_server.privacy.scope import ArchivedDays, NothingArchived
from analytics_server.store.lease import Lease
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

DELIVERY_WAIT_S = 60.0
MOST_ROUNDS = 10
ROLLUP_ROUNDS = 5
BEAT_S = 15.0
LATE_DELIVERY_S = 10.0
"""What other servers deliver before they know of the erasure is found after that time; they look every few seconds."""


TURN_PHASES = frozenset(ErasurePhase) - {
    *(ErasurePhase.DELIVER, ErasurePhase.FILES, ErasurePhase.CLOSE, ErasurePhase.DONE),
}
"""Rollups are made again of the events that are left: another server that did the same at the same time, of
events read before, would bring back what is erased. Files of days are written again in the same turn: their events are
told by their number, which another's deletion would change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureResources:
    """What an erasure works on besides ClickHouse: the log of this server and its files."""

    log: Log
    letters: Path
    quarantine: Path
    has_other_servers: bool
    """May other servers write to the same ClickHouse?"""
    merging: Callable[[], AbstractAsyncContextManager[None]]
    """Within it merges are not held back."""
    removing: Callable[[], AbstractAsyncContextManager[None]]
    """Within it data parts may vanish: no loss."""
    archive: ArchivedDays = field(default_factory=NothingArchived)
    turn: Callable[[], AbstractAsyncContextManager[None]]
    """Within it no other server takes rows out of the rollups, or makes rows of rollups again."""


class ErasureLost(AnalyticsError):
    """Another server goes on with the erasure, or may."""


class Erasure:
    """One erasure under way. `on_done` hears of its certificate before it is done, once or, after a crash, twice.

    `lease`: this server's right to work on it, taken by the caller and renewed here; None where no other server could.
    """

    def __init__(
        self,
        store: Store,
        jobs: ErasureJobs,
        job: ErasureJob,
        resources: ErasureResources,
        *,
        lease: Lease | None,
        cluster: str,
        on_done: Callable[[Certificate], Awaitable[None]],
    ) -> None:
        self._jobs = jobs
        self.job = job
        self._changing = asyncio.Lock()
        self._resources = resources
        self._lease = lease
        self._on_done = on_done
        zone_of = resources.archive.time_zone
        self._tables = ErasureTables(store, job.id, job.scope, cluster=cluster, zone_of=zone_of)

    async def run(self) -> None:
        """Go on until it is done. Raises `ErasureLost`; another `AnalyticsError`, `OSError`: call it again."""
        user_id = await self._jobs.subject(self.job)
        if user_id is None and self.job.phase is not ErasurePhase.CLOSE:
            # It was never answered, because the process died before it had written whom it is about.
            await self._change(phase=ErasurePhase.DONE)
            return
        async with self._resources.removing(), self._resources.merging():
            working = asyncio.create_task(self._work(user_id or ""), name="erasure-work")
            beating = asyncio.create_task(self._beat(), name="erasure-beat")
            try:
                await asyncio.wait({working, beating}, return_when=asyncio.FIRST_COMPLETED)
                await (working if working.done() else beating)
            finally:
                working.cancel()
                beating.cancel()
                await asyncio.gather(working, beating, return_exceptions=True)

    async def _work(self, user_id: str) -> None:
        while not self.job.is_done:
            if self.job.phase not in TURN_PHASES:
                await self._step(user_id)
                continue
            async with self._resources.turn():
                while self.job.phase in TURN_PHASES:
                    await self._step(user_id)

    async def _step(self, user_id: str) -> None:
        match self.job.phase:
            case ErasurePhase.DELIVER:
                await self._deliver()
            case ErasurePhase.COLLECT:
                await self._collect()
            case ErasurePhase.DELETE:
                await self._tables.delete_events()
                await self._next(ErasurePhase.ROLLUPS)
            case ErasurePhase.ROLLUPS:
                await self._rollups()
            case ErasurePhase.BUILDS:
                await self._tables.discard_builds()
                await self._next(ErasurePhase.LETTERS)
            case ErasurePhase.LETTERS:
                await self._letters(user_id)
            case ErasurePhase.ARCHIVE:
                await self._resources.archive.rewrite(await self._tables.archived_days())
                await self._next(ErasurePhase.FILES)
            case ErasurePhase.FILES:
                await self._files()
            case _:
                await self._close()

    async def _next(self, phase: ErasurePhase, **changes: object) -> None:
        await self._change(phase=phase, **changes)
        log.info("erasure goes on", extra={"erasure": self.job.id, "phase": phase.value})

    async def _change(self, **changes: object) -> ErasureJob:
        """One version after the other: the beat must not bring back a phase that is over, nor this server what another
        has changed. Raises `ErasureLost`."""
        async with self._changing:
            if self._lease is not None:
                await self._jobs.documents.load()
                stored = self._jobs.get(self.job.id)
                if not self._lease.is_held or stored is None or stored.server != self.job.server:
                    raise ErasureLost("Another server goes on with this erasure.")
            self.job = await self._jobs.change(self.job, **changes)
        return self.job

    async def _deliver(self) -> None:
        """The cut-off is fixed once: it is the same after a crash. Of a person who opts out, not before all servers
        know of it: what they take until then is not new."""
        job, resources = self.job, self._resources
        if not job.cut_off:
            if job.opted_out and resources.has_other_servers:
                await asyncio.sleep(OPT_OUT_KNOWN_S)
            cut_off = resources.log.cut_off()
            job = await self._change(cut_off=cut_off, cut_off_at_ms=self._jobs.now_ms())
        while not await resources.log.delivered(job.cut_off, DELIVERY_WAIT_S):
            log.warning("an erasure waits until the log is delivered", extra={"erasure": job.id})
        await self._next(ErasurePhase.COLLECT)

    async def _collect(self) -> None:
        """Nothing of the person there: only letters are left to be looked at."""
        job = self.job
        found = await self._tables.collect(job.cut_off)
        removed, rebuilt = dict(job.removed), dict(job.rebuilt)
        for table, rows in found.removed.items():
            removed[table] = removed.get(table, 0) + rows
        for table, rows in found.rebuilt.items():
            rebuilt[table] = rebuilt.get(table, 0) + rows
        if not (found.removed or found.rebuilt):
            await self._next(ErasurePhase.LETTERS)
            return
        tables = tuple(sorted({*job.tables, *found.tables}))
        await self._change(tables=tables)
        await self._tables.delete_old_parts_at_once(tables)
        removed_of = Counter(job.removed_of)
        removed_of.update(found.of_sites)
        await self._next(ErasurePhase.DELETE, removed=removed, rebuilt=rebuilt, removed_of=removed_of)

    async def _rollups(self) -> None:
        for _ in range(ROLLUP_ROUNDS):
            if await self._tables.rework():
                await self._next(ErasurePhase.BUILDS)
                return
        raise StoreRetryable("The rollups differ from events again and again: other servers are inserting.")

    async def _letters(self, user_id: str) -> None:
        resources, job = self._resources, self.job

        met = set[str]()

        def is_erased(site_id: str, user: str) -> bool:
            if user != user_id or not job.scope.covers(site_id):
                return False
            met.add(site_id)
            return True

        known = user_id if job.scope.sites is None else ""  # a damaged file's rows can't be told apart by site
        loop = asyncio.get_running_loop()
        of_letters = partial(remove_from_letters, resources.letters, is_erased, job.cut_off, user_id=known)
        letters = await loop.run_in_executor(None, of_letters)
        kept = await loop.run_in_executor(None, partial(remove_from_quarantine, resources.quarantine, is_erased, known))
        removed = dict(job.removed)
        for name, rows in (("dead letters", letters), ("quarantined segments", kept)):
            if rows:
                removed[name] = removed.get(name, 0) + rows
        await self._next(ErasurePhase.ARCHIVE, removed=removed, removed_of={**dict.fromkeys(met, 0), **job.removed_of})

    async def _files(self) -> None:
        job = self.job
        files_removed = not job.tables or await self._tables.parts_removed(job.tables)
        if self._resources.has_other_servers:
            await asyncio.sleep(LATE_DELIVERY_S)
        if await self._tables.left(job.cut_off):
            if job.rounds + 1 >= MOST_ROUNDS:
                raise StoreRetryable("Events of the person from before the cut-off arrive again and again.")
            await self._next(ErasurePhase.COLLECT, rounds=job.rounds + 1)
            return
        await self._tables.delete_old_parts_as_usual(job.tables)
        await self._tables.forget_versions()
        archived = await self._resources.archive.unsearched(job.scope.covers)
        not_searched, named_in = await self._tables.not_searched(), await self._tables.named_in()
        told = {"not_searched": (*not_searched, *archived), "named_in": named_in}
        await self._next(ErasurePhase.CLOSE, files_removed=files_removed, **told)

    async def _close(self) -> None:
        job = self.job
        if job.certificate is None:
            made = sealed(
                Certificate(
                    erasure_id=job.id,
                    user_hash=job.user_hash,
                    sites=job.scope.sites,
                    requested_at_ms=job.requested_at_ms,
                    cut_off_at_ms=job.cut_off_at_ms,
                    completed_at_ms=self._jobs.now_ms(),
                    removed=job.removed,
                    rebuilt=job.rebuilt,
                    verified=True,
                    files_removed=job.files_removed,
                    opted_out=job.opted_out,
                    not_searched=job.not_searched,
                    named_in=job.named_in,
                    follows=job.follows,
                )
            )
            job = await self._change(certificate=made)
        assert job.certificate is not None
        await self._on_done(job.certificate)
        async with self._jobs.documents.changing:  # a request that is under way may write whom it is about once more
            await self._jobs.forget(job.id)
            await self._next(ErasurePhase.DONE, tables=())

    async def _beat(self) -> None:
        """Show other servers that this one is at work, and keep the lease. Raises `ErasureLost`, a store error."""
        while True:
            await asyncio.sleep(BEAT_S)
            async with self._changing:  # a lease that is being renewed does not count as held
                if self._lease is not None and not await self._lease.take():
                    raise ErasureLost("The lease of this erasure is lost.")
            with contextlib.suppress(StoreError):
                await self._change()
