"""The erasures of one server: takes requests, carries them out one after the other, and goes on after a restart.

Several servers on one ClickHouse share the list. The one that was asked carries an erasure out; another takes it over
when that one has not been seen for a while. What each has in its own log and files it looks after itself: rows of the
time before the cut-off that are not delivered yet are found by their keyed hash, and erased by an erasure that follows.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from analytics_server.errors import AnalyticsError, StoreError
from analytics_server.ingest.flush.letter_removal import holds_rows, remove_from_letters, remove_from_quarantine
from analytics_server.ingest.wal import rewriting
from analytics_server.ingest.wal.rewriting import IsErased
from analytics_server.ingest.wal.segment import SUFFIX, Sealed, SegmentError
from analytics_server.privacy.certificate import Certificate
from analytics_server.privacy.erasure import Erasure, ErasureLost, ErasureResources
from analytics_server.privacy.erasure_jobs import ErasureJob, ErasureJobs
from analytics_server.privacy.scope import SiteScope
from analytics_server.privacy.user_hashes import UserHashes
from analytics_server.store.lease import Lease
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

LOOK_S = 3.0
RETRY_S = 5.0
TAKE_OVER_S = 120.0
"""So long a server may be silent before another goes on with its erasures."""

LEASE_S = 60.0
"""For so long an erasure is taken at a time: after a crash it waits no longer than that."""

DELIVERY_CHECK_S = 5.0
FORGET_S = 60.0
"""So often user ids are looked for that stand under erasures which are done."""


class Erasures:
    """Owns the erasures; `run` is a task to own, as is `follow` where others share the list.

    `wal`: this server's log, by files.
    """

    def __init__(
        self,
        store: Store,
        jobs: ErasureJobs,
        hashes: UserHashes,
        resources: ErasureResources,
        *,
        wal: Path,
        cluster: str,
        on_done: Callable[[Certificate], Awaitable[None]],
    ) -> None:
        self._store = store
        self.jobs = jobs
        self._hashes = hashes
        self._resources = resources
        self._wal = wal
        self._cluster = cluster
        self._on_done = on_done
        self._server = hashlib.blake2b(f"{socket.gethostname()}:{wal.resolve()}".encode(), digest_size=8).hexdigest()
        self._seen: set[str] = set()
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self.working = asyncio.Lock()
        """Held while rows are taken out of the rollups: by one erasure, or by expiry."""

    # ---- requests ------------------------------------------------------

    async def request(self, user_id: str, scope: SiteScope, *, opted_out: bool, follows: str = "") -> ErasureJob:
        """Begin an erasure, or find the one under way or, if nothing came since, the last one. Raises a store error."""
        async with self.jobs.documents.changing:
            await self.jobs.documents.load()
            while True:
                user_hash = self._hashes.of(user_id)
                job = None if follows else self.jobs.newest_of(user_hash, scope)
                if job is not None and job.certificate is not None and await self._is_gone(user_id, scope):
                    return job
                if job is None or job.is_done or (opted_out and not job.opted_out):  # its cut-off may be too early
                    job = await self.jobs.create(user_hash, scope, self._server, opted_out=opted_out, follows=follows)
                await self.jobs.put_subject(job, user_id)
                if await self._is_open(job):
                    break
                await self.jobs.forget(job.id)
        self._wake.set()
        return job

    async def _is_open(self, job: ErasureJob) -> bool:
        """Has no other server ended it meanwhile, and forgotten whom it is about?"""
        if not self._resources.has_other_servers:
            return True
        await self.jobs.documents.load()
        return not (self.jobs.get(job.id) or job).is_done

    async def wait(self, job: ErasureJob, timeout_s: float) -> ErasureJob:
        """The erasure as it is when it is done, or when the time is out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: (self.jobs.get(job.id) or job).is_done)
        return self.jobs.get(job.id) or job

    async def _is_gone(self, user_id: str, scope: SiteScope) -> bool:
        """Is nothing of the person there? Only if that can be told at once, and of other servers' logs it never can."""
        if self._resources.has_other_servers:
            return False
        resources = self._resources
        known = user_id if scope.sites is None else ""  # as where they are removed
        found = partial(holds_rows, (resources.letters, resources.quarantine), _is_of(user_id, scope), known)
        try:
            if await asyncio.to_thread(found):
                return False
        except OSError as error:
            log.warning("a file can't be searched for a person", extra={"reason": str(error)[:300]})
            return False
        if not await resources.log.delivered(resources.log.cut_off(), DELIVERY_CHECK_S):
            return False
        settings = {"log_queries": 0} if self._store.capabilities.keeps_query_log else {}
        answer = await self._store.query(
            f"SELECT count() FROM events WHERE user_id = {{user:String}} AND {scope.condition}",
            {"user": user_id, **scope.parameters},
            settings=settings,
        )
        return not int(str(answer.rows[0][0]))

    # ---- at work -------------------------------------------------------

    async def run(self) -> None:
        """Carry out what is asked for, until cancelled."""
        forget_at = 0.0
        while True:
            pause_s = LOOK_S
            try:
                await self.jobs.documents.load()
                if time.monotonic() >= forget_at:
                    await self.jobs.forget_done()
                    forget_at = time.monotonic() + FORGET_S
            except StoreError as error:
                log.debug("erasures not read", extra={"reason": error.message[:200]})
            for job in self.jobs.all():
                try:
                    await self._look_after(job)
                except ErasureLost:
                    log.info("another server goes on with an erasure", extra={"erasure": job.id})
                except (AnalyticsError, OSError) as error:  # the others go on
                    pause_s = RETRY_S
                    log.warning(
                        "an erasure is held up, will try again",
                        extra={"erasure": job.id, "reason": str(error)[:300]},
                    )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            self._wake.clear()

    async def _look_after(self, job: ErasureJob) -> None:
        if not job.is_done and self._is_mine(job):
            await self._carry_out(job)

    def _is_mine(self, job: ErasureJob) -> bool:
        silent_s = (self.jobs.now_ms() - job.beat_ms) / 1000
        return not self._resources.has_other_servers or job.server == self._server or silent_s > TAKE_OVER_S

    async def _carry_out(self, job: ErasureJob) -> None:
        async with self.working:
            lease = None
            if self._resources.has_other_servers:
                lease = Lease(self._store, f"erasure-{job.id}", holder=self._server, ttl_s=LEASE_S)
                if not await lease.take():
                    return
            try:
                if not await self._complete(job.id, lease):
                    return
            finally:
                if lease is not None:
                    await lease.release()
        log.info("erasure done", extra={"erasure": job.id})
        async with self._changed:
            self._changed.notify_all()

    async def _complete(self, id_: str, lease: Lease | None) -> bool:
        """Carry it out; False when there is nothing to do, as another server has been at it meanwhile."""
        async with self.jobs.documents.changing:  # a request that is under way has to write whom it is about
            await self.jobs.documents.load()
            job = self.jobs.get(id_)
            if job is None or job.is_done or not self._is_mine(job):
                return False
            if job.server != self._server:
                job = await self.jobs.change(job, server=self._server)
        erasure = Erasure(
            self._store, self.jobs, job, self._resources, lease=lease, cluster=self._cluster, on_done=self._on_done
        )
        await erasure.run()
        return True

    # ---- what other servers erase --------------------------------------

    async def clean(self, left_over: Sequence[Sealed]) -> None:
        """Before what an earlier run left is delivered: take out what was erased meanwhile. Raises `OSError` when that
        can't be done to a segment; a dead letter that can't be read or written is tried again by `follow`."""
        for job in self.jobs.all():
            if job.phase.has_deleted:
                try:
                    await asyncio.to_thread(self._clean_files, job)
                except OSError as error:
                    log.warning(
                        "dead letters are not searched yet", extra={"erasure": job.id, "reason": str(error)[:300]}
                    )
                else:
                    self._seen.add(job.id)
                await asyncio.to_thread(self._clean_segments, job, left_over)

    async def follow(self) -> None:
        """Look after what this server holds of people whose erasure another one carries out, until cancelled.

        A task of its own: what is delivered before this server looks is found by the other one, but that waits for
        seconds only (`LATE_DELIVERY_S`).
        """
        while True:
            await self.jobs.documents.refresh(LOOK_S / 2)
            for job in self.jobs.all():
                if job.id not in self._seen and job.server != self._server and job.phase.has_deleted:
                    try:
                        await self._clean(job)
                    except (StoreError, OSError) as error:
                        log.warning(
                            "what is left of a person erased elsewhere can't be looked for, will try again",
                            extra={"erasure": job.id, "reason": str(error)[:300]},
                        )
            await asyncio.sleep(LOOK_S)

    async def _clean(self, job: ErasureJob) -> None:
        """Take the person out of this server's files; have what is not delivered yet erased once it is."""
        user_id = await asyncio.to_thread(self._find, job)  # first: it may be delivered any moment
        asked = any(one.follows == job.id and one.server == self._server for one in self.jobs.all())
        if user_id is not None and not asked:
            log.info("events of a person whose erasure was asked for elsewhere are delivered, then erased")
            await self.request(user_id, job.scope, opted_out=job.opted_out, follows=job.id)
        await asyncio.to_thread(self._clean_files, job)
        self._seen.add(job.id)

    def _is_erased(self, job: ErasureJob) -> IsErased:
        return lambda site_id, user: bool(user) and job.scope.covers(site_id) and self._hashes.of(user) == job.user_hash

    def _clean_files(self, job: ErasureJob) -> None:
        remove_from_letters(self._resources.letters, self._is_erased(job), job.cut_off, wal=self._wal)
        remove_from_quarantine(self._resources.quarantine, self._is_erased(job))

    def _clean_segments(self, job: ErasureJob, left_over: Iterable[Sealed]) -> None:
        for sealed in left_over:
            if sealed.batch_id <= job.cut_off:
                with contextlib.suppress(SegmentError, msgspec.DecodeError):  # the flush meets the same and says so
                    sealed.events -= rewriting.remove_rows(sealed.path, self._is_erased(job))

    def _find(self, job: ErasureJob) -> str | None:
        """The user id, if this server's log still holds an event of the person."""
        is_erased = self._is_erased(job)
        for path in sorted(self._wal.glob(f"*{SUFFIX}")):
            if path.stem.isdigit() and int(path.stem) <= job.cut_off:
                with contextlib.suppress(SegmentError, OSError, msgspec.DecodeError):
                    columns, rows = rewriting.read_rows(path)
                    for at in rewriting.chosen(columns, rows, is_erased):
                        return str(msgspec.msgpack.decode(rows[at])[columns.index("user_id")])
        return None


def _is_of(user_id: str, scope: SiteScope) -> IsErased:
    return lambda site_id, user: user == user_id and scope.covers(site_id)
